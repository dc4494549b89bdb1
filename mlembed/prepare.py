"""From the data section of a configuration to training rows and held-out sets."""

from __future__ import annotations

import atexit
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from mlembed.cache.cache_folder import cache_folder
from mlembed.config_data import Data, FilesData, HubData
from mlembed.data.corpus import Corpus
from mlembed.data.filters import RowFilter
from mlembed.data.gather import Division, Gathering, store_corpus
from mlembed.data.parallel import OnUnreadable, ParallelRows, ReadCounts, Sink, read_parallel, read_parallel_hub
from mlembed.data.readers import ReadOptions
from mlembed.data.records import Row
from mlembed.data.scored import ScoredSet, is_scored, read_scored
from mlembed.data.split import normalized_source
from mlembed.data.spool import RowSpool
from mlembed.data.verified_folder import staging_folder
from mlembed.data.where import make_where
from mlembed.errors import ConfigError, ResourceError
from mlembed.files import is_disk_full
from mlembed.tasks.held_out import HeldOut

log = logging.getLogger("mlembed")

# The kind of corpora in the cache folder.
CORPORA = "corpora"


@dataclass(frozen=True)
class Splits:
    """The rows of a run.

    Args:
        train: what is trained on, on disk.
        validation: what decides the best checkpoint.
        test: what the report is about.
        counts: what was read, filtered (and why) and kept of each part, as JSON values.
    """

    train: Corpus
    validation: HeldOut
    test: HeldOut
    counts: Mapping[str, Any]


def load_splits(data: Data, *, seed: int, corpora: Path | None = None) -> Splits:
    """Read all data of a training run.

    Held-out sets that are not given are split off by source sentence. Training rows whose source is held out are
    dropped, unless the configuration says otherwise. Rows for training go to disk as they are read; a corpus of the
    same rows that is there already is used again.

    Args:
        data: the `data` section of a configuration.
        seed: of the choice of what is split off.
        corpora: the folder of all corpora; None: in the cache folder.

    Raises:
        DataError: with `file:line`.
        ConfigError: there are too few rows to split, or none is left for training.
        ResourceError: there is no room on the disk.
    """
    corpora = corpora or _corpora_folder()
    with _scratch(corpora) as scratch:
        return _load_splits(data, seed=seed, corpora=corpora, scratch=scratch)


def load_corpus(data: Data, names: Sequence[str], *, forbidden: frozenset[str]) -> tuple[Corpus, ReadCounts]:
    """Read parallel text of which nothing is split off, and what was counted on the way.

    Args:
        data: the `data` section of a configuration.
        names: the files.
        forbidden: normalized sources that are held out; their rows are left out.

    Raises:
        DataError: with `file:line`.
        ResourceError: there is no room on the disk.
    """
    corpora = _corpora_folder()
    with _scratch(corpora) as scratch:
        spool = RowSpool(scratch / "rows.arrow")
        read = read_part(data, "train", names=names, sink=spool.add).counts
        gathering = Gathering(spool.close(), scratch=scratch, drop_duplicates=data.drop_duplicates)
        gathered = gathering.gather(Division(drop_leaks=True, forbidden=forbidden))
        read.drop("drop_duplicates", gathered.duplicates)
        read.filtered["drop_leaks"] += gathered.leaks
        read.kept -= gathered.leaks
        return store_corpus(gathering, scratch=scratch, corpora=corpora, max_sources=data.max_sources), read


@contextlib.contextmanager
def _scratch(corpora: Path) -> Iterator[Path]:
    """A folder beside the corpora that ends with the context; a full disk is explained."""
    try:
        with staging_folder(corpora) as scratch:
            yield scratch
    except OSError as error:
        if not is_disk_full(error) and str(corpora) not in str(error):
            raise
        raise ResourceError(
            f"the training data cannot be written to {corpora}: {error.strerror or error}. Free some space there, or "
            "name another folder with the environment variable MLEMBED_CACHE."
        ) from error


