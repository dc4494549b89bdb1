"""`mlembed export`: a model as a folder for other tools, with its whole vocabulary or with what is needed of it."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import ConfigError, DataError, MlembedError
from mlembed.files import disk_errors
from mlembed.staging import ending_at_once, staged

if TYPE_CHECKING:
    import numpy as np

    from mlembed.models.text_model import TextModel

# Texts that are tokenized at once, and those that old and new model are compared on.
CHUNK_TEXTS = 8192
COMPARED_TEXTS = 2000
LARGEST_DIFFERENCE = 1e-6
# More tokens than a text has: the tokens of whole texts are kept, also where the model would cut them.
UNCUT = 1 << 30
CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- feature-extraction
---

# A sentence encoder

Exported with mlembed.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/of/this/folder")
vectors = model.encode(["a sentence"])
```
"""
PRUNED = """
## Vocabulary

Pruned by `mlembed export` from {before} to {after} tokens. A text whose tokens are all among them has the vector that
it had before; other text is cut into smaller pieces, or has unknown ones.
"""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `export`.

    Raises:
        MlembedError: with a message for the user and an exit code; the output is whole, or it is not there.
    """
    options = _parse(words)
    output = _checked_output(Path(options.output))
    run = _run_of(Path(options.model))
    _check_pruning(options, run=run)
    with ending_at_once():
        texts = _seen_texts(options, run=run) if options.prune_vocabulary else iter(())

        from mlembed.evaluate import resolve_model

        folder = resolve_model(options.model, key="model")
        encoder = _load(folder, key="model")
        if not encoder.tokenizer.is_fast:
            raise ConfigError(
                f"model: the tokenizer in {folder} ({type(encoder.tokenizer).__name__}) has no tokenizer.json, so that "
                "the model could not be loaded elsewhere; choose one with a fast tokenizer"
            )
        if options.prune_vocabulary:
            said = _export_pruned(encoder, texts, output, folder=folder, keep_tokens=options.keep_tokens or 0)
        else:
            with staged(output) as staging:
                _write(encoder, staging, card=_card(folder))
                said = f"{len(encoder.tokenizer)} tokens, {_megabytes(staging):.1f} MB"
    print(f"{said} -> {options.output}", file=sys.stderr)
    return 0


def _load(folder: Path, *, key: str) -> TextModel:
    """A model with its head, where it has one."""
    from mlembed.models.classifier_folder import has_head, load_any_classifier
    from mlembed.models.encoder import load_encoder

    return load_any_classifier(folder, key=key) if has_head(folder) else load_encoder(folder, key=key)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlembed export", description="Write a model as a folder for sentence-transformers and transformers."
    )
    parser.add_argument("model", help="run directory (its best student), checkpoint, or model folder")
    parser.add_argument("--output", required=True, help="a folder that is not there yet, or is empty")
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
        help="when pruning, the texts to keep the tokens of, instead of the run's data: a text a line; or TSV, CSV, "
        "JSONL, Parquet; .gz too; - for stdin",
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


def _run_of(target: Path) -> Path | None:
    """The run that a target is, or is the student or a checkpoint of."""
    from mlembed.run.directory import CHECKPOINTS, COMMAND, CONFIG, STUDENT

    target = target.expanduser().resolve()
    run = target
    if target.name == STUDENT:
        run = target.parent
    elif target.parent.name == CHECKPOINTS:
        run = target.parent.parent
    return run if (run / CONFIG).is_file() and (run / COMMAND).is_file() else None


def _check_pruning(options: argparse.Namespace, *, run: Path | None) -> None:
    given = {"--keep-tokens": options.keep_tokens, "--texts": options.texts, "--column": options.column}
    needless = [name for name, value in given.items() if value is not None]
    if needless and not options.prune_vocabulary:
        raise ConfigError(f"{needless[0]} is for pruning; add --prune-vocabulary, or leave it out")
    if options.column is not None and options.texts is None:
        raise ConfigError("--column is for --texts; give these files too, or leave it out")
    if options.keep_tokens is not None and options.keep_tokens < 0:
        raise ConfigError(f"--keep-tokens {options.keep_tokens}: a number of tokens is expected, 0 or more")
    if options.prune_vocabulary and run is None and options.texts is None:
        raise ConfigError(
            f"--prune-vocabulary: {options.model} is no run, nor a checkpoint of one, whose data would tell which "
            "tokens are needed; give --texts FILE"
        )


def _seen_texts(options: argparse.Namespace, *, run: Path | None) -> Iterator[str]:
    """The texts whose tokens are kept; what cannot be read shows before the model is loaded."""
    if options.texts is None:
        assert run is not None
        return _texts_of_run(run)
    from mlembed.data.texts import read_texts

    skipped: Counter[str] = Counter()
    files = [
        read_texts(name, column=options.column, on_skip=lambda why, n: skipped.update({why: n}))
        for name in options.texts
    ]
    texts = chain.from_iterable(files)
    first = next(texts, None)
    if first is None:
        raise DataError(f"{options.texts[0]}:1: there is no text whose tokens could be kept")
    return chain([first], texts)


def _texts_of_run(run: Path) -> Iterator[str]:
    from mlembed.config import TrainConfig
    from mlembed.config_door import validate
    from mlembed.prepare import load_splits
    from mlembed.prepare_labels import texts_of
    from mlembed.run.start import read_stored_config

    config = validate(read_stored_config(run), TrainConfig)
    try:
        if config.task.kind != "embedding":
            return texts_of(config)
        splits = load_splits(config.data, seed=config.seed)
    except (ConfigError, DataError) as error:
        raise type(error)(
            f"{error}\nThe data of the run {run} cannot be read again; give --texts FILE with the texts to keep the "
            "tokens of (relative paths start where the run was started)"
        ) from error
    texts: dict[str, None] = {}
    for rows in (splits.validation.rows, splits.test.rows):
        texts.update(dict.fromkeys(text for row in rows for text in (row.source, row.target)))
    for held_out in (splits.validation, splits.test):
        pairs = chain.from_iterable(held_out.scored.pairs.values()) if held_out.scored else ()
        texts.update(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    return chain(splits.train.texts, texts)


def _export_pruned(encoder: TextModel, texts: Iterator[str], output: Path, *, folder: Path, keep_tokens: int) -> str:
    """Prune, write, and compare what was written with what was there; returns what to say about it."""
    import numpy as np
    import torch

    from mlembed.compute import Compute
    from mlembed.models.encode import encode
    from mlembed.models.pruning import prune_vocabulary

    compute = Compute(torch.device("cpu"), "fp32")
    used_U, count, compared = _used_tokens(encoder, texts)
    before = len(encoder.tokenizer)
    old_ND = encode(encoder.reader(), compared, compute=compute)
    prune_vocabulary(encoder, used_U, keep_tokens=keep_tokens)
    after = len(encoder.tokenizer)
    with staged(output) as staging:
        _write(encoder, staging, card=_card(folder) + PRUNED.format(before=before, after=after))
        again = _load(staging, key="--output")
        new_ND = encode(again.reader(), compared, compute=compute)
        difference = float(np.abs(new_ND - old_ND).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise MlembedError(
                f"the pruned model gives other vectors (they differ by up to {difference:.1g}), so it was not written; "
                "export without --prune-vocabulary"
            )
        sizes = f"{_megabytes(folder):.1f} -> {_megabytes(staging):.1f} MB"
    print(
        f"{count} texts with {len(used_U)} different tokens; on {len(compared)} of them ({len(compared) / count:.0%}) "
        f"the vectors of old and new model differ by at most {difference:.1g}",
        file=sys.stderr,
    )
    return f"{before} -> {after} tokens, {sizes}"


def _used_tokens(encoder: TextModel, texts: Iterator[str]) -> tuple[np.ndarray, int, list[str]]:
    """The ids that occur, ascending; the number of texts; and some of them, drawn evenly (Vitter's algorithm R)."""
    import copy

    import numpy as np

    from mlembed.tokens import tokenize

    # A copy: a tokenizer remembers, and saves, where it cut last.
    tokenizer = copy.deepcopy(encoder.tokenizer)
    is_used_V = np.zeros(encoder.transformer.get_input_embeddings().num_embeddings, dtype=bool)
    draw = random.Random(0)  # noqa: S311 - which texts are shown is no secret
    drawn: list[str] = []
    count = 0
    while chunk := list(islice(texts, CHUNK_TEXTS)):
        is_used_V[tokenize(chunk, tokenizer=tokenizer, max_length=UNCUT).ids] = True
        for text in chunk:
            count += 1
            if len(drawn) < COMPARED_TEXTS:
                drawn.append(text)
            elif (at := draw.randrange(count)) < COMPARED_TEXTS:
                drawn[at] = text
    return np.flatnonzero(is_used_V), count, drawn


def _write(encoder: TextModel, folder: Path, *, card: str) -> None:
    from mlembed.export.model_folder import export_model

    folder.mkdir()
    with disk_errors():
        export_model(encoder, folder, card=card)


def _card(folder: Path) -> str:
    path = folder / "README.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else CARD


def _megabytes(folder: Path) -> float:
    """Size of weights and tokenizer."""
    weights = [*folder.glob("*.safetensors"), *folder.glob("*_Dense/*.safetensors")]
    return sum(path.stat().st_size for path in [*weights, folder / "tokenizer.json"] if path.is_file()) / 1e6
