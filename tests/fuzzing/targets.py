"""What is fuzzed: each target has valid inputs, and reads a changed one as a command would."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing import seeds_folders, seeds_texts, strategies
from fuzzing.mutations import Files
from mlembed.data.filters import RowFilter
from mlembed.data.labelled import read_examples
from mlembed.data.parallel import read_parallel
from mlembed.data.readers import ReadOptions
from mlembed.data.where import Where
from mlembed.errors import ConfigError, DataError, path_problem


@dataclass(frozen=True)
class Target:
    """Something that reads files that come from others.

    Args:
        seeds: makes valid inputs, each the files of a folder.
        read: reads the folder; the number chooses among settings. Whatever it raises, errors of mlembed excepted, is a
            finding.
        structured: makes a strategy of hypothesis for more inputs; None: there is none.
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Path, int], None]
    structured: Callable[[], Any] | None = None


def _only_file(folder: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return folder / "news" if files[0].name.startswith("news.") else files[0]


def _parallel(folder: Path, choice: int) -> None:
    rows: list[tuple[str, str, str]] = []
    read = read_parallel(
        [str(_only_file(folder))],
        options=ReadOptions(languages=("de", "fr") if choice & 1 else None),
        on_error="skip" if choice & 2 else "stop",
        filters=RowFilter(
            drop_markup=bool(choice & 4), drop_duplicates=True, max_chars=1000, where=Where({"x": frozenset("1")})
        ),
        sink=lambda source, target, language, _path, _line: rows.append((source, target, language)),
    )
    counts = read.counts
    assert counts.read == counts.bad + counts.kept + counts.filtered.total(), counts
    assert len(rows) == counts.kept
    for row in rows:
        for text in row:
            text.encode()  # half of a surrogate pair would end the writing of the corpus
        assert all(row), row


def _labelled(folder: Path, choice: int) -> None:
    settings: tuple[tuple[Any, Any], ...] = (
        ("text", "label"),
        ("text", "labels"),
        ("tokens", "tags"),
        ("pair", "score"),
        ("pair", "label"),
        ("tokens", "none"),
    )
    shape, answers = settings[choice % len(settings)]
    examples, counts = read_examples(
        [str(_only_file(folder))],
        shape=shape,
        answers=answers,
        columns={},
        options=ReadOptions(languages=("de",) if choice & 8 else None),
        where=Where(),
        on_error="skip" if choice & 16 else "stop",
        max_chars=1000,
    )
    assert counts.read == counts.bad + counts.kept + counts.filtered.total(), counts
    for one in examples:
        json.dumps([*one.texts, one.labels, one.language, one.id], ensure_ascii=False).encode()


def _intents(folder: Path, choice: int) -> None:
    read_examples(
        [str(_only_file(folder))],
        shape="text",
        answers="label",
        columns={},
        options=ReadOptions(),
        where=Where(),
        on_error="skip" if choice & 1 else "stop",
        max_chars=None,
    )


def _run_config(folder: Path, choice: int) -> None:
    from mlembed.run.start import eval_config, train_config

    if choice % 4 == 0:
        (folder / "command.txt").write_text("mlembed train\n")
        eval_config({"target": str(folder), "data": {}, "run": {}}, ["run.name"] if choice & 4 else [])
    else:
        train_config(
            {"run": {"resume": str(folder), "name": "x"}}, ["run.resume", *(["run.name"] if choice & 8 else [])]
        )


@functools.cache
def _composed() -> tuple[Any, Any]:
    from hydra import compose, initialize_config_module

    from mlembed.door.command_line import CommandLine
    from mlembed.door.overrides import Quoting

    with initialize_config_module("mlembed.conf", version_base="1.3"):
        return compose("train"), Quoting(CommandLine("train"))


def _overrides(folder: Path, choice: int) -> None:
    """What `mlembed train WORDS --cfg job` does, but that the YAML files are read once, so without groups."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    from mlembed.door.command_line import parse_words
    from mlembed.door.composed import explain, to_plain
    from mlembed.door.overrides import keys
    from mlembed.run.start import train_config

    # As the system hands them over; what the user has Hydra itself do is no input of others. Cut, since Hydra's parser
    # takes time by the square of the length of a list.
    words = os.fsdecode((folder / "words.txt").read_bytes().replace(b"\0", b"")).split("\n")[:20]
    words = [word[:5000] for word in words if not word.partition("=")[0].lstrip("+~").startswith("hydra")]
    composed, quoting = _composed()
    try:
        line = parse_words("train", words)
    except OSError as error:
        raise ConfigError(path_problem(error)) from error
    quoted = [quoting(word) for word in line.overrides]
    try:
        parsed = quoting.parser.parse_overrides(quoted)
        changed = copy.deepcopy(composed)
        settings = [one for one in parsed if one.key_or_group not in quoting.groups]
        ConfigLoaderImpl._apply_overrides_to_config(settings, changed)
    except Exception as error:  # run_app explains all that Hydra raises
        assert explain(error, "train").encode(errors="surrogatepass").strip()
        return
    train_config(to_plain(changed), keys(quoted))


def _manifest(folder: Path, choice: int) -> None:
    from mlembed.run.checkpoint import verify

    write = seeds_folders.write_files
    write(folder, {"state.json": b'{"signature": {}}', "student/config.json": b"{}"})
    problem = verify(folder)
    assert problem is None or "\n" not in problem[:1]


def _sealed(folder: Path) -> Path:
    """Make the manifest agree, as somebody would who wants a changed checkpoint to be taken."""
    checkpoint = folder / seeds_folders.CHECKPOINT
    entries = {
        path.relative_to(checkpoint).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in checkpoint.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    (checkpoint / "manifest.json").write_text(json.dumps({"files": entries}))
    return checkpoint


@functools.cache
def _student_and_optimizer() -> tuple[Any, Any, Any]:
    import torch
    from toys import toy_encoder

    from mlembed.compute import Processes

    student = toy_encoder(width=8, layers=1)
    return student, torch.optim.AdamW(student.parameters()), Processes(torch.device("cpu"))


def _checkpoint(folder: Path, choice: int) -> None:
    from mlembed.run.checkpoint import CheckpointStore
    from mlembed.run.training_files import read_state, read_training_files

    if choice & 3:
        _sealed(folder)
    newest = CheckpointStore(folder / "checkpoints", keep=2).newest()
    if newest is None:
        return
    read_state(newest)
    student, optimizer, processes = _student_and_optimizer()
    read_training_files(
        newest, student=student, optimizer=optimizer, processes=processes, allow_changes=bool(choice & 4)
    )


def _shard(folder: Path, choice: int) -> None:
    from mlembed.cache.shard import DamagedShard, open_shard, texts_in

    texts_in(folder)
    try:
        found = open_shard(folder / seeds_folders.SHARD, width=seeds_folders.WIDTH)
        keys = found.keys()
        if choice & 1:
            found.verify()
        assert np.asarray(found.vectors()).shape == (len(keys), seeds_folders.WIDTH)
    except DamagedShard as error:
        raise DataError(str(error)) from error


def _cache(folder: Path, choice: int) -> None:
    from mlembed.cache.cache_folder import entries
    from mlembed.data.verified_folder import read_about
    from mlembed.manage_cache import main

    for entry in entries(folder):
        json.dumps(entry.what, ensure_ascii=False)
        read_about(entry.path / "about.json")
    if choice % 8 == 0:
        os.environ["MLEMBED_CACHE"] = str(folder)
        main(["ls"])


def _student(folder: Path, choice: int) -> None:
    from mlembed.models.encoder import load_encoder

    encoder = load_encoder(folder, key="model.student.name")
    assert encoder.width > 0


def _classifier(folder: Path, choice: int) -> None:
    from mlembed.label_starts import load_any_answering

    load_any_answering(folder, key="model")


TARGETS: dict[str, Target] = {
    "tsv": Target(seeds_texts.tsv, _parallel, lambda: strategies.tables("data.tsv", "\t")),
    "csv": Target(seeds_texts.csv, _parallel, lambda: strategies.tables("data.csv", ",")),
    "jsonl": Target(seeds_texts.jsonl, _parallel, strategies.json_lines),
    "labelled": Target(seeds_texts.labelled, _labelled, strategies.labelled_lines),
    "parquet": Target(seeds_texts.parquet, _parallel, strategies.parquet_tables),
    "tmx": Target(seeds_texts.tmx, _parallel, strategies.memories),
    "po": Target(seeds_texts.po, _parallel, strategies.catalogues),
    "mo": Target(seeds_texts.mo, _parallel, strategies.compiled_catalogues),
    "moses": Target(seeds_texts.moses, _parallel, strategies.aligned_files),
    "gz": Target(seeds_texts.gz, _parallel),
    "intents": Target(seeds_texts.intents, _intents, strategies.templates),
    "overrides": Target(seeds_folders.overrides, _overrides, strategies.command_words),
    "run_config": Target(seeds_folders.run_config, _run_config),
    "manifest": Target(seeds_folders.manifest, _manifest, strategies.manifests),
    "checkpoint": Target(seeds_folders.checkpoint, _checkpoint),
    "shard": Target(seeds_folders.shard, _shard),
    "cache": Target(seeds_folders.cache_about, _cache),
    "student": Target(seeds_folders.student, _student),
    "classifier": Target(seeds_folders.classifier, _classifier),
}
