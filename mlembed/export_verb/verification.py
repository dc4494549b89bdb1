"""Whether an exported folder answers as the model that it was written from, read by the tool that it is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlembed.compute import Compute
from mlembed.errors import MlembedError
from mlembed.models.classifier import Classifier
from mlembed.models.encode import encode
from mlembed.models.encoder import Encoder, pool
from mlembed.models.text_model import TextModel

# Texts of one call; they are of different lengths, so most are padded.
BATCH = 16

TextOrPair = str | tuple[str, str]
Read = Callable[[Sequence[TextOrPair]], list[np.ndarray]]


@dataclass(frozen=True)
class Check:
    """How the answers of a folder differ from those of the model.

    Args:
        tool: that read the folder.
        texts: how many were compared.
        difference: the largest of a number of a vector, or of a logit; beside the largest number where that is above 1.
        cosine: the mean, of vectors, or of the probabilities that logits stand for.
        least_cosine: the least.
        same: the share of the same answers of a head; None where there are vectors.
    """

    tool: str
    texts: int
    difference: float
    cosine: float
    least_cosine: float
    same: float | None = None

    def say(self) -> str:
        """One line."""
        same = f"; {self.same:.1%} of the answers are the same" if self.same is not None else ""
        return (
            f"read by {self.tool}, {self.texts} texts: largest difference to the model {self.difference:.1e}, cosine "
            f"{self.cosine:.6f} in the mean, {self.least_cosine:.6f} at least{same}"
        )

    def to_json(self) -> dict[str, Any]:
        """For export.json; without what is None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def require(self, *, difference: float | None = None, cosine: float | None = None) -> Check:
        """Refuse what is too far away.

        Raises:
            MlembedError: it is, or is not a number.
        """
        if difference is not None and not self.difference <= difference:
            raise MlembedError(f"{self.say()}; {difference:.0e} is allowed, so nothing was written")
        if cosine is not None and not self.cosine >= cosine:
            raise MlembedError(f"{self.say()}; a mean cosine of {cosine} is asked for, so nothing was written")
        return self


