"""The transplant: vocabulary, alignment, and a student that understands before its first step."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from subwords import byte_level, unigram
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from toys import LANGUAGES, SPECIAL, WORDS, toy_sentences, translate
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from mlembed.models.alignment import ITERATIONS, align, make_bitext
from mlembed.models.encoder import Encoder
from mlembed.models.transplant import source_weights, transplant
from mlembed.models.vocabulary import UNSPACED_FACTOR, replacing_tokenizer
from mlembed.tokens import TokenTable


def wordpiece(words: list[str], special: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the kind that English BERTs have: lower case, accents stripped."""
    letters = [form for letter in "abcdefghijklmnopqrstuvwxyz" for form in (letter, f"##{letter}")]
    vocabulary = {word: at for at, word in enumerate(dict.fromkeys([*special, *words, *letters]))}
    pad, unknown, begin, end = special[:4]
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=begin,
        sep_token=end,
        model_max_length=32,
    )


def teacher_of(kind: type, config_kind: type, tokenizer: PreTrainedTokenizerFast, *, rows: int = 0) -> Encoder:
    config = config_kind(
        vocab_size=rows or len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = kind(config, add_pooling_layer=False)
    # Larger than the usual first weights, so that sentences differ.
    with torch.no_grad():
        transformer.embeddings.word_embeddings.weight.mul_(20)
    return Encoder(transformer, tokenizer=tokenizer, pooling="mean", dense=[], normalize=True, max_length=32)


def bert_teacher() -> Encoder:
    return teacher_of(BertModel, BertConfig, wordpiece(WORDS, SPECIAL[:4]))


def roberta_teacher() -> Encoder:
    """Positions are counted from the padding id, which is 1."""
    layout = wordpiece(WORDS, ["<s>", "<pad>", "</s>", "<unk>"]).backend_tokenizer
    layout.model.unk_token = "<unk>"
    layout.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=layout, model_max_length=32, **names)
    return teacher_of(RobertaModel, RobertaConfig, tokenizer)


def bpe_teacher() -> Encoder:
    return teacher_of(RobertaModel, RobertaConfig, byte_level())


def unigram_teacher() -> Encoder:
    return teacher_of(XLMRobertaModel, XLMRobertaConfig, unigram())


def bitext() -> tuple[list[str], np.ndarray]:
    sources = toy_sentences(150)
    targets = [translate(sentence, language) for language in LANGUAGES for sentence in sources]
    pairs = [(len(sources) + at, at % len(sources)) for at in range(len(targets))]
    return [*sources, *targets], np.array(pairs)


def vectors(encoder: Encoder, texts: list[str]) -> torch.Tensor:
    encoder.eval()
    with torch.inference_mode():
        return encoder(*encoder.tokenize(texts).padded(np.arange(len(texts)), device=torch.device("cpu")))


def test_model_1_finds_the_words_that_go_together() -> None:
    # Student words 0, 1, 2 stand for teacher words 2, 1, 0, in any order.
    student = TokenTable(np.array([0, 1, 1, 2, 0, 2, 0], dtype=np.int32), np.array([0, 2, 4, 6, 7]), pad_id=0)
    teacher = TokenTable(np.array([1, 2, 0, 1, 2, 0, 2], dtype=np.int32), np.array([0, 2, 4, 6, 7]), pad_id=0)
    pairs = np.stack([np.arange(4), np.arange(4)], axis=1)
    bitext = make_bitext(student, teacher, pairs=pairs, student_vocabulary=3, teacher_vocabulary=3)
    probabilities = np.asarray(align(bitext, iterations=20).todense())
    assert probabilities.argmax(axis=1).tolist() == [2, 1, 0]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_the_number_of_entries_is_bounded() -> None:
    table = TokenTable(np.zeros(40, dtype=np.int32), np.arange(0, 41, 4), pad_id=0)
    pairs = np.stack([np.arange(10), np.arange(10)], axis=1)
    bounded = make_bitext(table, table, pairs=pairs, student_vocabulary=1, teacher_vocabulary=1, max_entries=65)
    # A text of four tokens has five positions with the null token.
    assert len(bounded.entry_N) == 3 * 5 * 4


