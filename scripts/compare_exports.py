"""Compare exports of one model: size, CPU time for the same texts in turns, cosine to the model, and STS by language.

python scripts/compare_exports.py MODEL EXPORT [EXPORT ...] --pairs sts.tsv
(columns sentence1, sentence2, score, lang; one thread each)
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from mlembed.compute import Compute
from mlembed.export.onnx_folder import GRAPH
from mlembed.models.encode import encode
from mlembed.models.encoder import load_encoder

TEXTS, BATCH, ROUNDS = 400, 16, 3


def reader(folder: Path):  # type: ignore[no-untyped-def]
    """Texts to vectors, in batches of texts of like length."""
    if not (folder / GRAPH).is_file():
        model = load_encoder(folder, key="folder")
        return lambda texts: encode(model, texts, compute=Compute(torch.device("cpu"), "fp32"), batch_tokens=1024)
    import onnxruntime

    from mlembed.export.onnx_reader import OnnxReader

    one = OnnxReader(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    one.session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])

    def read(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        found = one.read([texts[at] for at in order])
        return np.stack([found[at] for at in np.argsort(order)])

    return read


def megabytes(folder: Path) -> float:
    files = [*folder.glob("*.onnx"), *folder.rglob("*.safetensors")]
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with options.pairs.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    languages = sorted({row["lang"] for row in rows})
    texts = [row["sentence1"] for row in rows[:: max(1, len(rows) // TEXTS)]][:TEXTS]
    readers = {folder: reader(folder) for folder in options.folders}
    seconds: dict[Path, list[float]] = {folder: [] for folder in readers}
    vectors = {}
    for _ in range(ROUNDS):
        for folder, read in readers.items():
            start = time.process_time()
            vectors[folder] = read(texts)
            seconds[folder].append(time.process_time() - start)
    print("| folder | MB | CPU s | cosine, mean and least | STS " + " | ".join(languages) + " | mean |")
    for folder, read in readers.items():
        first, own = vectors[options.folders[0]], vectors[folder]
        cosines = "-"
        if own.shape == first.shape:
            each = (own * first).sum(axis=1) / np.linalg.norm(own, axis=1) / np.linalg.norm(first, axis=1)
            cosines = f"{each.mean():.5f} {each.min():.5f}"
        scores = []
        for language in languages:
            some = [row for row in rows if row["lang"] == language]
            one, other = (read([row[name] for row in some]) for name in ("sentence1", "sentence2"))
            similarity = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
            scores.append(100 * float(spearmanr(similarity, [float(row["score"]) for row in some])[0]))
        cells = [f"{score:.1f}" for score in [*scores, float(np.mean(scores))]]
        about = [folder.name, f"{megabytes(folder):.1f}", f"{min(seconds[folder]):.2f}", cosines]
        print(f"| {' | '.join([*about, *cells])} |")


if __name__ == "__main__":
    main()
