"""From the data section of a configuration to training rows and held-out sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlembed.config import Data, FilesData, HubData
from mlembed.data.filters import RowFilter
from mlembed.data.parallel import ParallelRows, ReadCounts, read_parallel, read_parallel_hub
from mlembed.data.readers import ReadOptions
from mlembed.data.records import Row
from mlembed.data.scored import ScoredSet, is_scored, read_scored
from mlembed.data.split import cap_sources, drop_leaks, split_by_source
from mlembed.data.where import make_where
from mlembed.errors import ConfigError
from mlembed.tasks.held_out import HeldOut

log = logging.getLogger("mlembed")

Read = Callable[[], ParallelRows]


@dataclass(frozen=True)
class Splits:
    """The rows of a run.

    Args:
        train: rows to train on.
        validation: what decides the best checkpoint.
        test: what the report is about.
        counts: what was read, filtered (and why) and kept of each part, as JSON values.
    """

    train: list[Row]
    validation: HeldOut
    test: HeldOut
    counts: Mapping[str, Any]


def load_splits(data: Data, *, seed: int) -> Splits:
    """Read all data of a training run.

    Held-out sets that are not given are split off by source sentence. Training rows whose source is held out are
    dropped, unless the configuration says otherwise.

    Raises:
        DataError: with `file:line`.
        ConfigError: there are too few rows to split, or none is left for training.
    """
    counts: dict[str, Any] = {}
    train_rows = _read(data, "train", counts)
    held_out = {part: _held_out(data, part, counts) for part in ("validation", "test")}
    # A set of scored pairs alone is no test of retrieval: parallel sentences are split off for it too.
    missing = {part: 0 if (held := held_out[part]) and held.rows else size for part, size in _sizes(data).items()}
    if any(missing.values()):
        short = [row for row in train_rows if len(row.source.split()) < data.held_out_min_words]
        long = [row for row in train_rows if len(row.source.split()) >= data.held_out_min_words]
        train_rows, validation_rows, test_rows = split_by_source(long, **missing, seed=seed)
        train_rows += short
        for part, rows in (("validation", validation_rows), ("test", test_rows)):
            if missing[part]:
                given = held_out[part]
                name = f"{missing[part]} {part} sources split off"
                scored = given.scored if given else None
                held_out[part] = HeldOut(f"{name} and {given.name}" if given else name, rows, scored)
    validation, test = held_out["validation"], held_out["test"]
    assert validation is not None and test is not None
    leaks = 0
    if data.drop_leaks:
        scored_rows = [row for part in (validation, test) if part.scored for row in part.scored.source_rows]
        train_rows, leaks = drop_leaks(train_rows, [*validation.rows, *test.rows, *scored_rows])
    if not train_rows:
        raise ConfigError("no training row is left: all of its sources are in the validation or test set")
    if data.max_sources is not None:
        train_rows = cap_sources(train_rows, data.max_sources)
    counts["used"] = {
        "leaks_dropped": leaks,
        "train": _by_language(train_rows),
        "validation": _by_language(validation.rows),
        "test": _by_language(test.rows),
    }
    _log_counts(counts)
    return Splits(train_rows, validation, test, counts)


def load_test(data: Data, *, seed: int) -> tuple[HeldOut, Mapping[str, Any]]:
    """Read the test set alone, or with it the training data that a part of it is split off from, as in training."""
    counts: dict[str, Any] = {}
    test = _held_out(data, "test", counts)
    can_split = not isinstance(data, FilesData) or bool(data.train)
    if test is not None and (test.rows or not can_split):
        _log_counts(counts)
        return test, counts
    if not can_split:
        raise ConfigError("data.test: no test data is given; write data.test=PATH")
    splits = load_splits(data, seed=seed)
    return splits.test, splits.counts


def _sizes(data: Data) -> dict[str, int]:
    return {"validation": data.validation_size, "test": data.test_size}


def _options(data: Data) -> tuple[ReadOptions, RowFilter]:
    languages = None if data.languages is None else tuple(data.languages)
    filters = RowFilter(
        languages=languages,
        min_words=data.min_words,
        max_chars=data.max_chars,
        drop_identical=data.drop_identical,
        drop_markup=data.drop_markup,
        drop_duplicates=data.drop_duplicates,
        where=make_where(data.where or {}),
    )
    return ReadOptions(source_language=data.source_language, languages=languages), filters


def _read(data: Data, part: str, counts: dict[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    options, filters = _options(data)
    if part != "train":
        # A held-out set is measured as it was given: only rows that cannot be measured are left out.
        filters = replace(filters, min_words=0, max_chars=None, drop_identical=False, drop_markup=False)
    common: dict[str, Any] = {
        "options": options,
        "columns": data.columns.model_dump(),
        "on_error": data.on_error,
        "filters": filters,
    }
    if isinstance(data, HubData):
        split = getattr(data, f"{part}_split")
        result = read_parallel_hub(data.name, subsets=data.subsets, split=split, **common)
    else:
        assert isinstance(data, FilesData)
        result = read_parallel(names or getattr(data, part), **common)
    counts[part] = _counts(result.counts)
    return result.rows


def _held_out(data: Data, part: str, counts: dict[str, Any]) -> HeldOut | None:
    """A validation or test set that the configuration names; STS files are told by their columns."""
    if isinstance(data, HubData):
        split = getattr(data, f"{part}_split")
        return None if split is None else HeldOut(f"{data.name} {split}", _read(data, part, counts))
    assert isinstance(data, FilesData)
    names = getattr(data, part)
    if not names:
        return None
    options, filters = _options(data)
    scored_names = [name for name in names if is_scored(name, options=options)]
    parallel_names = [name for name in names if name not in scored_names]
    scored: ScoredSet | None = None
    if scored_names:
        scored, read = read_scored(scored_names, options=options, where=filters.where, on_error=data.on_error)
        counts[f"{part}_scored"] = _counts(read)
    rows = _read(data, part, counts, parallel_names) if parallel_names else []
    return HeldOut(", ".join(names), rows, scored)


def _counts(counts: ReadCounts) -> dict[str, Any]:
    return {**asdict(counts), "filtered": dict(counts.filtered)}


def _by_language(rows: Sequence[Row]) -> dict[str, Any]:
    languages: dict[str, int] = {}
    for row in rows:
        languages[row.language] = languages.get(row.language, 0) + 1
    return {
        "sources": len({row.source for row in rows}),
        "rows": len(rows),
        "languages": dict(sorted(languages.items())),
    }


def _log_counts(counts: Mapping[str, Any]) -> None:
    for part, read in counts.items():
        if part == "used":
            continue
        filtered = ", ".join(f"{reason} {count}" for reason, count in sorted(read["filtered"].items())) or "none"
        log.info("%s: %d rows read, %d kept; filtered: %s", part, read["read"], read["kept"], filtered)
        if read["bad"]:
            log.warning(
                "%s: %d bad rows skipped, such as\n  %s", part, read["bad"], "\n  ".join(read["bad_examples"][:5])
            )
    if "used" in counts:
        used = counts["used"]
        parts = ", ".join(
            f"{part} {used[part]['rows']} rows of {used[part]['sources']} sources"
            for part in ("train", "validation", "test")
        )
        leaks = f"; {used['leaks_dropped']} training rows dropped that are held out" if used["leaks_dropped"] else ""
        log.info("used: %s%s", parts, leaks)