def test_the_vocabulary_is_the_same_at_each_run() -> None:
    texts, _ = bitext()
    teacher = bert_teacher().tokenizer
    runs = [replacing_tokenizer(texts, teacher=teacher, size=200, min_frequency=2).get_vocab() for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("phrase", ["猫が好き", "แมวตัวใหญ่", "ខ្ញុំស្រឡាញ់"])
def test_phrases_of_scripts_without_spaces_are_no_pieces_before_they_are_frequent(phrase: str) -> None:
    teacher = bert_teacher().tokenizer

    def pieces(count: int) -> set[str]:
        texts = [f"Katzenfreund {phrase}"] * count
        vocabulary = replacing_tokenizer(texts, teacher=teacher, size=500, min_frequency=2).get_vocab()
        return {piece.removeprefix("##") for piece in vocabulary}

    seldom, often = pieces(UNSPACED_FACTOR), pieces(2 * UNSPACED_FACTOR)
    assert "katzenfreund" in seldom, "a word between spaces is a piece as soon as it is frequent enough"
    assert set(phrase) <= seldom, "single letters are never unknown"
    assert not any(len(piece) > 1 and piece in phrase for piece in seldom)
    assert any(len(piece) > 1 and piece in phrase for piece in often)


@pytest.mark.parametrize("make_teacher", [bert_teacher, roberta_teacher, bpe_teacher, unigram_teacher])
@pytest.mark.parametrize("vocabulary", ["blend", "extend", "replace"])
def test_a_transplanted_student_finds_translations_before_its_first_step(make_teacher, vocabulary) -> None:
    teacher, student = make_teacher(), make_teacher()
    texts, pairs = bitext()
    transplant(student, texts, pairs=pairs, vocabulary=vocabulary, size=500, min_frequency=2, seed=0)
    held_out = [sentence for sentence in toy_sentences(250, seed=1) if sentence not in texts][:60]
    source_ND = vectors(teacher, held_out)
    for language in LANGUAGES:
        translations = [translate(sentence, language) for sentence in held_out]
        hits = [
            (vectors(encoder, translations) @ source_ND.T)
            .argmax(dim=1)
            .eq(torch.arange(len(held_out)))
            .float()
            .mean()
            .item()
            for encoder in (teacher, student)
        ]
        assert hits[1] > 0.5
        assert hits[1] > hits[0] + 0.3
    tokenizer = student.tokenizer
    assert tokenizer.unk_token_id not in tokenizer("xxcat")["input_ids"]
    assert tokenizer.pad_token_id == teacher.tokenizer.pad_token_id
    assert (
        student.transformer.config.vocab_size
        == len(tokenizer)
        == len(student.transformer.get_input_embeddings().weight)
    )


@pytest.mark.parametrize("make_teacher", [bert_teacher, bpe_teacher, unigram_teacher])
def test_extending_leaves_the_source_language_as_it_was(make_teacher) -> None:
    teacher, student = make_teacher(), make_teacher()
    texts, pairs = bitext()
    transplant(student, texts, pairs=pairs, vocabulary="extend", size=500, min_frequency=2, seed=0)
    sources = [texts[at] for at in range(150)]
    assert student.tokenizer(sources)["input_ids"] == teacher.tokenizer(sources)["input_ids"]
    assert torch.equal(vectors(student, sources), vectors(teacher, sources))


def test_weights_of_tokens_by_hand() -> None:
    """Sources of eight tokens, translations of ten: "red" is only in those, "cat" only in these, "dog" in both."""
    tokenizer = bert_teacher().tokenizer
    texts = ["red red dog dog", "red red dog dog", "cat cat cat cat dog", "cat cat cat cat dog"]
    pairs = np.array([[2, 0], [3, 1]])
    weights_V = source_weights(texts, pairs=pairs, tokenizer=tokenizer, count=len(tokenizer))
    of = {word: tokenizer.convert_tokens_to_ids(word) for word in ("red", "dog", "cat", "house")}
    assert weights_V[of["red"]] == weights_V[of["house"]] == 1.0
    assert weights_V[of["dog"]] == pytest.approx(math.sqrt((5 / 8) / (5 / 8 + 2 / 10)))
    assert weights_V[of["cat"]] == pytest.approx(math.sqrt((1 / 8) / (1 / 8 + 8 / 10)))
    assert weights_V[tokenizer.cls_token_id] == 1.0


def test_a_shared_token_starts_between_both_meanings() -> None:
    """The new language has the word "river" for a cat; the source language hardly has it."""
    texts = [sentence for sentence in toy_sentences(200, seed=1) if "river" not in sentence.split()]
    foreign = [translate(text, "xx").replace("xxcat", "river") for text in texts]
    pairs = np.array([(len(texts) + at, at) for at in range(len(texts))])
    rows = {}
    for vocabulary in ("extend", "blend"):
        student = bert_teacher()
        transplant(student, [*texts, *foreign], pairs=pairs, vocabulary=vocabulary, size=500, min_frequency=2, seed=0)
        river, cat, house = student.tokenizer.convert_tokens_to_ids(["river", "cat", "house"])
        rows[vocabulary] = student.transformer.get_input_embeddings().weight.detach()
    before = bert_teacher().transformer.get_input_embeddings().weight.detach()
    assert torch.equal(rows["extend"][river], before[river])
    nearer = torch.nn.functional.cosine_similarity(rows["blend"][river], before[cat], dim=0)
    assert nearer > torch.nn.functional.cosine_similarity(before[river], before[cat], dim=0) + 0.3
    assert torch.allclose(rows["blend"][house], before[house]), "a word of the source language alone"


def test_ids_without_a_token_keep_their_rows() -> None:
    """A table may have rows that no token has, between tokens and after them."""
    tokenizer = byte_level()
    layout = json.loads(tokenizer.backend_tokenizer.to_str())
    layout["model"]["vocab"]["<far>"] = len(tokenizer) + 10
    special = {role: str(token) for role, token in tokenizer.special_tokens_map.items()}
    gapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(layout)), **special)
    teacher, student = (teacher_of(RobertaModel, RobertaConfig, gapped, rows=384) for _ in range(2))
    texts, pairs = bitext()
    transplant(student, texts, pairs=pairs, vocabulary="extend", size=500, min_frequency=2, seed=0)
    before, after = (encoder.transformer.get_input_embeddings().weight for encoder in (teacher, student))
    first_new = len(tokenizer) + 11
    assert torch.equal(before[:first_new], after[:first_new])
    assert len(after) == student.transformer.config.vocab_size == max(student.tokenizer.get_vocab().values()) + 1
    assert len(after) > first_new + 20
    assert torch.equal(vectors(student, texts[:150]), vectors(teacher, texts[:150]))


