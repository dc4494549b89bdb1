"""What teacher and student have in common, whatever comes out of them: a Transformer and its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mlembed.models.static import StaticTransformer
from mlembed.tokens import TokenTable, tokenize

# Tokenizers without a limit say so with a number like 1e30.
NO_LIMIT = 1_000_000


class TextModel(nn.Module):
    """A model that reads text.

    Args:
        transformer: a model of transformers.
        tokenizer: its tokenizer.
        max_length: longer texts are cut to this number of tokens.
    """

    # A module of modules has no types of its own.
    transformer: Any

    def __init__(self, transformer: nn.Module, *, tokenizer: Any, max_length: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.tokenizer = tokenizer
        self.max_length = max_length

    @property
    def width(self) -> int:
        """Numbers that come out for a text."""
        raise NotImplementedError

    @property
    def answers(self) -> int:
        """Numbers that it answers a row, or a word, with."""
        return self.width

    def reader(self) -> TextModel:
        """The encoder of single texts that is in it; it shares the weights."""
        return self

    @property
    def is_static(self) -> bool:
        """Whether it is a table of token vectors without layers."""
        return isinstance(self.transformer, StaticTransformer)

    @property
    def limit(self) -> int | None:
        """The most tokens of a text that it reads; None: all."""
        return self.max_length if self.max_length < NO_LIMIT else None

    @property
    def top_names(self) -> tuple[str, ...]:
        """How the names of the parameters begin that come after the last layer."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """All that decides what comes out for a text, beside the files that it was loaded from; JSON values."""
        raise NotImplementedError

    def tokenize(self, texts: list[str], *, poll: Callable[[], None] = lambda: None) -> TokenTable:
        """Token ids of texts, cut to `max_length`; a static encoder averages no special tokens."""
        special = not self.is_static
        return tokenize(
            texts, tokenizer=self.tokenizer, max_length=self.max_length, add_special_tokens=special, poll=poll
        )
