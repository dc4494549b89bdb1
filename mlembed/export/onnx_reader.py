"""Runs an ONNX folder with tokenizers, onnxruntime and numpy alone, as its user would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlembed.export.onnx_folder import GRAPH, SETTINGS

# Texts of one call; they are of different lengths, so most are padded.
BATCH = 16

TextOrPair = str | tuple[str, str]


class OnnxReader:
    """A model that was exported to ONNX.

    Args:
        folder: of `export_onnx`.
        graph: another file than the folder's own.
    """

    def __init__(self, folder: Path, *, graph: Path | None = None) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self.settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if self.settings["max_length"] is not None:
            self.tokenizer.enable_truncation(self.settings["max_length"])
        self.tokenizer.enable_padding(pad_id=self.settings["pad_token_id"], pad_token=self.settings["pad_token"])
        self.session = onnxruntime.InferenceSession(str(graph or folder / GRAPH), providers=["CPUExecutionProvider"])

    def read(self, texts: Sequence[TextOrPair]) -> list[np.ndarray]:
        """What the model answers to each text: a vector `[D]`, logits `[L]`, or logits of tokens `[T, L]`."""
        found: list[np.ndarray] = []
        for start in range(0, len(texts), BATCH):
            encoded = self.tokenizer.encode_batch(
                list(texts[start : start + BATCH]), add_special_tokens=self.settings["add_special_tokens"]
            )
            columns = {
                "input_ids": [one.ids for one in encoded],
                "attention_mask": [one.attention_mask for one in encoded],
                "token_type_ids": [one.type_ids for one in encoded],
            }
            fed = {name: np.array(columns[name], dtype=np.int64) for name in self.settings["inputs"]}
            (answers,) = self.session.run([self.settings["outputs"][0]], fed)
            is_token = fed["attention_mask"] == 1
            of_tokens = self.settings["answers"] == "words"
            found += [row[is_token[at]] if of_tokens else row for at, row in enumerate(answers)]
        return found