def test_the_alignment_tells_how_far_it_is() -> None:
    texts, pairs = bitext()
    told: list[int] = []
    options = {"vocabulary": "extend", "size": 100, "min_frequency": 2, "seed": 0}
    transplant(bert_teacher(), texts, pairs=pairs, advance=told.append, **options)
    assert told == [1] * ITERATIONS


def test_scripts_keep_what_they_need() -> None:
    student = bert_teacher()
    foreign = ["größe ~ österreich", "العربية لغة جميلة", "हिन्दी भाषा", "東京都に行く", "élève à l'école"]
    texts = ["the red cat", "a small ~ dog", "old house", "the river", "a bird"]
    pairs = np.array([(5 + at, at) for at in range(5)] * 1)
    transplant(student, [*texts, *foreign], pairs=pairs, vocabulary="extend", size=500, min_frequency=1, seed=0)
    for text in foreign:
        ids = student.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert student.tokenizer.unk_token_id not in ids, text
        pieces = "".join(student.tokenizer.convert_ids_to_tokens(ids)).replace("##", "")
        assert pieces == text.replace(" ", ""), text
    # One unknown character does not take the sentence with it, and an accent that was never seen is read without it.
    tokens = student.tokenizer.tokenize("東京都☃に行く")
    assert tokens.count(student.tokenizer.unk_token) == 1 and len(tokens) > 2
    assert student.tokenizer.tokenize("ŕiver") == student.tokenizer.tokenize("river")
