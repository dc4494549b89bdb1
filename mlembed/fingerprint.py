"""Hashes by which a resumed run knows that model, tokenizer and data are still the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

# What decides a model's vectors; model cards and the like may change.
SUFFIXES = (".safetensors", ".json", ".txt", ".model")


def folder_fingerprint(folder: Path) -> str:
    """Hash of the files of a model folder that its vectors depend on, wherever the folder lies."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES and len(path.relative_to(folder).parts) <= 2:
            with path.open("rb") as file:
                digest.update(
                    f"{path.relative_to(folder)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
    return digest.hexdigest()


def text_fingerprint(*parts: object) -> str:
    """Hash of JSON values."""
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass")
    ).hexdigest()
