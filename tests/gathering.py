"""Rows of a test through the same disk as those of a run: grouped, divided and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mlembed.data.corpus import Corpus
from mlembed.data.gather import Division, Gathered, Gathering
from mlembed.data.records import Row
from mlembed.data.split import normalized_source
from mlembed.data.spool import RowSpool


def gather(
    rows: Sequence[Row],
    division: Division = Division(),  # noqa: B008 - it is frozen
    *,
    drop_duplicates: bool = False,
    rows_in_memory: int = 1000,
    max_sources: int | None = None,
) -> tuple[Corpus, Gathered]:
    """A corpus, and what became of the rows."""
    owner = TemporaryDirectory(prefix="mlembed-test-")
    scratch, folder = Path(owner.name) / "scratch", Path(owner.name) / "corpus"
    scratch.mkdir()
    folder.mkdir()
    spool = RowSpool(scratch / "rows.arrow")
    for row in rows:
        spool.add(row.source, row.target, row.language, row.path, row.line)
    gathering = Gathering(
        spool.close(), scratch=scratch, drop_duplicates=drop_duplicates, rows_in_memory=rows_in_memory
    )
    gathered = gathering.gather(division)
    gathering.write(folder, max_sources=max_sources)
    return Corpus(folder, owner=owner), gathered


def split_by_source(
    rows: Sequence[Row], *, validation: int, test: int, seed: int
) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows for training, validation and test."""
    corpus, gathered = gather(rows, Division(validation=validation, test=test, seed=seed))
    return list(corpus.rows()), gathered.validation, gathered.test


def drop_leaks(train: Sequence[Row], held_out: Sequence[Row]) -> tuple[list[Row], int]:
    """Rows whose source is not held out, and the number of the others."""
    forbidden = frozenset(normalized_source(row.source) for row in held_out)
    corpus, gathered = gather(train, Division(drop_leaks=True, forbidden=forbidden))
    return list(corpus.rows()), gathered.leaks
