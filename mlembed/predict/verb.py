"""`mlembed predict`: what a model with a head says of each row, in order, as a stream."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import ConfigError, DataError
from mlembed.staging import ending_at_once, staged

if TYPE_CHECKING:
    from mlembed.label_starts import AnsweringModel
    from mlembed.predict.answers import Predictor
    from mlembed.predict.rows import Row

# Rows that are in memory at once.
CHUNK_ROWS = 4096
OUTPUTS = (".jsonl", ".tsv", ".jsonl.gz", ".tsv.gz")
THRESHOLD = 0.5
DESCRIPTION = """\
Say what a model with a head answers to each row; the order is kept. The head decides what is read: a text (column
text), a pair of texts (where there is a column text_b too; or sentence1 and sentence2), or for tagging words (column
tokens, or those of a text). Of each row JSONL has prediction, probabilities and all columns of the input; prediction is
a label, a list of labels, a number, or for tagging a list of {type, start, end, text, score}: start and end count
characters of the text, or of the tokens with single spaces between them, whose numbers are first and last. A column of
the input with one of these names is called input_prediction. A score is the sigmoid of the model's number, between 0
and 1; where config.json says regression it is the number itself. A sentence encoder compares pairs: its answer is the
cosine of their vectors, or a label where it has learnt labels of pairs.
TSV has prediction (labels with | between them; entities as type:start-end), probability, and the columns; in all cells
tabs and line ends are replaced by spaces.
"""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `predict`.

    Raises:
        MlembedError: with a message for the user and an exit code; the output is whole, or it is not there.
    """
    options = _parse(words)
    ending = _ending(options)
    with ending_at_once():
        from mlembed.data.texts import read_records
        from mlembed.evaluate import resolve_model
        from mlembed.label_starts import load_any_answering
        from mlembed.models.bi_encoder_folder import compares_texts
        from mlembed.models.classifier_folder import head_of
        from mlembed.predict.rows import Columns, read_rows

        skipped: Counter[str] = Counter()
        bad: list[str] = []
        folder = resolve_model(options.model, key="model")
        of = "vectors" if compares_texts(folder) else head_of(folder, key="model")
        columns = Columns(of=of, first=options.column, second=options.column_b)
        column = options.column or options.column_b
        records = read_records(options.input, column=column, on_skip=lambda why, n: skipped.update({why: n}))
        on_bad = _remember(bad, skipped) if options.on_error == "skip" else None
        rows = read_rows(records, columns, on_bad=on_bad)
        # Read before the model is loaded: a wrong column shows at once.
        first = next(rows, None)
        if first is None:
            name = "/dev/stdin" if options.input == "-" else options.input
            raise DataError(bad[0] if bad else f"{name}:1: there is nothing to predict")
        if of == "vectors" and first.second is None:
            raise ConfigError(
                f"model: {folder} has no head for single texts, it compares two: give a file with the columns text and "
                "text_b (or sentence1 and sentence2; --column, --column-b). mlembed embed gives the vectors of texts"
            )
        predictor = _predictor(load_any_answering(folder, key="model"), options)
        count = _predict(chain([first], rows), predictor, options.output, ending=ending)
    _tell(predictor, count=count, output=options.output, skipped=skipped, bad=bad)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mlembed predict", description=DESCRIPTION)
    parser.add_argument("model", help="run directory, checkpoint, or model folder, also one of transformers")
    parser.add_argument(
        "--input", required=True, help="a text a line; or a TSV, CSV, JSONL or Parquet file; .gz too; - for stdin"
    )
    parser.add_argument("--output", required=True, help="a .jsonl or .tsv file; .gz too; - for stdout, as JSONL")
    parser.add_argument("--column", help="column of the text (default: text); with it, stdin is read as JSONL")
    parser.add_argument(
        "--column-b", help="column of the second text of a pair (default: text_b, where there is one; '' for none)"
    )
    parser.add_argument("--top", type=int, metavar="K", help="give the K highest probabilities alone (default: all)")
    parser.add_argument(
        "--threshold", type=float, help=f"least probability of a label, where there are several (default: {THRESHOLD})"
    )
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad row: end, or write no row for it"
    )
    parser.add_argument("--batch-tokens", type=int, default=16384, help="padded tokens in one forward (default: 16384)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args(words)


def _ending(options: argparse.Namespace) -> str:
    """The ending of the output, which says its format; looks over what does not need a model."""
    if options.top is not None and options.top < 1:
        raise ConfigError(f"--top {options.top}: give a number of labels from 1")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise ConfigError(f"--threshold {options.threshold}: a probability is between 0 and 1")
    if options.batch_tokens < 1:
        raise ConfigError(f"--batch-tokens {options.batch_tokens}: give a number of tokens from 1")
    if options.output == "-":
        return OUTPUTS[0]
    output = Path(options.output)
    ending = next((one for one in OUTPUTS if output.name.endswith(one)), None)
    if ending is None:
        raise ConfigError(f"--output {output}: the ending says the format; use one of {', '.join(OUTPUTS)}, or -")
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")
    if output.is_dir():
        raise ConfigError(f"--output {output}: this is a folder; give the name of a file")
    return ending


def _remember(bad: list[str], skipped: Counter[str]) -> Callable[[str], None]:
    """Count rows that are skipped, and keep the first one for a message."""

    def on_bad(problem: str) -> None:
        skipped["bad_row"] += 1
        if not bad:
            bad.append(problem)

    return on_bad


def _predictor(model: AnsweringModel, options: argparse.Namespace) -> Predictor:
    from mlembed.machine import make_machine
    from mlembed.predict.answers import Predictor
    from mlembed.signals import StopRequest

    head = model.head
    if options.threshold is not None and head.problem != "many":
        raise ConfigError("--threshold is for models that give a text any number of labels, which this one does not")
    if options.top is not None and (head.of == "words" or head.problem == "score"):
        raise ConfigError("--top is for models that give a text labels, which this one does not")
    machine = make_machine(
        device=options.device,
        precision=options.precision,
        processes=None,
        stop=StopRequest(),
        progress="none",
        batch_tokens=options.batch_tokens,
    )
    threshold = THRESHOLD if options.threshold is None else options.threshold
    return Predictor(model.to(machine.compute.device), machine=machine, top=options.top, threshold=threshold)


def _predict(rows: Iterator[Row], predictor: Predictor, output: str, *, ending: str) -> int:
    """Write what is said of all rows; returns their number."""
    from mlembed.export.predictions import predictions_writer

    count = 0
    place = contextlib.nullcontext() if output == "-" else staged(Path(output))
    with place as staging, predictions_writer(staging, ending=ending) as write:
        while chunk := list(islice(rows, CHUNK_ROWS)):
            write(predictor.predict(chunk))
            count += len(chunk)
            if sys.stderr.isatty() and output != "-":
                print(f"\r{count} rows", end="\r", file=sys.stderr, flush=True)
    return count


def _tell(predictor: Predictor, *, count: int, output: str, skipped: Counter[str], bad: Sequence[str]) -> None:
    ignored = "".join(f"; {number} x {why.replace('_', ' ')} skipped" for why, number in skipped.items())
    first_bad = f" (the first: {bad[0]})" if bad else ""
    print(f"{count} rows -> {'stdout' if output == '-' else output}{ignored}{first_bad}", file=sys.stderr)
    if predictor.cut:
        limit = predictor.model.max_length
        print(f"{predictor.cut} of {count} texts are longer than {limit} tokens and were cut", file=sys.stderr)
    if predictor.says_regression:
        print("config.json says regression: a prediction is the model's number, not between 0 and 1", file=sys.stderr)
