"""`mlembed embed`: turn text into vectors, in order, as a stream."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from mlembed.errors import ConfigError, DataError, MlembedError
from mlembed.staging import ending_at_once, staged

# Texts that are in memory at once.
CHUNK_TEXTS = 8192
OUTPUTS = (".npy", ".parquet", ".jsonl")


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `embed`.

    Raises:
        MlembedError: with a message for the user and an exit code; the output is whole, or it is not there.
    """
    options = _parse(words)
    output = _checked_output(Path(options.output))
    with ending_at_once():
        from mlembed.data.texts import read_texts

        skipped: Counter[str] = Counter()
        name = "/dev/stdin" if options.input == "-" else options.input
        texts = read_texts(options.input, column=options.column, on_skip=lambda why, n: skipped.update({why: n}))
        # Read before the model is loaded: a wrong column shows at once.
        first = next(texts, None)
        if first is None:
            raise DataError(f"{name}:1: there is no text to embed")
        count, width = _embed(chain([first], texts), output, options)
    ignored = "".join(f"; {number} x {why.replace('_', ' ')} skipped" for why, number in skipped.items())
    print(f"{count} texts -> {output} ({width} dimensions){ignored}", file=sys.stderr)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mlembed embed", description="Turn text into vectors; the order is kept.")
    parser.add_argument("model", help="run directory, checkpoint, or model folder")
    parser.add_argument(
        "--input", required=True, help="a text a line; or a TSV, CSV, JSONL or Parquet file; .gz too; - for stdin"
    )
    parser.add_argument("--output", required=True, help="a .npy, .parquet or .jsonl file")
    parser.add_argument(
        "--column", help="column of a file that has columns (default: text); with it, stdin is read as JSONL"
    )
    parser.add_argument("--batch-tokens", type=int, default=16384, help="padded tokens in one forward (default: 16384)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args(words)


def _checked_output(output: Path) -> Path:
    if output.suffix not in OUTPUTS:
        raise ConfigError(f"--output {output}: the ending says the format; use one of {', '.join(OUTPUTS)}")
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")
    if output.is_dir():
        raise ConfigError(f"--output {output}: this is a folder; give the name of a file")
    return output


def _embed(texts: Iterator[str], output: Path, options: argparse.Namespace) -> tuple[int, int]:
    """Write the vectors of all texts; returns the number of texts and of dimensions."""
    import numpy as np

    from mlembed.evaluate import resolve_model
    from mlembed.export.vectors import WRITERS
    from mlembed.machine import make_machine
    from mlembed.models.encoder import load_encoder
    from mlembed.signals import StopRequest

    folder = resolve_model(options.model, key="model")
    machine = make_machine(
        device=options.device,
        precision=options.precision,
        processes=None,
        stop=StopRequest(),
        progress="none",
        batch_tokens=options.batch_tokens,
    )
    encoder = load_encoder(folder, key="model").to(machine.compute.device)
    count = 0
    with staged(output) as staging, WRITERS[output.suffix](staging, width=encoder.width) as write:
        while chunk := list(islice(texts, CHUNK_TEXTS)):
            vectors_ND = machine.encode(encoder, chunk)
            bad = np.flatnonzero(~np.isfinite(vectors_ND).all(axis=1))
            if len(bad):
                raise MlembedError(f"the vector of text {count + int(bad[0]) + 1} is not finite; check the model")
            write(chunk, vectors_ND)
            count += len(chunk)
            if sys.stderr.isatty():
                print(f"\r{count} texts", end="\r", file=sys.stderr, flush=True)
    return count, encoder.width
