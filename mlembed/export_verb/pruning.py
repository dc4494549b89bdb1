"""`--prune-vocabulary`: which tokens are needed, and that the model without the others gives the same vectors."""

from __future__ import annotations

import copy
import random
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from mlembed.compute import Compute
from mlembed.errors import ConfigError, DataError, MlembedError
from mlembed.models.encode import encode
from mlembed.models.pruning import prune_vocabulary
from mlembed.models.text_model import TextModel
from mlembed.tokens import tokenize

# Texts that are tokenized at once, and those that old and new model are compared on.
CHUNK_TEXTS = 8192
COMPARED_TEXTS = 2000
LARGEST_DIFFERENCE = 1e-6
# More tokens than a text has: the tokens of whole texts are kept, also where the model would cut them.
UNCUT = 1 << 30


def texts_of_files(names: list[str], *, column: str | None) -> Iterator[str]:
    """The texts of files; what cannot be read shows at once.

    Raises:
        ConfigError, DataError: a file is missing, has no such column, or no text.
    """
    from mlembed.data.texts import read_texts

    skipped: Counter[str] = Counter()
    files = [read_texts(name, column=column, on_skip=lambda why, n: skipped.update({why: n})) for name in names]
    texts = chain.from_iterable(files)
    first = next(texts, None)
    if first is None:
        raise DataError(f"{names[0]}:1: there is no text whose tokens could be kept")
    return chain([first], texts)


def texts_of_run(run: Path) -> Iterator[str]:
    """All texts that a run learnt from, or was measured on.

    Raises:
        ConfigError, DataError: they cannot be read any more.
    """
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


def prune(model: TextModel, texts: Iterator[str], *, keep_tokens: int) -> str:
    """Take the tokens away that texts do not need, in place.

    Args:
        model: on the CPU.
        texts: whose tokens stay.
        keep_tokens: so many stay besides.

    Returns:
        What a card says of it.

    Raises:
        MlembedError: the vectors are others.
        ConfigError: the tokenizer is of a kind that cannot be pruned.
    """
    compute = Compute(torch.device("cpu"), "fp32")
    used_U, count, compared = _used_tokens(model, texts)
    before = len(model.tokenizer)
    old_ND = encode(model.reader(), compared, compute=compute)
    prune_vocabulary(model, used_U, keep_tokens=keep_tokens)
    difference = float(np.abs(encode(model.reader(), compared, compute=compute) - old_ND).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise MlembedError(
            f"the pruned model gives other vectors (they differ by up to {difference:.1g}), so it was not written; "
            "export without --prune-vocabulary"
        )
    print(
        f"{count} texts with {len(used_U)} different tokens; on {len(compared)} of them ({len(compared) / count:.0%}) "
        f"the vectors of old and new model differ by at most {difference:.1g}",
        file=sys.stderr,
    )
    return (
        f"## Vocabulary\n\nPruned by `mlembed export` from {before} to {len(model.tokenizer)} tokens. A text whose "
        "tokens are all among them has the vector that it had before; other text is cut into smaller pieces, or has "
        "unknown ones."
    )


def _used_tokens(model: TextModel, texts: Iterator[str]) -> tuple[np.ndarray, int, list[str]]:
    """The ids that occur, ascending; the number of texts; and some of them, drawn evenly (Vitter's algorithm R)."""
    # A copy: a tokenizer remembers, and saves, where it cut last.
    tokenizer = copy.deepcopy(model.tokenizer)
    is_used_V = np.zeros(model.transformer.get_input_embeddings().num_embeddings, dtype=bool)
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
