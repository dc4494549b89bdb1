"""`mlembed embed`: turn text into vectors, in order, as a stream."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlembed.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

# Texts that are in memory at once.
CHUNK_TEXTS = 8192
TABLES = {".tsv": "\t", ".csv": ","}
OUTPUTS = (".npy", ".parquet", ".jsonl")


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    options = _parse(words)
    output = Path(options.output)
    if output.suffix not in OUTPUTS:
        raise ConfigError(f"--output {output}: the ending says the format; use one of {', '.join(OUTPUTS)}")
    from mlembed.evaluate import resolve_model
    from mlembed.machine import make_machine
    from mlembed.models.encoder import load_encoder
    from mlembed.signals import StopRequest

    folder = resolve_model(options.model, key="model")
    with StopRequest() as stop, _texts(options.input, column=options.column) as texts:
        machine = make_machine(
            device=options.device,
            precision=options.precision,
            processes=None,
            stop=stop,
            progress="none",
            batch_tokens=options.batch_tokens,
        )
        encoder = load_encoder(folder, key="model").to(machine.compute.device)
        count = 0
        staging = output.with_name(f".{output.name}.part")
        try:
            with _writer(staging, kind=output.suffix, width=encoder.width) as write:
                while chunk := list(islice(texts, CHUNK_TEXTS)):
                    write(chunk, machine.encode(encoder, chunk))
                    count += len(chunk)
                    print(f"\r{count} texts", end="", file=sys.stderr, flush=True)
            staging.replace(output)
        finally:
            staging.unlink(missing_ok=True)
    print(f"\r{count} texts -> {output} ({encoder.width} dimensions)", file=sys.stderr)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mlembed embed", description="Turn text into vectors; the order is kept.")
    parser.add_argument("model", help="run directory, checkpoint, or model folder")
    parser.add_argument(
        "--input", required=True, help="a text a line, or a TSV, CSV or JSONL file (.gz too); - for stdin"
    )
    parser.add_argument("--output", required=True, help="a .npy, .parquet or .jsonl file")
    parser.add_argument("--column", help="column of a TSV, CSV or JSONL file (default: text)")
    parser.add_argument("--batch-tokens", type=int, default=16384, help="padded tokens in one forward (default: 16384)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args(words)


@contextmanager
def _texts(name: str, *, column: str | None) -> Iterator[Iterator[str]]:
    """The texts of a file or of standard input, one after another."""
    if name == "-":
        stream = open(sys.stdin.fileno(), encoding="utf-8", newline="\n", closefd=False)  # noqa: SIM115
        suffix = ".jsonl" if column else ".txt"
    else:
        path = Path(name)
        if not path.is_file():
            raise DataError(f"--input: there is no file {path}")
        opener: Callable[..., IO[str]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
        stream = opener(path, "rt", encoding="utf-8", newline="\n")
        suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    with stream:
        try:
            yield _extract(stream, name=name, suffix=suffix, column=column or "text")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: not UTF-8: {error.reason}") from error


def _extract(stream: IO[str], *, name: str, suffix: str, column: str) -> Iterator[str]:
    if suffix == ".jsonl":
        for line, text in enumerate(stream, start=1):
            try:
                yield str(json.loads(text)[column])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{name}:{line}: no text in the field {column!r} ({error}); give --column NAME"
                ) from error
    elif suffix in TABLES:
        yield from _cells(stream, name=name, delimiter=TABLES[suffix], column=column)
    else:
        yield from (line.rstrip("\r\n") for line in stream)


def _cells(stream: IO[str], *, name: str, delimiter: str, column: str) -> Iterator[str]:
    rows: Iterator[list[str]]
    if delimiter == "\t":
        rows = (line.rstrip("\r\n").split("\t") for line in stream)
    else:
        rows = csv.reader(stream)
    header = next(rows, [])
    if column not in header:
        raise DataError(f"{name}:1: no column {column!r} among {', '.join(header)}; give --column NAME")
    at = header.index(column)
    for line, cells in enumerate(rows, start=2):
        if len(cells) != len(header):
            raise DataError(f"{name}:{line}: {len(cells)} cells, but the header has {len(header)}")
        yield cells[at]


Write = Callable[[list[str], "np.ndarray"], None]


@contextmanager
def _writer(path: Path, *, kind: str, width: int) -> Iterator[Write]:
    if kind == ".npy":
        yield from _npy_writer(path, width)
    elif kind == ".parquet":
        yield from _parquet_writer(path, width)
    else:
        with path.open("w", encoding="utf-8") as file:

            def write(texts: list[str], vectors_ND: Any) -> None:
                for text, vector_D in zip(texts, vectors_ND.tolist(), strict=True):
                    file.write(json.dumps({"text": text, "vector": vector_D}, ensure_ascii=False) + "\n")

            yield write


def _npy_writer(path: Path, width: int) -> Iterator[Write]:
    """The number of rows stands in the header of a .npy file: it is written again at the end."""
    from numpy.lib.format import write_array_header_1_0

    count = 0

    def header(rows: int) -> dict[str, Any]:
        return {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}

    with path.open("wb") as file:
        # A header is padded to 64 bytes, and numpy leaves room in it for the number of rows to grow.
        write_array_header_1_0(file, header(0))
        start = file.tell()

        def write(texts: list[str], vectors_ND: Any) -> None:
            nonlocal count
            file.write(vectors_ND.astype("<f4").tobytes())
            count += len(texts)

        yield write
        file.seek(0)
        write_array_header_1_0(file, header(count))
        assert file.tell() == start


def _parquet_writer(path: Path, width: int) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string()), ("vector", pa.list_(pa.float32(), width))])
    with pq.ParquetWriter(path, schema) as writer:

        def write(texts: list[str], vectors_ND: Any) -> None:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_ND.reshape(-1)), width)
            writer.write_table(pa.Table.from_arrays([pa.array(texts, pa.string()), vectors], schema=schema))

        yield write
