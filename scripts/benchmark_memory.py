"""How memory and preparation time grow with the number of training pairs: generates them, trains a few steps, measures.

    python scripts/benchmark_memory.py FOLDER [--rows 200000 1000000 5000000 20000000]

The model is tiny, so that what is measured is the data. Files, cache and runs lie in FOLDER and are deleted after each
size; memory.json and memory.png stay. Other words are settings of `mlembed train`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

LANGUAGES = ("de", "es", "fr", "hi", "it", "ja", "nl", "pt", "ru", "zh")
WORDS = 2000
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Messages in the log of a run, and the phases that end with them.
PHASES = {
    "read": "used: train",
    "tokenized": "an epoch has",
    "encoded": "texts encoded",
    "planned": " steps; ",
}


def write_teacher(folder: Path) -> None:
    """A BERT of one layer with random weights that knows the words of all languages."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from mlembed.export.sentence_transformers import export_encoder
    from mlembed.models.encoder import Encoder

    words = [f"{language}{number}" for language in ("en", *LANGUAGES) for number in range(WORDS)]
    vocabulary = {word: at for at, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **roles)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    transformer = BertModel(config, add_pooling_layer=False)
    encoder = Encoder(transformer, tokenizer=wrapped, pooling="mean", dense=[], normalize=True, max_length=32)
    folder.mkdir(parents=True)
    export_encoder(encoder, folder, card="random weights\n")


def write_pairs(folder: Path, *, rows: int) -> list[Path]:
    """One file a language, so that the translations of a source lie far apart; ten translations a source."""
    paths = [folder / f"{language}.tsv" for language in LANGUAGES]
    tables = {language: [f"{language}{number}" for number in range(WORDS)] for language in ("en", *LANGUAGES)}
    for path, language in zip(paths, LANGUAGES, strict=True):
        draw = random.Random(0)
        source, target = tables["en"], tables[language]
        with path.open("w", encoding="utf-8") as file:
            file.write("source\ttarget\tlang\n")
            for _ in range(rows // len(LANGUAGES)):
                numbers = draw.choices(range(WORDS), k=draw.randint(4, 12))
                texts = (" ".join([table[number] for number in numbers]) for table in (source, target))
                file.write("\t".join((*texts, language)) + "\n")
    return paths


def run_train(folder: Path, paths: list[Path], words: list[str]) -> dict[str, float]:
    """Train a few steps in a process of its own; returns its peaks of memory, in MB, and the seconds of its phases."""
    run = folder / "run"
    settings = [
        "model=copy",
        "data=files",
        f"data.train=[{','.join(map(str, paths))}]",
        "data.validation_size=100",
        "data.test_size=100",
        f"model.teacher.name={folder / 'teacher'}",
        "trainer.max_steps=20",
        "trainer.device=cpu",
        "trainer.precision=fp32",
        "trainer.progress=none",
        f"run.dir={run}",
        *words,
    ]
    environment = os.environ | {"MLEMBED_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    started, cpu_before = time.time(), os.times()
    peaks = {"anonymous_mb": 0.0, "resident_mb": 0.0}
    with (folder / "output.txt").open("w") as output:
        command = [sys.executable, "-m", "mlembed", "train", *settings]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            for name, field in (("anonymous_mb", "RssAnon"), ("resident_mb", "VmRSS")):
                peaks[name] = max(peaks[name], memory(process.pid, field))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit((folder / "output.txt").read_text())
    lines = (run / "log.txt").read_text(encoding="utf-8").splitlines()
    phases = {f"{phase}_s": seconds(lines, message) - started for phase, message in PHASES.items()}
    cpu = os.times()
    used = cpu.children_user + cpu.children_system - cpu_before.children_user - cpu_before.children_system
    return peaks | phases | {"total_s": time.time() - started, "cpu_s": used}


def memory(process: int, field: str) -> float:
    """A field of /proc/<process>/status in MB; 0 where the process has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{field}:")), 0.0)


def seconds(lines: list[str], message: str) -> float:
    """When a message was logged."""
    stamp = next(line for line in lines if message in line)[:23]
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC).timestamp()


def measure(folder: Path, *, rows: int, words: list[str]) -> dict[str, float]:
    """Generate, train, and delete."""
    place = folder / f"rows-{rows}"
    place.mkdir(parents=True)
    try:
        write_teacher(place / "teacher")
        paths = write_pairs(place, rows=rows)
        size = sum(path.stat().st_size for path in paths) / 2**20
        found = run_train(place, paths, words)
        cache = sum(path.stat().st_size for path in (place / "cache").rglob("*") if path.is_file()) / 2**20
        return {"rows": rows, "file_mb": size, "cache_mb": cache, **found}
    finally:
        shutil.rmtree(place)


def draw_curve(results: list[dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    rows = [found["rows"] for found in results]
    left.plot(rows, [found["anonymous_mb"] for found in results], "-o", label="peak anonymous memory")
    left.plot(rows, [found["file_mb"] for found in results], "--", color="gray", label="size of the files")
    left.set(xscale="log", yscale="log", xlabel="pairs", ylabel="MB")
    right.plot(rows, [found["tokenized_s"] for found in results], "-o", label="read, grouped, tokenized")
    right.set(xscale="log", yscale="log", xlabel="pairs", ylabel="seconds")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written; memory.json and memory.png stay")
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000, 5_000_000, 20_000_000])
    options, words = parser.parse_known_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = []
    for rows in options.rows:
        results.append(measure(options.folder, rows=rows, words=words))
        print("  ".join(f"{name} {value:,.0f}" for name, value in results[-1].items()), flush=True)
        (options.folder / "memory.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw_curve(results, options.folder / "memory.png")


if __name__ == "__main__":
    main()
