"""Take tokens away from an encoder, so that text which needs none of them keeps its tokens and its vectors."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, pre_tokenizers
from torch import nn

from mlembed.errors import ConfigError
from mlembed.models.text_model import TextModel

BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


@dataclass(frozen=True)
class Pieces:
    """What a tokenizer's model needs to cut text as before.

    Args:
        base: ids that stay in any case.
        order: all ids of the model, those first that are worth most where there is room.
        parts: id -> ids without which it cannot be made.
    """

    base: set[int]
    order: list[int]
    parts: Mapping[int, set[int]] = field(default_factory=dict)

    def with_parts(self, ids: Iterable[int]) -> set[int]:
        """The ids, and all that they are made of."""
        found: set[int] = set()
        waiting = list(ids)
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting += self.parts.get(one, ())
        return found


def prune_vocabulary(encoder: TextModel, used_ids: np.ndarray, *, keep_tokens: int = 0) -> np.ndarray:
    """Keep only the tokens that are used, and some more.

    A text whose tokens are all kept is cut into the same tokens as before (the reasons stand at each kind of tokenizer
    below) and has the same vector bit for bit: the kept rows of the table and all other weights stay as they are.
    Special and added tokens stay; the others keep their order.

    Args:
        encoder: it is changed in place: its table, its tokenizer, and the ids in its config.
        used_ids: token ids, in any order, repeated or not; of whole texts: where a text is cut to `max_length`, the
            tokens of its last word depend on what is cut off.
        keep_tokens: so many tokens besides, or all; lowest ids first, for Unigram those with the highest scores.

    Returns:
        `kept_K`: the old ids in the order of the new ones.

    Raises:
        ConfigError: the tokenizer or the table is of a kind that cannot be pruned.
    """
    if not encoder.tokenizer.is_fast:
        name = type(encoder.tokenizer).__name__
        raise ConfigError(f"the vocabulary cannot be pruned: the tokenizer ({name}) has no tokenizer.json")
    settings = json.loads(encoder.tokenizer.backend_tokenizer.to_str())
    pieces = _pieces(settings)
    kept = pieces.with_parts({*used_ids.tolist(), *_fixed_ids(encoder, settings), *pieces.base})
    room = len(kept) + keep_tokens
    for one in pieces.order:
        if len(kept) >= room:
            break
        if one not in kept and len(more := pieces.with_parts([one]) - kept) <= room - len(kept):
            kept |= more
    kept_K = np.array(sorted(kept), dtype=np.int64)
    number = {old: new for new, old in enumerate(kept_K.tolist())}
    encoder.tokenizer = _renumbered_tokenizer(encoder.tokenizer, settings, number)
    _cut_table(encoder, kept_K, number)
    return kept_K


def _pieces(settings: Mapping[str, Any]) -> Pieces:
    model = settings["model"]
    kinds = {"WordPiece": _words, "WordLevel": _words, "Unigram": _unigram, "BPE": _bpe}
    if (make := kinds.get(model["type"])) is None:
        raise ConfigError(
            f"the vocabulary cannot be pruned: the tokenizer's model is {model['type']}, not one of {', '.join(kinds)}"
        )
    return make(settings)


def _words(settings: Mapping[str, Any]) -> Pieces:
    """WordLevel and WordPiece.

    WordLevel looks each word up, and what is not there is unknown: a lookup does not depend on other words.

    WordPiece takes the longest piece that the rest of a word begins with. Where that piece is kept, it is still the
    longest, since taking pieces away makes none longer; so a word whose pieces are all kept is cut as before. A word is
    unknown when no piece fits somewhere. It stays so when the first character begins no piece, or when no piece at all
    has the character; that is every case of a vocabulary whose pieces were made by merging characters, for then each
    character inside a piece is a piece itself. (Only a piece such as ##ab without a ##b, in a vocabulary made by hand,
    could make a word known that was unknown because a longer piece, now gone, ended between a and b.)
    """
    vocabulary = settings["model"]["vocab"]
    unknown = vocabulary.get(settings["model"]["unk_token"])
    return Pieces(base=set() if unknown is None else {unknown}, order=sorted(vocabulary.values()))


def _unigram(settings: Mapping[str, Any]) -> Pieces:
    """Unigram takes the cut with the greatest sum of scores (Kudo 2018, https://arxiv.org/abs/1804.10959).

    Where the pieces of the best cut are all kept, it can still be made, and has the same sum. Other cuts can be gone,
    or are those of before; the one thing new is that a character whose own piece is gone can be unknown. That costs
    10 more than the lowest score of all, so such a cut is worse than the old one with the piece in that place, which
    was not better than the best. Of equal cuts the first one found wins, in an order that taking pieces away does not
    change. All this holds for unknown characters of the best cut too, as long as their score is the same: so the piece
    with the lowest score stays. Bytes stand in for unknown characters only while all 256 are there, so they stay.
    """
    model = settings["model"]
    scores = [score for _, score in model["vocab"]]
    base = {min(range(len(scores)), key=scores.__getitem__)} if scores else set()
    if model["unk_id"] is not None:
        base.add(model["unk_id"])
    if model.get("byte_fallback"):
        base |= {at for at, (piece, _) in enumerate(model["vocab"]) if piece in BYTE_TOKENS}
    return Pieces(base, order=sorted(range(len(scores)), key=lambda at: (-scores[at], at)))


def _bpe(settings: Mapping[str, Any]) -> Pieces:
    """BPE merges the pair of neighbors that was learnt first, until there is none (https://arxiv.org/abs/1508.07909).

    With a token both parts of every merge that makes it are kept, and theirs, down to characters; and those merges
    whose three tokens are all kept, in their order. Where all tokens of a text are kept, so is every merge on the way
    to them. At each step the pair that was chosen is still there, and of the others some are gone: it is still the
    first. At the end no pair could be merged, and none can now. Characters that are no token were none before.

    A byte-level vocabulary keeps the 256 bytes, and one with a fallback its byte tokens, so that any text has tokens.
    """
    model = settings["model"]
    vocabulary = model["vocab"]
    parts: dict[int, set[int]] = defaultdict(set)
    for left, right in model["merges"]:
        parts[vocabulary[_merged(left, right, model)]] |= {vocabulary[left], vocabulary[right]}
    always = [model["unk_token"]]
    if model["byte_fallback"]:
        always += BYTE_TOKENS
    if '"ByteLevel"' in json.dumps([settings["normalizer"], settings["pre_tokenizer"]]):
        always += pre_tokenizers.ByteLevel.alphabet()
    base = {vocabulary[token] for token in always if token in vocabulary}
    return Pieces(base, order=sorted(vocabulary.values()), parts=parts)


def _merged(left: str, right: str, model: Mapping[str, Any]) -> str:
    return str(left + right[len(model["continuing_subword_prefix"] or "") :])


def _fixed_ids(encoder: TextModel, settings: Mapping[str, Any]) -> set[int]:
    """What stays whatever is used: special and added tokens, and what config and post-processor point to."""
    embedding = encoder.transformer.get_input_embeddings()
    if type(embedding) is not nn.Embedding:
        raise ConfigError(f"the vocabulary cannot be pruned: the model's table is a {type(embedding).__name__}")
    tokenizer = encoder.tokenizer
    ids = {*tokenizer.get_added_vocab().values(), *tokenizer.all_special_ids, tokenizer.pad_token_id}
    _renumber_processor(settings["post_processor"], note := _Noting())
    ids |= note.seen
    if settings["padding"] is not None:
        ids.add(settings["padding"]["pad_id"])
    ids |= {one for name in _config_ids(encoder) for one in _as_list(getattr(encoder.transformer.config, name))}
    if embedding.padding_idx is not None:
        ids.add(embedding.padding_idx)
    for name, module in encoder.transformer.named_modules():
        if name.endswith("position_embeddings") and (at := getattr(module, "padding_idx", None)) is not None:
            # RoBERTa and its kin count positions from this number on, and know padding by it: it must not change, so
            # nothing before it can go.
            ids.update(range(at + 1))
    # A config can name ids of the family's own vocabulary, which this model does not have.
    return {one for one in ids if 0 <= one < embedding.num_embeddings}


class _Noting(dict[int, int]):
    """A mapping of all ids to themselves that notes which ones were asked for."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __missing__(self, key: int) -> int:
        self.seen.add(key)
        return key


def _renumbered_tokenizer(old: Any, settings: dict[str, Any], number: Mapping[int, int]) -> Any:
    """The tokenizer with new numbers and the kept tokens alone; `settings` (its JSON) is changed."""
    from transformers import PreTrainedTokenizerFast

    expected = {token: number[at] for token, at in old.get_vocab().items() if at in number}
    _renumber_model(settings["model"], number)
    _renumber_processor(settings["post_processor"], number)
    for token in settings["added_tokens"]:
        token["id"] = number[token["id"]]
    if settings["padding"] is not None:
        settings["padding"]["pad_id"] = number[settings["padding"]["pad_id"]]
    new = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(settings)),
        model_max_length=old.model_max_length,
        model_input_names=old.model_input_names,
        padding_side=old.padding_side,
        truncation_side=old.truncation_side,
        split_special_tokens=old.split_special_tokens,
        extra_special_tokens=old.extra_special_tokens,
        **old.special_tokens_map,
    )
    if new.get_vocab() != expected:
        # The library numbers added tokens itself, after those of the model.
        raise ConfigError("the vocabulary cannot be pruned: added tokens stand between those of the tokenizer's model")
    return new