def _corpora_folder() -> Path:
    """Where corpora lie: in the cache folder, or, where that cannot be used, in one that ends with this process."""
    try:
        path = cache_folder() / CORPORA
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        path = Path(tempfile.mkdtemp(prefix="mlembed-corpora-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        log.warning(
            "the training data cannot be kept for other runs (%s); until this one ends they are in %s", error, path
        )
        return path


def _load_splits(data: Data, *, seed: int, corpora: Path, scratch: Path) -> Splits:
    counts: dict[str, Any] = {}
    spool = RowSpool(scratch / "rows.arrow")
    read = read_part(data, "train", sink=spool.add).counts
    held_out = {part: read_held_out(data, part, counts) for part in ("validation", "test")}
    # A set of scored pairs alone is no test of retrieval: parallel sentences are split off for it too.
    missing = {part: 0 if held and held.rows else int(getattr(data, f"{part}_size")) for part, held in held_out.items()}
    gathering = Gathering(spool.close(), scratch=scratch, drop_duplicates=data.drop_duplicates)
    gathered = gathering.gather(
        Division(
            **missing,
            seed=seed,
            min_words=data.held_out_min_words,
            drop_leaks=data.drop_leaks,
            forbidden=_forbidden(held_out.values()) if data.drop_leaks else frozenset(),
        )
    )
    for part, rows in (("validation", gathered.validation), ("test", gathered.test)):
        if missing[part]:
            given = held_out[part]
            name = f"{missing[part]} {part} sources split off"
            scored = given.scored if given else None
            held_out[part] = HeldOut(f"{name} and {given.name}" if given else name, rows, scored)
    validation, test = held_out["validation"], held_out["test"]
    assert validation is not None and test is not None
    if not gathered.rows:
        raise ConfigError("no training row is left: all of its sources are in the validation or test set")
    corpus = store_corpus(gathering, scratch=scratch, corpora=corpora, max_sources=data.max_sources)
    read.drop("drop_duplicates", gathered.duplicates)
    counts = {"train": counts_json(read), **counts}
    counts["used"] = {
        "leaks_dropped": gathered.leaks,
        "train": corpus.counts(),
        "validation": _by_language(validation.rows),
        "test": _by_language(test.rows),
    }
    log_counts(counts)
    return Splits(corpus, validation, test, counts)


def _forbidden(held_out: Iterable[HeldOut | None]) -> frozenset[str]:
    """The normalized sources of held-out sets that are given."""
    given = [part for part in held_out if part is not None]
    rows = chain.from_iterable([*part.rows, *(part.scored.source_rows if part.scored else ())] for part in given)
    return frozenset(normalized_source(source) for source in {row.source for row in rows})


def load_test(data: Data, *, seed: int) -> tuple[HeldOut, Mapping[str, Any]]:
    """Read the test set alone, or with it the training data that a part of it is split off from, as in training."""
    counts: dict[str, Any] = {}
    test = read_held_out(data, "test", counts)
    can_split = not isinstance(data, FilesData) or bool(data.train)
    if test is not None and (test.rows or not can_split):
        log_counts(counts)
        return test, counts
    if not can_split:
        raise ConfigError("data.test: no test data is given; write data.test=PATH")
    splits = load_splits(data, seed=seed)
    return splits.test, splits.counts


def read_options(data: Data) -> tuple[ReadOptions, RowFilter]:
    """What is read of files, and which rows of parallel text are kept."""
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


def read_part(
    data: Data,
    part: str,
    *,
    names: Sequence[str] | None = None,
    sink: Sink | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> ParallelRows:
    """Read the parallel text of a part, `train`, `validation` or `test`; see `read_parallel`."""
    options, filters = read_options(data)
    if part == "train":
        # Found when the rows are grouped: here they would have to be in memory.
        filters = replace(filters, drop_duplicates=False)
    else:
        # A held-out set is measured as it was given: only rows that cannot be measured are left out.
        filters = replace(filters, min_words=0, max_chars=None, drop_identical=False, drop_markup=False)
    common: dict[str, Any] = {
        "options": options,
        "columns": data.columns.model_dump(),
        "on_error": data.on_error,
        "filters": filters,
        "sink": sink,
    }
    if isinstance(data, HubData):
        split = getattr(data, f"{part}_split")
        return read_parallel_hub(data.name, subsets=data.subsets, split=split, **common)
    assert isinstance(data, FilesData)
    return read_parallel(names or getattr(data, part), on_unreadable=on_unreadable, **common)


def _read_held_out(data: Data, part: str, counts: dict[str, Any], names: Sequence[str] | None = None) -> list[Row]:
    result = read_part(data, part, names=names)
    counts[part] = counts_json(result.counts)
    return result.rows


def read_held_out(data: Data, part: str, counts: dict[str, Any]) -> HeldOut | None:
    """A validation or test set that the configuration names; STS files are told by their columns."""
    if isinstance(data, HubData):
        split = getattr(data, f"{part}_split")
        return None if split is None else HeldOut(f"{data.name} {split}", _read_held_out(data, part, counts))
    assert isinstance(data, FilesData)
    names = getattr(data, part)
    if not names:
        return None
    options, filters = read_options(data)
    scored_names = [name for name in names if is_scored(name, options=options)]
    parallel_names = [name for name in names if name not in scored_names]
    scored: ScoredSet | None = None
    if scored_names:
        scored, read = read_scored(scored_names, options=options, where=filters.where, on_error=data.on_error)
        counts[f"{part}_scored"] = counts_json(read)
    rows = _read_held_out(data, part, counts, parallel_names) if parallel_names else []
    return HeldOut(", ".join(names), rows, scored)


def counts_json(counts: ReadCounts) -> dict[str, Any]:
    """Counts as JSON values."""
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


def log_counts(counts: Mapping[str, Any]) -> None:
    """Say what was read, filtered and used."""
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
