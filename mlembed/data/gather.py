"""From rows on disk to a corpus: grouped, held-out sources taken out, in memory for a part of the rows at a time."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from mlembed.data.corpus import Corpus
from mlembed.data.corpus_writer import CorpusWriter
from mlembed.data.grouping import Grouped, group
from mlembed.data.order import spread
from mlembed.data.records import Row
from mlembed.data.split import TEST, TRAIN, VALIDATION, HeldOutChoice, normalized_source
from mlembed.data.spool import ROWS_IN_MEMORY, SCHEMA, RowSpool, Spooled, distribute, read_table, read_tables
from mlembed.data.verified_folder import publish

LEAK = 3
# Rows with the place of their group: the number of its first row.
PLACED = SCHEMA.append(pa.field("first", pa.int64()))
# Parts into which the rows are counted, to cut them into ranges of about the same size.
BINS = 2**16


@dataclass(frozen=True)
class Division:
    """What is held out.

    Args:
        validation: sources to split off for validation.
        test: sources to split off for the test.
        seed: of their choice.
        min_words: only sources of at least so many words are split off.
        drop_leaks: drop rows whose source, normalized, is held out.
        forbidden: normalized sources that are held out already.
    """

    validation: int = 0
    test: int = 0
    seed: int = 0
    min_words: int = 0
    drop_leaks: bool = False
    forbidden: frozenset[str] = frozenset()

    @property
    def splits(self) -> bool:
        """Whether sources are split off."""
        return bool(self.validation or self.test)


@dataclass
class Gathered:
    """What became of the rows.

    Args:
        rows: number of rows left for training.
        sources: number of their sources.
        validation: rows that were split off, in the order in which they were read.
        test: the same.
        leaks: rows that were dropped because their source is held out.
        duplicates: language -> rows that were dropped because they were there already.
    """

    rows: int = 0
    sources: int = 0
    validation: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)
    leaks: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)


class Gathering:
    """Groups the rows of a spool and divides them; `gather` first, then `write`.

    Rows are distributed over files by a hash of their sources, so that all rows of a source are in one; what is left
    for training is distributed again, by the place in the corpus: groups stand in the order of their first rows.

    Args:
        spooled: the rows.
        scratch: an empty folder on a disk with room for the rows, twice.
        drop_duplicates: keep one of several rows with the same source, target and language.
        rows_in_memory: about as many rows are held in memory.
    """

    def __init__(
        self, spooled: Spooled, *, scratch: Path, drop_duplicates: bool, rows_in_memory: int = ROWS_IN_MEMORY
    ) -> None:
        self._spooled, self._scratch, self._drop_duplicates = spooled, scratch, drop_duplicates
        self._parts = -(-spooled.count // rows_in_memory)
        self._buckets = [spooled.path]
        if self._parts > 1:
            paths = [scratch / f"bucket-{at}.arrow" for at in range(self._parts)]
            tables = read_tables(spooled.path)
            self._buckets = distribute(
                tables, paths, schema=SCHEMA, where=lambda rows: _column(rows, "hash") % self._parts
            )
            spooled.path.unlink()
        # Where there is one bucket it is grouped once.
        self._grouped: Callable[[Path], Grouped] = functools.lru_cache(1)(self._read)
        self._rows_by_bin = np.zeros(BINS, dtype=np.int64)
        self._ranges: list[Path] = []
        self._only: pa.Table | None = None
        self.result = Gathered()

    def _read(self, bucket: Path) -> Grouped:
        return group(read_table(bucket), drop_duplicates=self._drop_duplicates)

    def gather(self, division: Division) -> Gathered:
        """Divide the rows.

        Raises:
            ConfigError: there are too few sources to hold out so many.
        """
        choice = HeldOutChoice(validation=division.validation, test=division.test, seed=division.seed)
        for bucket in self._buckets:
            # On disk: with the sources of all buckets they would be many.
            np.save(_digest_path(bucket), self._look(bucket, choice, division=division))
        sides = choice.sides() if division.splits else {}
        held_out: list[tuple[int, int, Row]] = []
        divided = self._divide(sides, division=division, choice=choice, held_out=held_out)
        if self._parts == 1:
            (self._only,) = divided
        else:
            edges = np.cumsum(self._rows_by_bin) * self._parts // max(1, self._rows_by_bin.sum())
            range_of_bin = np.minimum(edges, self._parts - 1)
            paths = [self._scratch / f"range-{at}.arrow" for at in range(self._parts)]
            self._ranges = distribute(
                divided, paths, schema=PLACED, where=lambda rows: range_of_bin[self._bins(_column(rows, "first"))]
            )
        held_out.sort(key=lambda found: found[0])
        self.result.validation += [row for _, side, row in held_out if side == VALIDATION]
        self.result.test += [row for _, side, row in held_out if side == TEST]
        return self.result

    def _bins(self, first_N: np.ndarray) -> np.ndarray:
        bins_N: np.ndarray = first_N * BINS // self._spooled.count
        return bins_N

    def _look(self, bucket: Path, choice: HeldOutChoice, *, division: Division) -> np.ndarray:
        """Count a bucket, and show its sources to the choice; returns 8 bytes of the digest of each."""
        grouped = self._grouped(bucket)
        for language, count in grouped.duplicates.items():
            self.result.duplicates[self._spooled.languages[language]] += count
        self._rows_by_bin += np.bincount(self._bins(grouped.first_N), minlength=BINS)
        if not division.splits and not division.forbidden:
            return np.zeros(0, dtype=np.int64)
        digests = []
        for source in grouped.sources.to_pylist():
            normalized = normalized_source(source)
            digests.append(choice.digest(normalized))
            if division.splits and _is_long(source, division):
                choice.see(normalized, digests[-1])
        return _short(digests)

    def _divide(
        self,
        sides: dict[str, int],
        *,
        division: Division,
        choice: HeldOutChoice,
        held_out: list[tuple[int, int, Row]],
    ) -> Iterator[pa.Table]:
        """The rows for training of each bucket, with the places of their groups; the others go to `held_out`."""
        forbidden = division.forbidden | sides.keys() if division.drop_leaks else frozenset[str]()
        wanted = np.unique(_short([choice.digest(text) for text in {*forbidden, *sides}]))
        for bucket in self._buckets:
            grouped = self._grouped(bucket)
            digest_G = np.load(_digest_path(bucket), allow_pickle=False)
            side_G = np.full(len(grouped.sources), TRAIN)
            for at in np.flatnonzero(np.isin(digest_G, wanted)).tolist():
                source = grouped.sources[at].as_py()
                normalized = normalized_source(source)
                if normalized in sides and _is_long(source, division):
                    side_G[at] = sides[normalized]
                elif normalized in forbidden:
                    side_G[at] = LEAK
            side_N = side_G[grouped.group_N]
            self.result.leaks += int((side_N == LEAK).sum())
            for side in (VALIDATION, TEST):
                found = grouped.rows.take(pa.array(np.flatnonzero(side_N == side))).to_pylist()
                held_out += [(values["row"], side, self._spooled.row(values)) for values in found]
            rows = grouped.rows.append_column("first", pa.array(grouped.first_N))
            kept = np.flatnonzero(side_N == TRAIN)
            self.result.rows += len(kept)
            self.result.sources += int((side_G == TRAIN).sum())
            yield rows if len(kept) == len(side_N) else rows.take(pa.array(kept))

    def write(self, folder: Path, *, max_sources: int | None = None) -> str:
        """Write what is left for training; returns its name, as `CorpusWriter.close` does.

        Args:
            folder: an empty folder.
            max_sources: keep at most so many sources, spread evenly over all.
        """
        total = self.result.sources
        count = total if max_sources is None else min(total, max_sources)
        writer = CorpusWriter(folder, sources=count, languages=self._spooled.languages, paths=self._spooled.files)
        seen = 0
        for rows in [self._only] if self._only is not None else map(read_table, self._ranges):
            if not rows.num_rows:
                continue
            rows = rows.take(pa.array(np.lexsort((_column(rows, "row"), _column(rows, "first")))))
            starts_group_N = np.diff(_column(rows, "first"), prepend=-1) != 0
            group_N = np.cumsum(starts_group_N) - 1
            kept_G = spread(seen + np.arange(group_N[-1] + 1), total=total, count=count)
            seen += len(kept_G)
            if not kept_G.all():
                kept_N = np.flatnonzero(kept_G[group_N])
                rows = rows.take(pa.array(kept_N))
                group_N = (np.cumsum(kept_G) - 1)[group_N[kept_N]]
                starts_group_N = starts_group_N[kept_N]
            rows = rows.combine_chunks()
            if rows.num_rows:
                writer.add(rows["source"].chunk(0).filter(pa.array(starts_group_N)), group_N, rows)
        return writer.close()


def make_corpus(rows: Iterable[Row], *, rows_in_memory: int = ROWS_IN_MEMORY) -> Corpus:
    """Group rows, which may be in any order, by source sentence, in a temporary folder that ends with the corpus."""
    owner: TemporaryDirectory[str] = TemporaryDirectory(prefix="mlembed-")
    scratch, folder = Path(owner.name) / "scratch", Path(owner.name) / "corpus"
    scratch.mkdir()
    folder.mkdir()
    spool = RowSpool(scratch / "rows.arrow")
    for row in rows:
        spool.add(row.source, row.target, row.language, row.path, row.line)
    gathering = Gathering(spool.close(), scratch=scratch, drop_duplicates=False, rows_in_memory=rows_in_memory)
    gathering.gather(Division())
    gathering.write(folder)
    return Corpus(folder, owner=owner)


def store_corpus(gathering: Gathering, *, scratch: Path, corpora: Path, max_sources: int | None) -> Corpus:
    """Write what a gathering is left with to its place among the corpora, unless it is there.

    Args:
        gathering: it has gathered.
        scratch: a folder on the same disk.
        corpora: the folder of all corpora.
        max_sources: see `Gathering.write`.
    """
    built = scratch / "corpus"
    built.mkdir()
    target = corpora / gathering.write(built, max_sources=max_sources)
    publish(built, target)
    # What Arrow keeps for the next table: there is none for the rest of the run.
    pa.default_memory_pool().release_unused()
    return Corpus(target)


def _column(rows: pa.Table, name: str) -> np.ndarray:
    column: np.ndarray = rows[name].to_numpy()
    return column


def _digest_path(bucket: Path) -> Path:
    return bucket.with_suffix(".npy")


def _is_long(source: str, division: Division) -> bool:
    return not division.min_words or len(source.split()) >= division.min_words


def _short(digests: list[bytes]) -> np.ndarray:
    """The first 8 of each 16 bytes, as integers."""
    return np.frombuffer(b"".join(digests), dtype=np.int64)[::2]
