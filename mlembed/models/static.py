"""The static encoder: one vector a token, averaged; it has no layers, so it is very fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mlembed.errors import ConfigError
from mlembed.models.plausible import is_panic

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
# Where a tokenizer does not name its padding token.
PADDING = ("[PAD]", "<pad>")
# The table's name in files of sentence-transformers, and in those of model2vec.
TABLE, OTHER_TABLE = "embedding.weight", "embeddings"


@dataclass
class StaticConfig:
    """What the rest of the house asks of a model's configuration."""

    hidden_size: int
    vocab_size: int
    model_type: str = "static"


class StaticTransformer(nn.Module):
    """A Transformer without layers: the output for a token is its embedding, whatever stands beside it.

    Args:
        embedding: the table, `[V, D]`.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding: nn.Module = embedding
        self.config = StaticConfig(hidden_size=embedding.embedding_dim, vocab_size=embedding.num_embeddings)

    def get_input_embeddings(self) -> nn.Module:
        """The table, as models of transformers name it."""
        return self.embedding

    def set_input_embeddings(self, embedding: nn.Module) -> None:
        """Replace the table."""
        self.embedding = embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """`[B, T] -> last_hidden_state [B, T, D]`; the mask is for the pooling."""
        return SimpleNamespace(last_hidden_state=self.embedding(input_ids))


def load_static(folder: Path, *, key: str) -> tuple[StaticTransformer, Any]:
    """Load table and tokenizer of a `StaticEmbedding` folder of sentence-transformers.

    Raises:
        ConfigError: when it cannot be loaded.
    """
    from transformers import PreTrainedTokenizerFast

    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        tensors = load_file(folder / WEIGHTS)
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, **safely)
        else:
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER))  # type: ignore[no-untyped-call]
    except BaseException as error:  # a folder can be broken in more ways than the readers have errors for
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise ConfigError(f"{key}: {folder} cannot be loaded as a static model: {error}") from error
    table_VD = tensors.pop(TABLE, None)
    if table_VD is None:
        table_VD = tensors.pop(OTHER_TABLE, None)
    if table_VD is None or tensors or table_VD.ndim != 2:
        names = ", ".join(sorted(tensors)) or "no table"
        raise ConfigError(f"{key}: {folder / WEIGHTS} is not one table {TABLE} of token vectors (it has {names})")
    if max(tokenizer.get_vocab().values(), default=-1) >= len(table_VD):
        raise ConfigError(
            f"{key}: the tokenizer in {folder} has more tokens than the {len(table_VD)} rows of its table"
        )
    if tokenizer.pad_token_id is None:
        known = [token for token in PADDING if token in tokenizer.get_vocab()]
        if not known:
            raise ConfigError(f"{key}: the tokenizer in {folder} has no padding token")
        tokenizer.pad_token = known[0]
    return StaticTransformer(make_table(table_VD)), tokenizer


def make_table(table_VD: Tensor) -> nn.Embedding:
    """An embedding of these rows, trained in float32."""
    rows, width = table_VD.shape
    return nn.Embedding(rows, width, _weight=table_VD.detach().to(torch.float32).clone())
