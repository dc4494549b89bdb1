"""A pruned vocabulary: the same tokens and the same bits where all tokens are kept, for every kind of tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FOREIGN, MAX_TOKENS, SUBWORDS, subword_tokenizer, write_family
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from toys import WORDS, toy_encoder, toy_sentences, toy_tokenizer, translate
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from mlembed.compute import Compute
from mlembed.errors import ConfigError
from mlembed.models import pruning
from mlembed.models.compaction import compact_vocabulary
from mlembed.models.encode import encode
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.pruning import prune_vocabulary

CPU = Compute(torch.device("cpu"), "fp32")
KINDS = ["WordLevel", *SUBWORDS]
SOURCES = toy_sentences(20)
SEEN = [*SOURCES, *(translate(text, "xx") for text in SOURCES[:10]), "the ☃ cat", ""]
# One language was not seen at all, nor were capitals and digits.
UNSEEN = [translate("the red dog", "yy"), "HOUSE 27", "☃", "猫"]


def encoder_of(kind: str, folder: Path) -> Encoder:
    """A toy of the family that has this kind of tokenizer; RoBERTa and XLM-R count positions from the padding."""
    tokenizer = toy_tokenizer() if kind == "WordLevel" else subword_tokenizer(kind)
    return load_encoder(write_family(folder, SUBWORDS.get(kind, "electra"), tokenizer=tokenizer), key="k")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    encoder_of(request.param, folder)
    return folder


@pytest.fixture
def pair(folder: Path) -> tuple[Encoder, Encoder]:
    """The same model twice."""
    return load_encoder(folder, key="k"), load_encoder(folder, key="k")


def ids_of(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = encoder.tokenizer(texts, return_attention_mask=False)["input_ids"]
    return found


def used(encoder: Encoder, texts: list[str] = SEEN) -> np.ndarray:
    return np.array([one for ids in ids_of(encoder, texts) for one in ids])


def size(encoder: Encoder) -> int:
    return len(encoder.tokenizer)


def scrambled(count: int) -> list[str]:
    """Texts of pieces of words, so that all ways to cut them come up."""
    draw = random.Random(1)
    words = [*WORDS, *FOREIGN[:20], "☃"]
    parts = [[draw.choice(words)[: draw.randint(1, 9)] for _ in range(draw.randint(1, 4))] for _ in range(count)]
    return ["".join(words) if draw.random() < 0.5 else " ".join(words) for words in parts]


def test_seen_texts_have_the_same_tokens_and_the_same_bits(pair: tuple[Encoder, Encoder]) -> None:
    old, new = pair
    kept_K = prune_vocabulary(new, used(old))
    rows = new.transformer.get_input_embeddings().num_embeddings
    assert size(new) == len(kept_K) == rows == new.transformer.config.vocab_size < size(old) * 0.95
    assert [kept_K[ids].tolist() for ids in ids_of(new, SEEN)] == ids_of(old, SEEN)
    assert kept_K.tolist() == sorted(kept_K.tolist()), "ids keep their order"
    np.testing.assert_array_equal(encode(new, SEEN, compute=CPU), encode(old, SEEN, compute=CPU))


def test_so_has_every_text_whose_tokens_are_kept(pair: tuple[Encoder, Encoder]) -> None:
    old, new = pair
    kept_K = prune_vocabulary(new, used(old))
    texts = scrambled(6000)
    cut = ids_of(old, texts)
    kept = set(kept_K.tolist())
    at = [at for at, ids in enumerate(cut) if kept.issuperset(ids)]
    assert 300 < len(at) < len(texts), "some have only tokens that are kept, and some have others"
    again = ids_of(new, [texts[one] for one in at])
    assert [kept_K[ids].tolist() for ids in again] == [cut[one] for one in at]


def test_unseen_texts_have_vectors_too(pair: tuple[Encoder, Encoder]) -> None:
    old, new = pair
    prune_vocabulary(new, used(old))
    vectors_ND = encode(new, UNSEEN, compute=CPU)
    assert np.isfinite(vectors_ND).all() and np.abs(vectors_ND).max() > 0
    assert max(max(ids) for ids in ids_of(new, UNSEEN)) < size(new)


def test_the_budget_is_kept(pair: tuple[Encoder, Encoder], folder: Path) -> None:
    old, new = pair
    least = prune_vocabulary(new, used(old))
    for more in (1, 7, 1_000_000):
        again = load_encoder(folder, key="k")
        kept_K = prune_vocabulary(again, used(old), keep_tokens=more)
        assert size(again) == len(kept_K) == min(len(least) + more, size(old))
        assert set(kept_K.tolist()) >= set(least.tolist())
    np.testing.assert_array_equal(encode(again, UNSEEN, compute=CPU), encode(old, UNSEEN, compute=CPU))


def test_the_budget_goes_by_id_or_by_score(folder: Path) -> None:
    ids = np.array([4])
    encoder, more, whole = (load_encoder(folder, key="k") for _ in range(3))
    least = set(prune_vocabulary(encoder, ids).tolist())
    added = set(prune_vocabulary(more, ids, keep_tokens=5).tolist()) - least
    left = sorted(set(range(size(whole))) - least)
    model = json.loads(whole.tokenizer.backend_tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        best = sorted(left, key=lambda at: -model["vocab"][at][1])
        assert left[:5] != best[:5]
        left = best
    assert added == set(left[:5])


def test_special_and_added_tokens_stay_and_are_pointed_to(pair: tuple[Encoder, Encoder]) -> None:
    old, new = pair
    for encoder in pair:
        encoder.tokenizer.add_tokens([AddedToken("zzz", normalized=False)])
        encoder.transformer.resize_token_embeddings(size(encoder) + 3)
    kept_K = prune_vocabulary(new, used(old)).tolist()
    for role, token in old.tokenizer.special_tokens_map.items():
        assert getattr(new.tokenizer, role) == token
        assert kept_K[getattr(new.tokenizer, f"{role}_id")] == getattr(old.tokenizer, f"{role}_id")
    assert new.tokenizer.added_tokens_encoder.keys() == old.tokenizer.added_tokens_encoder.keys()
    assert [kept_K[one] for one in ids_of(new, ["the zzz"])[0]] == ids_of(old, ["the zzz"])[0]
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        before, after = getattr(old.transformer.config, name), getattr(new.transformer.config, name)
        assert after is None if before is None else kept_K[after] == before
    assert new.transformer.get_input_embeddings().padding_idx == new.transformer.config.pad_token_id
    for name in ("model_max_length", "model_input_names", "padding_side", "truncation_side"):
        assert getattr(new.tokenizer, name) == getattr(old.tokenizer, name)


def test_a_padding_in_the_tokenizer_gets_its_new_id(tmp_path: Path) -> None:
    old, new = (encoder_of("WordPiece", tmp_path) for _ in range(2))
    pad = old.tokenizer.pad_token_id
    new.tokenizer.backend_tokenizer.enable_padding(pad_id=pad, pad_token="[PAD]")
    kept_K = prune_vocabulary(new, used(old))
    assert (pad, new.tokenizer.pad_token_id, kept_K[1]) == (2, 1, pad), "an unused token before it is gone"
    assert new.tokenizer.backend_tokenizer.padding["pad_id"] == 1


def test_where_positions_depend_on_the_padding_its_id_stays(tmp_path: Path) -> None:
    words = ["<s>", "<unk>", "</s>", "unseen", "<pad>", *WORDS]
    backend = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")
    config = RobertaConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=MAX_TOKENS + 5,
        pad_token_id=4,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    old, new = load_encoder(tmp_path, key="k"), load_encoder(tmp_path, key="k")
    assert old.max_length == new.max_length == MAX_TOKENS
    texts = ["red dog", "a red cat sees a small bird"]
    kept_K = prune_vocabulary(new, used(old, texts))
    assert kept_K[:5].tolist() == [0, 1, 2, 3, 4], "also a word that was not seen stays before the padding"
    assert new.tokenizer.pad_token_id == new.transformer.config.pad_token_id == 4 and size(new) < size(old)
    np.testing.assert_array_equal(encode(new, texts, compute=CPU), encode(old, texts, compute=CPU))


def unigram(pieces: dict[str, float]) -> Encoder:
    """An encoder whose tokenizer has these pieces and their scores."""
    encoder = toy_encoder()
    head = {"[UNK]": 0.0, "[PAD]": 0.0}
    tokenizer = Tokenizer(models.Unigram([*(head | pieces).items()], unk_id=0))
    encoder.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    return encoder


def test_the_score_of_the_unknown_stays() -> None:
    """An unknown character costs 10 more than the worst piece; without that piece it would be cheaper."""
    pieces = {"y": -20.0, "xq": -20.0, "yx": -1.0, "zz": -35.0}
    old, new, without = unigram(pieces), unigram(pieces), unigram({"y": -20.0, "xq": -20.0, "yx": -1.0})
    seen = ["yxq", "yx"]
    assert old.tokenizer.tokenize("yxq") == ["y", "xq"]
    assert without.tokenizer.tokenize("yxq") == ["yx", "q"]
    kept_K = prune_vocabulary(new, used(old, seen))
    assert "zz" in new.tokenizer.get_vocab()
    assert [kept_K[ids].tolist() for ids in ids_of(new, seen)] == ids_of(old, seen)


def test_bytes_stand_in_for_what_is_unknown(tmp_path: Path) -> None:
    tokenizer = subword_tokenizer("Unigram", byte_fallback=True)
    folder = write_family(tmp_path, "xlm-roberta", tokenizer=tokenizer)
    old, new = load_encoder(folder, key="k"), load_encoder(folder, key="k")
    prune_vocabulary(new, used(old, ["the cat"]))
    assert size(new) < size(old)
    assert new.tokenizer.tokenize("☃")[-3:] == ["<0xE2>", "<0x98>", "<0x83>"]


def bpe(prefix: str | None = None) -> Encoder:
    """A BPE of characters, with two ways to the same token, as vocabularies that were put together have."""
    parts = "abcdu"
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"), ("c", "d"), ("abc", "d")]
    if prefix:
        merges = [(left, prefix + right) for left, right in merges[:1]]
    tokens = ["[UNK]", "[PAD]", *parts, *(f"{prefix}{part}" for part in parts if prefix)]
    tokens += [left + right.removeprefix(prefix or "") for left, right in merges]
    vocabulary = {token: at for at, token in enumerate(dict.fromkeys(tokens))}
    more = {"continuing_subword_prefix": prefix} if prefix else {}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="[UNK]", **more))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = toy_encoder()
    encoder.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    return encoder


def test_bpe_keeps_what_its_tokens_are_made_of_and_the_order_of_merges() -> None:
    old, new = bpe(), bpe()
    kept_K = prune_vocabulary(new, used(old, ["abc"]))
    assert set(new.tokenizer.get_vocab()) == {"[UNK]", "[PAD]", "a", "b", "c", "ab", "bc", "abc"}
    for text in ("abc", "bc", "abcbc", "bab", "abcx", "xx"):
        assert kept_K[ids_of(new, [text])[0]].tolist() == ids_of(old, [text])[0], text
    assert new.tokenizer.tokenize("abcd") == ["abc", "[UNK]"]
    joined, again = bpe("##"), bpe("##")
    kept_K = prune_vocabulary(again, used(joined, ["ab"]))
    assert set(again.tokenizer.get_vocab()) == {"[UNK]", "[PAD]", "a", "##b", "ab"}
    assert kept_K[ids_of(again, ["ab"])[0]].tolist() == ids_of(joined, ["ab"])[0]
    # Room for one is no room for a token that needs a part as well.
    small = bpe()
    prune_vocabulary(small, used(old, ["u"]), keep_tokens=1)
    assert set(small.tokenizer.get_vocab()) == {"[UNK]", "[PAD]", "u", "a"}


def test_what_cannot_be_pruned_is_refused() -> None:
    encoder = toy_encoder()
    encoder.tokenizer = ByT5Tokenizer()
    with pytest.raises(ConfigError, match=r"the tokenizer \(ByT5Tokenizer\) has no tokenizer.json"):
        prune_vocabulary(encoder, np.array([5]))
    encoder = toy_encoder()
    compact_vocabulary(encoder, np.array([5, 6]))
    with pytest.raises(ConfigError, match="the model's table is a CompactEmbedding"):
        prune_vocabulary(encoder, np.array([5]))
    encoder = toy_encoder()
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "far": 9}, unk_token="[UNK]"))
    encoder.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    encoder.tokenizer.add_tokens(["between"])
    assert encoder.tokenizer.get_vocab()["between"] < 9
    before = encoder.transformer.get_input_embeddings().weight
    with pytest.raises(ConfigError, match="added tokens stand between those of the tokenizer's model"):
        prune_vocabulary(encoder, np.array([9]))
    assert encoder.transformer.get_input_embeddings().weight is before
    # Tokenizers of today have no other models and post-processors than those that are known.
    with pytest.raises(ConfigError, match="model is Other, not one of WordPiece, WordLevel, Unigram, BPE"):
        pruning._pieces({"model": {"type": "Other"}})
    with pytest.raises(ConfigError, match="post-processor Other is not known"):
        pruning._renumber_processor({"type": "Other"}, {})
