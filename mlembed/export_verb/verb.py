"""`mlembed export`: a model as a folder for other tools, tried with the tool that it is for before it is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mlembed.errors import ConfigError
from mlembed.files import disk_errors
from mlembed.run.directory import run_of
from mlembed.staging import ending_at_once, staged

FORMATS = ("sentence-transformers", "transformers", "onnx", "onnx-int8", "static")


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `export`.

    Raises:
        MlembedError: with a message for the user and an exit code; the output is whole, or it is not there.
    """
    options = _parse(words)
    output = _checked_output(Path(options.output))
    _check_options(options)
    with ending_at_once():
        from mlembed.export_verb.work import Wanted, export, prepare

        wanted = Wanted(
            model=options.model,
            to=options.to,
            prune=options.prune_vocabulary,
            keep_tokens=options.keep_tokens or 0,
            texts=options.texts,
            column=options.column,
            width=options.width,
        )
        prepared = prepare(wanted)
        with staged(output) as staging, disk_errors():
            staging.mkdir()
            said = export(prepared, staging)
    print(f"{said} -> {options.output}", file=sys.stderr)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlembed export",
        description="Write a model as a folder for other tools, and try it with the tool that it is for.",
    )
    parser.add_argument("model", help="run directory (its best student), checkpoint, or model folder")
    parser.add_argument("--output", required=True, help="a folder that is not there yet, or is empty")
    parser.add_argument(
        "--to",
        choices=FORMATS,
        help="sentence-transformers (default of an encoder); transformers (default of a model with a head; for an "
        "encoder the card writes out the pooling); onnx: one graph for onnxruntime; onnx-int8: a quarter of its size; "
        "static: a table of token vectors without layers, many times as fast",
    )
    parser.add_argument("--width", type=int, metavar="N", help="dimensions of --to static (default: 256)")
    parser.add_argument(
        "--prune-vocabulary",
        action="store_true",
        help="keep only the tokens of the run's data (training, validation and test), or of --texts; text that needs "
        "no others has the same vectors",
    )
    parser.add_argument("--keep-tokens", type=int, metavar="N", help="when pruning, keep N more tokens (default: 0)")
    parser.add_argument(
        "--texts",
        nargs="+",
        metavar="FILE",
        help="when pruning, the texts to keep the tokens of, and for --to static those that tell how frequent tokens "
        "are, instead of the run's data: a text a line; or TSV, CSV, JSONL, Parquet; .gz too; - for stdin",
    )
    parser.add_argument("--column", help="column of --texts that have columns (default: text)")
    return parser.parse_args(words)


def _checked_output(output: Path) -> Path:
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output {output}: this is a file; give the name of a new folder")
    if output.is_dir() and any(output.iterdir()):
        raise ConfigError(f"--output {output}: this folder is not empty; give the name of a new one")
    if output.resolve() == Path.cwd():
        # The folder is put in its place when it is whole: who is in the old one would see nothing.
        raise ConfigError(f"--output {output}: this is the folder that you are in; give the name of a new one")
    return output.resolve()


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect, and numbers that make no sense."""
    is_static = options.to == "static"
    if options.keep_tokens is not None and not options.prune_vocabulary:
        raise ConfigError("--keep-tokens is for pruning; add --prune-vocabulary, or leave it out")
    if options.texts is not None and not (options.prune_vocabulary or is_static):
        raise ConfigError("--texts is for pruning and for --to static; add one of them, or leave it out")
    if options.column is not None and options.texts is None:
        raise ConfigError("--column is for --texts; give these files too, or leave it out")
    if options.keep_tokens is not None and options.keep_tokens < 0:
        raise ConfigError(f"--keep-tokens {options.keep_tokens}: a number of tokens is expected, 0 or more")
    if options.width is not None and not is_static:
        raise ConfigError("--width is for --to static; add that, or leave it out")
    if options.prune_vocabulary and options.texts is None and run_of(Path(options.model)) is None:
        raise ConfigError(
            f"--prune-vocabulary: {options.model} is no run, nor a checkpoint of one, whose data would tell which "
            "tokens are needed; give --texts FILE"
        )
    if options.width is not None and options.width < 1:
        raise ConfigError(f"--width {options.width}: a number of dimensions is expected, 1 or more")
