"""How an exported folder is used: the Python of its card, which the tests run."""

from __future__ import annotations

from mlembed.models.bi_encoder import BiEncoder
from mlembed.models.classifier import Classifier
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel

FOLDER = "path/of/this/folder"
SENTENCES = '["A cat sits on the mat.", "Die Katze sitzt auf der Matte."]'

SENTENCE_TRANSFORMERS = f"""\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{FOLDER}")
vectors = model.encode({SENTENCES})
print(model.similarity(vectors, vectors))
"""
# What follows SENTENCE_TRANSFORMERS where a head lies beside the encoder.
PAIR_LABELS = f"""\
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# Which label two texts have together: pair_head reads both vectors and what they differ by.
folder = Path("{FOLDER}") / "pair_head"
labels = json.loads((folder / "config.json").read_text(encoding="utf-8"))["labels"]
head = load_file(folder / "model.safetensors")
first, second = vectors
read = np.concatenate([first, second, np.abs(first - second)]) * len(first) ** 0.5
print(labels[np.argmax(head["linear.weight"] @ read + head["linear.bias"])])
"""
ONNX = f"""\
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = Path("{FOLDER}")
settings = json.loads((folder / "onnx_config.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
if settings["max_length"]:
    tokenizer.enable_truncation(settings["max_length"])
tokenizer.enable_padding(pad_id=settings["pad_token_id"], pad_token=settings["pad_token"])
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

texts = {SENTENCES}
batch = tokenizer.encode_batch(texts, add_special_tokens=settings["add_special_tokens"])
columns = {{
    "input_ids": [one.ids for one in batch],
    "attention_mask": [one.attention_mask for one in batch],
    "token_type_ids": [one.type_ids for one in batch],
}}
inputs = {{name: np.array(columns[name], dtype=np.int64) for name in settings["inputs"]}}
"""
ONNX_VECTORS = """\
(vectors,) = session.run(["sentence_embedding"], inputs)
print(vectors.shape)
"""
ONNX_LABELS = """\
(logits,) = session.run(["logits"], inputs)
print([[settings["labels"][best] for best in np.atleast_1d(row.argmax(-1))] for row in logits])
"""
ONNX_MANY = """\
(logits,) = session.run(["logits"], inputs)
print([[settings["labels"][at] for at in np.flatnonzero(row > 0)] for row in logits])
"""
ONNX_SCORE = """\
(logits,) = session.run(["logits"], inputs)
print(1 / (1 + np.exp(-logits[:, 0])))
"""


def usage(model: TextModel, *, to: str) -> str:
    """The section of the card that shows how the folder is used.

    Args:
        model: that was exported.
        to: the format of the folder.
    """
    text = "## Use\n\n"
    if to.startswith("onnx"):
        text += f"`pip install numpy onnxruntime tokenizers` is all that it needs.\n\n{_block(_onnx(model))}"
    elif isinstance(model, Classifier):
        text += _block(_pipeline(model))
    elif to == "transformers":
        assert isinstance(model, Encoder)
        text += (
            "transformers gives a vector for each token; what makes the vector of a sentence of them is written out "
            f"here. sentence-transformers loads the same folder, and does it by itself.\n\n{_block(_recipe(model))}"
        )
    else:
        has_labels = isinstance(model, BiEncoder) and model.pair_head is not None
        text += _block(SENTENCE_TRANSFORMERS + PAIR_LABELS if has_labels else SENTENCE_TRANSFORMERS)
    return text


def _block(code: str) -> str:
    return f"```python\n{code}```"


def _pipeline(model: Classifier) -> str:
    if model.head.of == "words":
        task, example, more = (
            "token-classification",
            '"Marie Curie was born in Warsaw."',
            ', aggregation_strategy="first"',
        )
    else:
        task, more = "text-classification", ""
        is_pair = model.head.problem == "score"
        example = '{"text": "A cat sits.", "text_pair": "Eine Katze sitzt."}' if is_pair else '"A cat sits on the mat."'
    return (
        f'from transformers import pipeline\n\nmodel = pipeline("{task}", "{FOLDER}"{more})\nprint(model({example}))\n'
    )


def _onnx(model: TextModel) -> str:
    if not isinstance(model, Classifier):
        return ONNX + ONNX_VECTORS
    if model.head.problem == "score":
        pairs = '[("A cat sits.", "Eine Katze sitzt."), ("A cat sits.", "It rains.")]'
        return ONNX.replace(SENTENCES, pairs) + ONNX_SCORE
    return ONNX + (ONNX_MANY if model.head.problem == "many" else ONNX_LABELS)


def _recipe(encoder: Encoder) -> str:
    """Vectors with transformers alone."""
    pooling = {
        "mean": "vectors = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # the mean, padding left out\n",
        "cls": "vectors = hidden[:, 0]  # the first token\n",
        "max": 'vectors = hidden.masked_fill(mask == 0, float("-inf")).amax(dim=1)  # the greatest, padding left out\n',
    }[encoder.pooling]
    dense = ""
    for at, layer in enumerate(encoder.dense):
        bias = ', layer["linear.bias"]' if layer.linear.bias is not None else ""
        dense += f'layer = load_file(f"{{folder}}/{at + 2}_Dense/model.safetensors")\n'
        dense += f'vectors = torch.nn.functional.linear(vectors, layer["linear.weight"]{bias})\n'
        dense += "vectors = torch.tanh(vectors)\n" if layer.activation == "tanh" else ""
    normalize = "vectors = torch.nn.functional.normalize(vectors, dim=1)\n" if encoder.normalize else ""
    return (
        f"import torch\n{'from safetensors.torch import load_file' + chr(10) if dense else ''}"
        "from transformers import AutoModel, AutoTokenizer\n\n"
        f'folder = "{FOLDER}"\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\nmodel = AutoModel.from_pretrained(folder).eval()\n\n"
        f"texts = {SENTENCES}\n"
        f"limit = {encoder.max_length}\n"
        'inputs = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")\n'
        "with torch.no_grad():\n    hidden = model(**inputs).last_hidden_state\n"
        'mask = inputs["attention_mask"].unsqueeze(-1)\n'
        f"{pooling}{dense}{normalize}print(vectors.shape)\n"
    )