def compare(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], *, model: TextModel, tool: str) -> Check:
    """Compare answers with those of the model, text by text.

    Args:
        expected: of the model: vectors `[D]`, logits `[L]`, or logits of tokens `[T, L]`.
        found: of the folder.
        model: that was exported.
        tool: that read the folder.
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        raise MlembedError(f"{tool} cuts the texts into other tokens than the model, so nothing was written")
    own_AL, their_AL = (np.concatenate([np.atleast_2d(one) for one in answers]) for answers in (expected, found))
    difference = float(np.abs(own_AL - their_AL).max()) / max(1.0, float(np.abs(own_AL).max()))
    same = None
    if isinstance(model, Classifier):
        own_AL, their_AL = (_probabilities(one, problem=model.head.problem) for one in (own_AL, their_AL))
        same = float((_answers(own_AL, model) == _answers(their_AL, model)).all(axis=1).mean())
    cosines_A = _cosines(own_AL, their_AL)
    return Check(tool, len(expected), difference, float(cosines_A.mean()), float(cosines_A.min()), same)


def _probabilities(logits_AL: np.ndarray, *, problem: str) -> np.ndarray:
    logits = torch.from_numpy(logits_AL)
    if problem == "one":
        return logits.softmax(dim=1).numpy()
    # Of each label that it is there, and that it is not: the cosine of a single number would say nothing.
    yes = logits.sigmoid()
    return torch.cat([yes, 1 - yes], dim=1).numpy()


def _answers(probabilities_AL: np.ndarray, model: Classifier) -> np.ndarray:
    if model.head.problem == "one":
        return np.asarray(probabilities_AL.argmax(axis=1, keepdims=True))
    # A score to one place.
    half_AL = probabilities_AL[:, : model.width]
    return half_AL.round(1) if model.head.problem == "score" else half_AL >= 0.5


def _cosines(first_AL: np.ndarray, second_AL: np.ndarray) -> np.ndarray:
    lengths_A = np.linalg.norm(first_AL, axis=1) * np.linalg.norm(second_AL, axis=1)
    cosines_A: np.ndarray = (first_AL * second_AL).sum(axis=1) / np.maximum(lengths_A, np.finfo(np.float32).tiny)
    # A text without a token has the vector 0 in a static model.
    both_zero_A = ~first_AL.any(axis=1) & ~second_AL.any(axis=1)
    return np.where(both_zero_A, 1.0, cosines_A)


def own_answers(model: TextModel, texts: Sequence[TextOrPair]) -> list[np.ndarray]:
    """What the model itself answers; see `compare`."""
    if isinstance(model, Encoder):
        singles = [text for text in texts if isinstance(text, str)]
        return list(encode(model.reader(), singles, compute=Compute(torch.device("cpu"), "fp32")))
    assert isinstance(model, Classifier)
    classifier = model.eval()

    def forward(**inputs: Any) -> torch.Tensor:
        ids_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
        if classifier.head.of != "words":
            return classifier(ids_BT, mask_BT, inputs.get("token_type_ids"))  # type: ignore[no-any-return]
        row_M, position_M = (torch.ones_like(mask_BT)).nonzero(as_tuple=True)
        logits_ML = classifier(ids_BT, mask_BT, None, row_M, position_M)
        return logits_ML.reshape(*ids_BT.shape, -1)  # type: ignore[no-any-return]

    return _read_batches(texts, forward, tokenizer=model.tokenizer, max_length=model.max_length)


def _read_batches(
    texts: Sequence[TextOrPair], forward: Callable[..., torch.Tensor], *, tokenizer: Any, max_length: int
) -> list[np.ndarray]:
    """Answers of a model of PyTorch to batches of transformers' tokenizer; of three dimensions: of tokens."""
    found: list[np.ndarray] = []
    for start in range(0, len(texts), BATCH):
        part = texts[start : start + BATCH]
        firsts = [text if isinstance(text, str) else text[0] for text in part]
        seconds = [text[1] for text in part if not isinstance(text, str)] or None
        inputs = tokenizer(firsts, seconds, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            answers = forward(**inputs).float().numpy()
        is_token_BT = inputs["attention_mask"].numpy() == 1
        found += [row[is_token_BT[at]] if row.ndim == 2 else row for at, row in enumerate(answers)]
    return found


def transformers_reader(folder: Path, model: TextModel) -> Read:
    """The folder as transformers loads it; pooling and what follows as the card writes it out."""
    from transformers import AutoModel, AutoTokenizer

    from mlembed.models.classifier import auto_class

    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
    kind = auto_class(model.head.of) if isinstance(model, Classifier) else AutoModel
    loaded = kind.from_pretrained(folder, **safely).eval()

    def forward(**inputs: Any) -> torch.Tensor:
        if isinstance(model, Classifier):
            return loaded(**inputs).logits  # type: ignore[no-any-return]
        assert isinstance(model, Encoder)
        hidden_BTD = loaded(**inputs).last_hidden_state
        vectors_BD = pool(hidden_BTD, inputs["attention_mask"], pooling=model.pooling)
        for layer in model.dense:
            vectors_BD = layer(vectors_BD)
        return torch.nn.functional.normalize(vectors_BD, dim=1) if model.normalize else vectors_BD

    return lambda texts: _read_batches(texts, forward, tokenizer=tokenizer, max_length=model.max_length)


def sentence_transformers_reader(folder: Path, model: TextModel) -> Read:
    """The folder as sentence-transformers loads it."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return lambda texts: list(
        loaded.encode(
            [text for text in texts if isinstance(text, str)],
            batch_size=BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
    )


def own_reader(folder: Path, model: TextModel) -> Read:
    """The folder as mlembed loads it, where sentence-transformers is not installed."""
    from mlembed.models.encoder import load_encoder

    loaded = load_encoder(folder, key="--output")
    return lambda texts: own_answers(loaded, texts)


def onnx_reader(folder: Path, model: TextModel) -> Read:
    """The folder as onnxruntime runs it."""
    from mlembed.export.onnx_reader import OnnxReader

    return OnnxReader(folder).read