def _renumber_model(model: dict[str, Any], number: Mapping[int, int]) -> None:
    if model["type"] == "Unigram":
        model["vocab"] = [piece for at, piece in enumerate(model["vocab"]) if at in number]
        if model["unk_id"] is not None:
            model["unk_id"] = number[model["unk_id"]]
        return
    kept = {token: number[at] for token, at in model["vocab"].items() if at in number}
    if model["type"] == "BPE":
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if left in kept and right in kept and _merged(left, right, model) in kept
        ]
    model["vocab"] = kept


def _renumber_processor(processor: dict[str, Any] | None, number: Mapping[int, int]) -> None:
    """Put new ids into what sets special tokens around a text."""
    kind = processor["type"] if processor else None
    if processor is None or kind == "ByteLevel":
        return
    if kind == "Sequence":
        for part in processor["processors"]:
            _renumber_processor(part, number)
    elif kind == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [number[at] for at in token["ids"]]
    elif kind in ("BertProcessing", "RobertaProcessing"):
        for end in ("sep", "cls"):
            processor[end] = [processor[end][0], number[processor[end][1]]]
    else:
        raise ConfigError(f"the vocabulary cannot be pruned: the tokenizer's post-processor {kind} is not known")


def _config_ids(encoder: TextModel) -> list[str]:
    """The keys of the config that hold ids of tokens."""
    return [name for name in vars(encoder.transformer.config) if name.endswith("_token_id")]


def _as_list(value: Any) -> list[int]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _cut_table(encoder: TextModel, kept_K: np.ndarray, number: Mapping[int, int]) -> None:
    embedding = encoder.transformer.get_input_embeddings()
    rows = torch.from_numpy(kept_K).to(embedding.weight.device)
    # In the module that is there: some families scale what they look up.
    embedding.weight = nn.Parameter(embedding.weight.detach()[rows].clone(), embedding.weight.requires_grad)
    embedding.num_embeddings = len(kept_K)
    if embedding.padding_idx is not None:
        embedding.padding_idx = number[embedding.padding_idx]
    config = encoder.transformer.config
    for name in _config_ids(encoder):
        value = getattr(config, name)
        new = [number.get(at, at) for at in _as_list(value)]
        if value is not None:
            setattr(config, name, new if isinstance(value, list) else new[0])
    config.vocab_size = len(kept_K)
