"""What a model with a head reads: ids, token types of pairs, the first token of each word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads import TOKENIZERS, bert_tokenizer, byte_level, unigram
from subwords import TEACHERS

from mlembed.inputs import pair_inputs, text_inputs, word_inputs

CPU = torch.device("cpu")
WORDS = [["the", "dog", "sees"], [], ["a"], ["the", "small", "cat", "near", "the", "old", "house"]]


def test_texts() -> None:
    tokenizer = bert_tokenizer()
    texts = ["the dog", "", "a cat " * 30]
    inputs = text_inputs(texts, tokenizer=tokenizer, max_length=10)
    assert len(inputs) == 3 and inputs.lengths_N.tolist() == [4, 2, 10]
    assert inputs.units(np.array([2, 0])).tolist() == [1, 1]
    padded = inputs.padded(np.array([0, 2]), device=CPU)
    expected = tokenizer([texts[0], texts[2]], truncation=True, max_length=10, padding=True, return_tensors="pt")
    assert torch.equal(padded.ids_BT, expected["input_ids"])
    assert torch.equal(padded.mask_BT, expected["attention_mask"])
    assert padded.types_BT is padded.row_M is padded.position_M is padded.word_M is None
    assert padded.tokens == 14


@pytest.mark.parametrize("family", TOKENIZERS)
def test_pairs(family: str) -> None:
    tokenizer = TOKENIZERS[family]()
    firsts, seconds = ["the dog", "a cat " * 30, "the", ""], ["the red cat", "the", "a cat " * 30, ""]
    inputs = pair_inputs(firsts, seconds, tokenizer=tokenizer, max_length=12)
    expected = tokenizer(
        firsts, seconds, truncation="longest_first", max_length=12, padding=True, return_tensors="pt",
        return_token_type_ids=True,
    )  # fmt: skip
    padded = inputs.padded(np.arange(4), device=CPU)
    assert torch.equal(padded.ids_BT, expected["input_ids"])
    assert torch.equal(padded.mask_BT, expected["attention_mask"])
    if family == "bert":
        assert padded.types_BT is not None
        assert torch.equal(padded.types_BT, expected["token_type_ids"]) and int(padded.types_BT.sum()) > 4
        alone = inputs.padded(np.array([3, 0]), device=CPU)
        assert alone.types_BT is not None and alone.types_BT.sum(dim=1).tolist() == [1, 4], "rows in any order"
    else:
        assert padded.types_BT is None


@pytest.mark.parametrize("make", TEACHERS.values(), ids=TEACHERS)
def test_each_word_is_read_at_its_first_token(make: type) -> None:
    tokenizer = make()
    inputs = word_inputs(WORDS, tokenizer=tokenizer, max_length=64)
    assert inputs.first_W is not None and inputs.word_offsets is not None
    assert inputs.word_offsets.tolist() == [0, 3, 3, 4, 11]
    for number, words in enumerate(WORDS):
        start, end = inputs.tokens.offsets[number : number + 2]
        tokens = tokenizer.convert_ids_to_tokens(inputs.tokens.ids[start:end].tolist())
        firsts = inputs.first_W[inputs.word_offsets[number] : inputs.word_offsets[number + 1]].tolist()
        assert len(firsts) == len(words)
        for place, following, word in zip(firsts, [*firsts[1:], len(tokens) - 1], words, strict=False):
            letters = "".join(tokens[place:following]).replace("</w>", "").strip("\u2581\u0120")
            assert letters == word


@pytest.mark.parametrize("make", TEACHERS.values(), ids=TEACHERS)
def test_words_have_the_tokens_that_they_have_within_a_text(make: type) -> None:
    """Byte-level BPE has others for a word without the space before it, which its models hardly know."""
    tokenizer = make()
    words = word_inputs(WORDS, tokenizer=tokenizer, max_length=64)
    texts = text_inputs([" ".join(one) for one in WORDS], tokenizer=tokenizer, max_length=64)
    assert words.tokens.ids.tolist() == texts.tokens.ids.tolist()


def test_words_that_are_cut_off_have_no_place() -> None:
    inputs = word_inputs(WORDS, tokenizer=bert_tokenizer(), max_length=5)
    assert inputs.first_W is not None
    assert inputs.first_W.tolist() == [1, 2, 3, 1, 1, 2, 3, -1, -1, -1, -1]
    assert inputs.units(np.array([3, 1, 0])).tolist() == [3, 0, 3]
    padded = inputs.padded(np.array([3, 1, 0]), device=CPU)
    assert padded.row_M is not None and padded.position_M is not None and padded.word_M is not None
    assert padded.row_M.tolist() == [0, 0, 0, 2, 2, 2]
    assert padded.position_M.tolist() == [1, 2, 3, 1, 2, 3]
    assert padded.word_M.tolist() == [4, 5, 6, 0, 1, 2]
    assert padded.tokens == 12 and padded.ids_BT.shape == (3, 5)


def test_a_word_that_the_tokenizer_sees_nothing_in_has_no_place() -> None:
    tokenizer = unigram()
    inputs = word_inputs([["dog", "\u200b\n", "cat"]], tokenizer=tokenizer, max_length=64)
    assert inputs.first_W is not None and inputs.first_W[0] == 1 and inputs.first_W[2] > 1


def test_nothing_but_texts_without_words() -> None:
    inputs = word_inputs([[], []], tokenizer=byte_level(), max_length=8)
    padded = inputs.padded(np.arange(2), device=CPU)
    assert padded.word_M is not None and len(padded.word_M) == 0
    assert inputs.lengths_N.tolist() == [2, 2]
