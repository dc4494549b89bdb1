"""Writes vectors as a stream: .npy, Parquet or JSONL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Write = Callable[[Sequence[str], np.ndarray], None]


@contextmanager
def npy_writer(path: Path, *, width: int) -> Iterator[Write]:
    """Write the vectors alone, `[N, width]` float32; `numpy.load(path, mmap_mode="r")` reads them."""
    from numpy.lib.format import write_array_header_1_0

    count = 0

    def header(rows: int) -> dict[str, Any]:
        return {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}

    with path.open("wb") as file:
        write_array_header_1_0(file, header(0))
        start = file.tell()

        def write(texts: Sequence[str], vectors_ND: np.ndarray) -> None:
            nonlocal count
            file.write(vectors_ND.astype("<f4").tobytes())
            count += len(texts)

        yield write
        # The number of rows is known only now; numpy leaves room for it to grow.
        file.seek(0)
        write_array_header_1_0(file, header(count))
        assert file.tell() == start


@contextmanager
def parquet_writer(path: Path, *, width: int) -> Iterator[Write]:
    """Write the columns `text` and `vector` (a list of `width` float32)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string()), ("vector", pa.list_(pa.float32(), width))])
    with pq.ParquetWriter(path, schema) as writer:

        def write(texts: Sequence[str], vectors_ND: np.ndarray) -> None:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_ND.reshape(-1)), width)
            writer.write_table(pa.Table.from_arrays([pa.array(texts, pa.string()), vectors], schema=schema))

        yield write


@contextmanager
def jsonl_writer(path: Path, *, width: int) -> Iterator[Write]:
    """Write one object a line, with the fields `text` and `vector` (a list of `width` numbers)."""
    with path.open("w", encoding="utf-8") as file:

        def write(texts: Sequence[str], vectors_ND: np.ndarray) -> None:
            for text, vector_D in zip(texts, vectors_ND.tolist(), strict=True):
                file.write(json.dumps({"text": text, "vector": vector_D}, ensure_ascii=False) + "\n")

        yield write


# Ending of the file -> writer; a new format is a function above and a line here.
WRITERS: dict[str, Callable[..., AbstractContextManager[Write]]] = {
    ".npy": npy_writer,
    ".parquet": parquet_writer,
    ".jsonl": jsonl_writer,
}
