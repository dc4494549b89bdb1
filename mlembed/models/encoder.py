"""The sentence encoder: a Transformer, pooling, dense layers, normalization; teacher and student are both one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mlembed.errors import ConfigError
from mlembed.models.attention import choose_attention
from mlembed.models.folder import DenseFolder, read_layout, refuse_lower_case, sentence_settings
from mlembed.models.plausible import check_config, check_size, check_use, check_weights, is_panic
from mlembed.models.precision import narrow_stream
from mlembed.models.static import load_static
from mlembed.models.text_model import NO_LIMIT, TextModel


class Dense(nn.Module):
    """A linear layer, and tanh where asked; the names of its weights are those of sentence-transformers."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation = activation

    def forward(self, vectors_BD: Tensor) -> Tensor:
        """`[B, in_features] -> [B, out_features]`."""
        result_BE = self.linear(vectors_BD)
        return torch.tanh(result_BE) if self.activation == "tanh" else result_BE


class Encoder(TextModel):
    """Token ids to sentence vectors.

    Args:
        transformer: a model of transformers whose output has `last_hidden_state`.
        tokenizer: its tokenizer.
        pooling: `mean`, `cls` or `max`.
        dense: layers after pooling.
        normalize: whether vectors get the length 1.
        max_length: longer texts are cut to this number of tokens.
    """

    # A module of modules has no types of its own.
    dense: Any

    def __init__(
        self,
        transformer: nn.Module,
        *,
        tokenizer: Any,
        pooling: str,
        dense: list[Dense],
        normalize: bool,
        max_length: int,
    ) -> None:
        super().__init__(transformer, tokenizer=tokenizer, max_length=max_length)
        self.pooling = pooling
        self.dense = nn.ModuleList(dense)
        self.normalize = normalize

    @property
    def width(self) -> int:
        """Number of dimensions of a sentence vector."""
        return int(self.dense[-1].linear.out_features if len(self.dense) else self.transformer.config.hidden_size)

    @property
    def top_names(self) -> tuple[str, ...]:
        """See `TextModel`."""
        return ("dense.",)

    def about(self) -> dict[str, Any]:
        """See `TextModel`."""
        dense = hashlib.sha256()
        for layer in self.dense:
            dense.update(layer.activation.encode())
            for name, weight in layer.state_dict().items():
                dense.update(f"{name} {tuple(weight.shape)}".encode())
                dense.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return {
            "pooling": self.pooling,
            "max_length": self.max_length,
            "normalize": self.normalize,
            "dense": dense.hexdigest() if len(self.dense) else None,
            "width": self.width,
        }

    def reader(self) -> Encoder:
        """See `TextModel`."""
        return self

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Sentence vectors, float32.

        Args:
            ids_BT: token ids, padded.
            mask_BT: 1 for a token, 0 for padding.
        """
        choose_attention(
            self.transformer,
            device_type=ids_BT.device.type,
            tokens=ids_BT.shape[1],
            with_gradients=torch.is_grad_enabled(),
        )
        hidden_BTD = self.transformer(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        # Sums over tokens and lengths of vectors need full precision, whatever the layers were computed in.
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            return self.vectors_of(hidden_BTD.float(), mask_BT)

    def vectors_of(self, hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """What comes after the Transformer: its output to sentence vectors, `[B, T, D] -> [B, width]`."""
        vectors_BD = pool(hidden_BTD, mask_BT, pooling=self.pooling)
        for layer in self.dense:
            vectors_BD = layer(vectors_BD)
        return F.normalize(vectors_BD, dim=1) if self.normalize else vectors_BD


def pool(hidden_BTD: Tensor, mask_BT: Tensor, *, pooling: str) -> Tensor:
    """Vectors of tokens to vectors of sentences, `[B, T, D] -> [B, D]`; padding does not count."""
    if pooling == "cls":
        return hidden_BTD[:, 0]
    mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
    if pooling == "max":
        return hidden_BTD.masked_fill(mask_BT1 == 0, -torch.inf).amax(dim=1)
    return (hidden_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1e-9)


def load_encoder(
    folder: Path,
    *,
    key: str,
    pooling: str | None = None,
    max_length: int | None = None,
    dropout: float | None = None,
) -> Encoder:
    """Load an encoder with what its folder says of pooling, dense layers and normalization.

    Args:
        folder: a model folder; only safetensors are read, and no code in it is run.
        key: the configuration key that named it, for messages.
        pooling: instead of the folder's; without either, mean.
        max_length: tokens, instead of the folder's.
        dropout: probability of all dropout layers, instead of the config's.

    Raises:
        ConfigError: when the folder cannot be loaded, lacks weights or is no text encoder, or `max_length` is more
            than the model has positions.
    """
    layout = read_layout(folder)
    refuse_lower_case(folder, key=key)
    if layout.static:
        transformer, tokenizer = load_static(folder, key=key)
    else:
        transformer, tokenizer = load_transformer(folder, key=key, dropout=dropout)
    dense = [load_dense(spec) for spec in layout.dense]
    width = int(transformer.config.hidden_size)
    for spec in layout.dense:
        if spec.in_features != width:
            raise ConfigError(f"{spec.path}/config.json: it takes {spec.in_features} dimensions, but gets {width}")
        width = spec.out_features
    return Encoder(
        transformer,
        tokenizer=tokenizer,
        pooling=pooling or layout.pooling or "mean",
        dense=dense,
        normalize=layout.normalize,
        # A static model has no positions, so nothing is too long; sentence-transformers never cuts for one.
        max_length=(max_length or NO_LIMIT)
        if layout.static
        else token_limit(folder, transformer, tokenizer, asked=max_length, key=key),
    )


def load_transformer(
    folder: Path, *, key: str, dropout: float | None = None, auto_class: Any = None
) -> tuple[Any, Any]:
    """Model and tokenizer, from this folder alone: nothing is fetched, unpickled, or imported from it.

    Args:
        folder: a model folder.
        key: the configuration key that named it, for messages.
        dropout: probability of all dropout layers, instead of the config's.
        auto_class: of transformers, for a model with a head; None: the body alone.

    Raises:
        ConfigError: when the folder cannot be loaded, or lacks weights.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    # Its bars and its report of the unused pooler say nothing to a user of mlembed; errors are raised all the same.
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{key}: {folder} holds an adapter, not a whole model; merge it into its base model first")
    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        check_config(folder, key=key)
        config = AutoConfig.from_pretrained(folder, **safely)
        check_size(config, folder, auto_class=auto_class or AutoModel, key=key)
        if dropout is not None:
            _set_dropout(config, dropout, with_head=auto_class is not None)
        # Weights stay in float32 whatever they were saved in: the optimizer needs the small differences.
        transformer, told = (auto_class or AutoModel).from_pretrained(
            folder, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **safely
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
    except ConfigError:
        raise
    except BaseException as error:  # a folder can be broken in more ways than transformers has errors for
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise ConfigError(f"{key}: {folder} cannot be loaded by transformers: {_reason(error)}") from error
    check_weights(told["missing_keys"], folder=folder, unused="pooler." if auto_class is None else None, key=key)
    check_use(transformer, tokenizer, folder=folder, key=key)
    # An offer of code for other loaders, which is not to be passed on with an exported student.
    vars(transformer.config).pop("auto_map", None)
    if auto_class is None and getattr(transformer, "pooler", None) is not None:
        # The pooler of BERT does not touch the hidden states: unused weights, and unused gradients for DDP to wait for.
        transformer.pooler = None
    narrow_stream(transformer.base_model)
    return transformer, tokenizer


def _reason(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    if "trust_remote_code" in text:
        return "it needs code of its own (auto_map in config.json), which mlembed does not run"
    if "ignore_mismatched_sizes" in text:  # what it says is "look at the above report", which is silenced
        return "its weights have other shapes than its config.json asks for"
    return text


def load_dense(spec: DenseFolder) -> Dense:
    """Load a dense layer.

    Raises:
        ConfigError: its weights are missing, or do not fit.
    """
    layer = Dense(spec.in_features, spec.out_features, bias=spec.bias, activation=spec.activation)
    path = spec.path / "model.safetensors"
    try:
        layer.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; weights in other formats are not read") from None
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path} cannot be loaded: {error}") from error
    return layer


def _set_dropout(config: Any, probability: float, *, with_head: bool) -> None:
    """Families name their dropout differently; all that are probabilities of the model get the same."""
    for name, value in list(config.to_dict().items()):
        is_probability = isinstance(value, int | float) and not isinstance(value, bool)
        if is_probability and "dropout" in name and (with_head or "classifier" not in name):
            setattr(config, name, probability)


def token_limit(folder: Path, transformer: Any, tokenizer: Any, *, asked: int | None, key: str) -> int:
    """How many tokens a text may have: what is asked for, or what the folder says, and never more than positions.

    Args:
        folder: of the model.
        transformer: with layers.
        tokenizer: of the folder.
        asked: instead of what the folder says.
        key: the configuration key that named the folder, for messages.

    Raises:
        ConfigError: more is asked for than the model has positions.
    """
    positions = getattr(transformer.config, "max_position_embeddings", None) or NO_LIMIT
    for name, module in transformer.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            # RoBERTa and its kin (XLM-R, CamemBERT, MPNet) count positions from padding_idx + 1.
            positions -= module.padding_idx + 1
    if asked is not None and asked > positions:
        raise ConfigError(
            f"{key.rpartition('.')[0]}.max_length: {asked} is more than the model's {positions} positions"
        )
    limit = asked or sentence_settings(folder)[0] or int(min(tokenizer.model_max_length, 512))
    return min(limit, positions)
