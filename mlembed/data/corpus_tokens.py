"""Token ids of a corpus, beside it on disk: made once for a tokenizer, and memory-mapped by all runs that use it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
import torch
from torch import Tensor

from mlembed.data.corpus import Corpus
from mlembed.data.verified_folder import read_about, staging_folder, write_about
from mlembed.fingerprint import folder_fingerprint, text_fingerprint
from mlembed.tokens import TOKENIZER_BATCH, pad, token_chunks

log = logging.getLogger("mlembed")

# Texts of a record batch; all but the last have exactly so many, so that the place of a text is known.
BATCH_TEXTS = 4 * TOKENIZER_BATCH
SCHEMA = pa.schema({"ids": pa.list_(pa.field("id", pa.int32(), nullable=False))})


class StoredTokens:
    """Token ids of N texts on disk, with the interface of `TokenTable` as far as training needs it.

    Args:
        path: the Arrow file, a column of lists of int32; it is memory-mapped, and nothing of it is copied.
        pad_id: the tokenizer's padding id.
    """

    def __init__(self, path: Path, *, pad_id: int) -> None:
        self.path, self.pad_id = path, pad_id
        about: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["about"]
        self._count: int = about["texts"]
        self._fingerprint: str = about["fingerprint"]
        with pa.memory_map(str(path)) as file:
            # The buffer keeps the mapping alive.
            self._buffer = file.read_buffer()
        self._words = np.frombuffer(self._buffer, dtype=np.int32, count=self._buffer.size // 4)
        reader = pa.ipc.open_file(self._buffer)
        columns = [reader.get_batch(at).column(0) for at in range(reader.num_record_batches)]
        # Where the offsets and the ids of each record batch begin, in words of the file.
        self._offsets_at = self._places([column.buffers()[1] for column in columns])
        self._ids_at = self._places([column.values.buffers()[1] for column in columns])

    def _places(self, buffers: list[pa.Buffer]) -> np.ndarray:
        places = np.array([buffer.address - self._buffer.address for buffer in buffers], dtype=np.int64)
        assert not (places % 4).any()
        return places // 4

    def __len__(self) -> int:
        return self._count

    def _starts(self, texts_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each text the record batch, and the place of its offset."""
        batch_N, within_N = np.divmod(texts_N, BATCH_TEXTS)
        return batch_N, self._offsets_at[batch_N] + within_N

    def lengths(self, texts_N: np.ndarray) -> np.ndarray:
        """Number of tokens of some texts."""
        _, place_N = self._starts(texts_N)
        lengths_N: np.ndarray = self._words[place_N + 1] - self._words[place_N]
        return lengths_N

    def padded(self, texts_B: np.ndarray, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """The ids of some texts, padded to the longest; see `tokens.pad`."""
        batch_B, place_B = self._starts(texts_B)
        starts_B = self._ids_at[batch_B] + self._words[place_B]
        lengths_B = self._words[place_B + 1] - self._words[place_B]
        return pad(self._words, starts_B, lengths_B, pad_id=self.pad_id, device=device)

    def batches(self) -> Iterator[np.ndarray]:
        """All ids, in their order, a record batch at a time."""
        for batch in range(len(self._ids_at)):
            texts = min(BATCH_TEXTS, self._count - batch * BATCH_TEXTS)
            start = self._ids_at[batch]
            yield self._words[start : start + self._words[self._offsets_at[batch] + texts]]

    def used_ids(self) -> np.ndarray:
        """The distinct ids, ascending."""
        is_used_V = np.zeros(0, dtype=bool)
        for ids in self.batches():
            if len(ids) and ids.max() >= len(is_used_V):
                is_used_V = np.concatenate([is_used_V, np.zeros(int(ids.max()) + 1 - len(is_used_V), dtype=bool)])
            is_used_V[ids] = True
        return np.flatnonzero(is_used_V)

    def fingerprint(self) -> str:
        """A hash of all ids."""
        return self._fingerprint


def store_tokens(
    corpus: Corpus,
    *,
    tokenizer: Any,
    max_length: int,
    add_special_tokens: bool = True,
    poll: Callable[[], None] = lambda: None,
) -> Path:
    """Tokenize the texts of a corpus, unless that was done before; returns the file for `StoredTokens`.

    Args:
        corpus: the file goes to its folder.
        tokenizer: a tokenizer of transformers.
        max_length: longer texts are cut to this number of tokens.
        add_special_tokens: with what the tokenizer puts before and after a text.
        poll: called now and then; raises to end early.
    """
    cut = [max_length, tokenizer.truncation_side]
    known = [tokenizer_fingerprint(tokenizer), *cut, add_special_tokens, tokenizer.pad_token_id]
    path = corpus.folder / "tokens" / f"{text_fingerprint(*known)}.arrow"
    about = path.with_suffix(".json")
    if read_about(about) is not None:
        log.info("token ids of %d texts are there already, nothing is tokenized: %s", len(corpus.texts), path)
        return path
    started = time.perf_counter()
    with staging_folder(path.parent) as staging:
        texts = corpus.texts
        chunks = token_chunks(
            (texts[start : start + TOKENIZER_BATCH] for start in range(0, len(texts), TOKENIZER_BATCH)),
            tokenizer=tokenizer,
            max_length=max_length,
            add_special_tokens=add_special_tokens,
            poll=poll,
        )
        tokens, fingerprint = _write(chunks, staging / path.name)
        (staging / path.name).replace(path)
    write_about(about, [path], {"texts": len(texts), "fingerprint": fingerprint})
    log.info("%d texts are tokenized: %d tokens, %.1f s", len(texts), tokens, time.perf_counter() - started)
    return path


def _write(chunks: Iterator[tuple[np.ndarray, np.ndarray]], path: Path) -> tuple[int, str]:
    digest, tokens = hashlib.sha256(), 0
    with pa.ipc.new_file(str(path), SCHEMA) as writer:
        waiting: list[tuple[np.ndarray, np.ndarray]] = []

        def write() -> None:
            ids, lengths = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids), type=SCHEMA.field("ids").type)
            writer.write_batch(pa.record_batch([column], schema=SCHEMA))
            digest.update(ids.tobytes())
            waiting.clear()

        for chunk in chunks:
            waiting.append(chunk)
            tokens += len(chunk[0])
            if sum(len(lengths) for _, lengths in waiting) == BATCH_TEXTS:
                write()
        if waiting:
            write()
    return tokens, digest.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A hash of all that decides a tokenizer's ids, where it cuts a text aside."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        with TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            return folder_fingerprint(Path(folder))
    layout = json.loads(backend.to_str())
    # What it was last asked for.
    del layout["truncation"], layout["padding"]
    return text_fingerprint(layout, tokenizers.__version__)
