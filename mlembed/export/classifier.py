"""Writes a model with a head as a folder that transformers loads, names of labels included."""

from __future__ import annotations

from pathlib import Path

from mlembed.export.files import let_others_read, write_tokenizer
from mlembed.models.classifier import Classifier
from mlembed.models.compaction import full_vocabulary


def export_classifier(classifier: Classifier, folder: Path, *, card: str) -> None:
    """Write a model folder for `pipeline("text-classification")` or `pipeline("token-classification")`.

    Args:
        classifier: teacher or student; its weights are written as float32.
        folder: an existing, empty folder.
        card: the text of README.md.
    """
    write_tokenizer(classifier, folder)
    with full_vocabulary(classifier):
        classifier.transformer.save_pretrained(folder, save_original_format=False)
    (folder / "README.md").write_text(card, encoding="utf-8")
    let_others_read(folder)
