"""Tokenizers of BPE and Unigram teachers, extended: the source language stays, the new languages get pieces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from subwords import SCRIPTS, SOURCES, TARGETS, TEACHERS, bare_letters, byte_level, metaspace, unigram, wrapped
from tokenizers import Tokenizer, models, pre_tokenizers
from toys import toy_tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaConfig, XLMRobertaConfig

from mlembed.errors import ConfigError
from mlembed.models.vocabulary import extending_tokenizer

every_kind = pytest.mark.parametrize("kind", TEACHERS)


def extended(
    teacher: PreTrainedTokenizerFast,
    *,
    targets: list[str] = TARGETS,
    sources: list[str] = SOURCES,
    size: int = 400,
    min_frequency: int = 2,
) -> PreTrainedTokenizerFast:
    return extending_tokenizer(targets, sources, teacher=teacher, size=size, min_frequency=min_frequency)


def ids(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def edited(teacher: PreTrainedTokenizerFast, **changes: object) -> PreTrainedTokenizerFast:
    """The teacher with another tokenizer.json."""
    layout = json.loads(teacher.backend_tokenizer.to_str()) | changes
    special = {role: str(token) for role, token in teacher.special_tokens_map.items()}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(layout)), **special)


@every_kind
def test_the_teachers_tokens_and_source_text_stay(kind: str) -> None:
    teacher = TEACHERS[kind]()
    student = extended(teacher)
    own, new = teacher.get_vocab(), student.get_vocab()
    assert own.items() <= new.items()
    assert sorted(new.values()) == list(range(len(new)))
    assert len(new) > len(own) + 50
    assert student(SOURCES)["input_ids"] == teacher(SOURCES)["input_ids"]
    around = ("the cat <mask> house", "a river")
    assert student(*around)["input_ids"] == teacher(*around)["input_ids"]
    layouts = [json.loads(tokenizer.backend_tokenizer.to_str()) for tokenizer in (teacher, student)]
    for part in ("added_tokens", "post_processor", "decoder"):
        assert layouts[0][part] == layouts[1][part]


@every_kind
def test_each_script_gets_pieces(kind: str) -> None:
    teacher = TEACHERS[kind]()
    student = extended(teacher)
    for script, texts in SCRIPTS.items():
        before, after = ids(teacher, texts), ids(student, texts)
        assert sum(map(len, after)) <= 0.6 * sum(map(len, before)), script
        assert not any(teacher.unk_token_id in tokens for tokens in after), script
        # Nothing is lost, marks and accents neither; but a teacher in lower case stays one.
        for text, tokens in zip(texts, after, strict=True):
            assert student.decode(tokens) in (text, text.lower())


def split_by_pattern() -> PreTrainedTokenizerFast:
    """As Llama 3's and Qwen's: the pattern stands outside of ByteLevel."""
    pattern = {"Regex": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    byte = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return edited(byte_level(), pre_tokenizer={"type": "Sequence", "pretokenizers": [split, byte]})


@pytest.mark.parametrize("make", [byte_level, split_by_pattern])
def test_marks_stay_with_their_letters(make: Callable[[], PreTrainedTokenizerFast]) -> None:
    """Vowel signs of Devanagari are no letters to a pattern: pieces would end at each."""
    student = extended(make())
    assert len(student.tokenize("हिन्दी")) == 1
    # Emoji are cut as before: their variation selector is a mark, too.
    assert ids(student, ["the dog ❤️ a cat"]) == ids(make(), ["the dog ❤️ a cat"])


@pytest.mark.parametrize("kind", ["end_of_word", "bare_letters"])
def test_accents_that_no_piece_has_are_read_as_the_teacher_did(kind: str) -> None:
    student = extended(TEACHERS[kind]())
    assert student.tokenize("ŕiver") == student.tokenize("river") == TEACHERS[kind]().tokenize("river")
    assert "ö" in "".join(student.tokenize("größe"))


@every_kind
def test_pieces_of_source_text_are_not_made_nor_built_on(kind: str) -> None:
    """A zebra is frequent in the other language, and the teacher takes it apart in source text."""
    teacher = TEACHERS[kind]()
    targets = [*TARGETS, *["ein zebra", "das zebrafell", "das fell"] * 5]
    alone = extended(teacher, targets=targets, sources=["the cat"])
    assert len(alone.tokenize("ein zebra")) == 2
    student = extended(teacher, targets=targets)
    assert ids(student, ["a vexing zebra"]) == ids(teacher, ["a vexing zebra"])
    assert len(student.tokenize("das fell")) == 2
    new = student.get_vocab().keys() - teacher.get_vocab().keys()
    assert "zebra" not in {student.decode(student.convert_tokens_to_ids([piece])).strip() for piece in new}


@every_kind
def test_source_text_with_foreign_names_takes_no_pieces_away(kind: str) -> None:
    """Bytes that the last name begins with are a piece, since words in targets begin with them, too."""
    names = ["the Größe of 东京", "a река", "a Щ"]
    student, alone = extended(TEACHERS[kind](), sources=[*SOURCES, *names]), extended(TEACHERS[kind]())
    assert ids(student, TARGETS) == ids(alone, TARGETS)


@every_kind
def test_characters_stay_where_source_text_has_them(kind: str) -> None:
    """Without them, the text in the new languages is unknown."""
    student = extended(TEACHERS[kind](), targets=[*TARGETS, "ein ~ Haus"], sources=[*SOURCES, "the ~ cat"])
    assert student.unk_token_id not in ids(student, ["ein ~ Haus"])[0]


@every_kind
def test_pieces_are_within_words(kind: str) -> None:
    """Punctuation is no part of a word, nor is the next text."""
    student = extended(TEACHERS[kind](), targets=["река,", "дом.", "(дом", "река", "дом"] * 20)
    pieces = {student.decode([at]).strip() for at in student.get_vocab().values()}
    assert {"река", "дом"} <= pieces
    letters = {piece for piece in pieces if any(unicodedata.category(one)[0] == "L" for one in piece)}
    assert not [piece for piece in letters - {"<s>", "</s>", "<pad>", "<unk>", "<mask>"} if set(piece) & set(",.()")]
    assert "рекадом" not in "".join(pieces - {"река", "дом"})


def test_a_merge_does_not_make_a_piece_of_the_teacher_in_a_new_way() -> None:
    merges = [("a", "b"), ("b", "c"), ("a", "bc")]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"\u2581abcd", "ab", "bc", "abc"]
    model = models.BPE({piece: at for at, piece in enumerate(pieces)}, merges, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    teacher = wrapped(tokenizer)
    student = extended(teacher, targets=["dabc", "cabc", "abca", "dd"] * 9, sources=["a"])
    assert teacher.get_vocab().items() <= student.get_vocab().items()
    assert teacher.tokenize("abc") == student.tokenize("abc") == ["\u2581", "ab", "c"]
    assert len(student) > len(teacher)


def test_scores_are_not_lower_than_the_teachers() -> None:
    """The score of an unknown character is counted from the lowest, and source text has such."""
    layout = json.loads(unigram().backend_tokenizer.to_str())["model"]
    flat = layout | {"vocab": [[piece, score / 10] for piece, score in layout["vocab"]]}
    student = extended(edited(unigram(), model=flat))
    scores = dict(json.loads(student.backend_tokenizer.to_str())["model"]["vocab"])
    assert min(scores.values()) == min(score for _, score in flat["vocab"])


def test_unigram_keeps_no_piece_that_is_seen_in_longer_ones_alone() -> None:
    student = extended(unigram())
    new = {piece for piece in student.get_vocab().keys() - unigram().get_vocab().keys() if len(piece) > 1}
    assert new and new <= {token for text in TARGETS for token in student.tokenize(text)}


@every_kind
def test_size_and_frequency_bound_the_pieces(kind: str) -> None:
    teacher = TEACHERS[kind]()
    few, many = (len(extended(teacher, size=size)) for size in (110, 400))
    assert len(teacher) < few < many
    assert few <= max(len(teacher) + 110, len(extended(teacher, size=0)))
    rare = extended(teacher, targets=[*TARGETS, "неповторимо"])
    assert "неповторимо" not in [rare.decode([token]).strip() for token in rare.get_vocab().values()]
    assert rare.unk_token_id not in ids(rare, ["неповторимо"])[0]


def test_added_tokens_beyond_the_pieces_and_gaps_keep_their_ids() -> None:
    """DeBERTa's mask has no score, but an id after the last piece; some teachers leave ids out."""
    for make in (unigram, metaspace):
        teacher = make()
        layout = json.loads(teacher.backend_tokenizer.to_str())
        room = len(teacher) + (0 if make is unigram else 7)
        added = [*layout["added_tokens"], {**layout["added_tokens"][0], "id": room, "content": "<extra>"}]
        if make is metaspace:
            layout["model"]["vocab"] = layout["model"]["vocab"] | {"<extra>": room}
        teacher = edited(teacher, added_tokens=added, model=layout["model"])
        assert teacher.convert_tokens_to_ids("<extra>") == room
        student = extended(teacher)
        new = set(student.get_vocab().values()) - set(teacher.get_vocab().values())
        assert new == set(range(room + 1, room + 1 + len(new))) and len(new) > 50
        assert teacher.get_vocab().items() <= student.get_vocab().items()
        assert ids(student, ["the <extra> cat"]) == ids(teacher, ["the <extra> cat"])
        assert room in ids(student, ["the <extra> cat"])[0]


def test_padding_and_truncation_of_the_teacher_are_not_learnt_from() -> None:
    """A folder may ask for both; then texts that are longer would be cut while pieces are learnt."""
    teacher = byte_level()
    teacher.backend_tokenizer.enable_truncation(2)
    teacher.backend_tokenizer.enable_padding(length=2)
    assert extended(teacher).get_vocab() == extended(byte_level()).get_vocab()


PROGRAM = """
import json, sys
from test_extension import extended
from transformers import PreTrainedTokenizerFast
teachers = map(PreTrainedTokenizerFast.from_pretrained, sys.argv[1:])
print(json.dumps([extended(teacher).backend_tokenizer.to_str() for teacher in teachers]))
"""


def test_any_process_finds_the_same_vocabulary(tmp_path: Path) -> None:
    """A run that is resumed learns its vocabulary again, and has embeddings for the one that it had."""
    teachers = [make() for make in TEACHERS.values()]
    folders = [tmp_path / kind for kind in TEACHERS]
    for teacher, folder in zip(teachers, folders, strict=True):
        teacher.save_pretrained(folder)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    other = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = [json.loads(layout) for layout in json.loads(other.stdout)]
    assert found == [json.loads(extended(teacher).backend_tokenizer.to_str()) for teacher in teachers]


@every_kind
def test_a_saved_tokenizer_is_the_same(kind: str, tmp_path: Path) -> None:
    student = extended(TEACHERS[kind]())
    student.save_pretrained(tmp_path)
    texts = [*SOURCES[-10:], *TARGETS, "the <mask> ŕiver"]
    assert ids(PreTrainedTokenizerFast.from_pretrained(tmp_path), texts) == ids(student, texts)
    for config in (RobertaConfig, XLMRobertaConfig):
        # Transformers may build a tokenizer of the model's own class: it is not to do so.
        config(vocab_size=len(student)).save_pretrained(tmp_path)
        again = AutoTokenizer.from_pretrained(tmp_path)
        assert again(texts)["input_ids"] == student(texts)["input_ids"]
        assert again.model_input_names == student.model_input_names and again.mask_token == "<mask>"


def test_a_teacher_without_pieces_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"WordLevel; use model\.vocabulary=replace"):
        extended(toy_tokenizer())


def test_the_habits_of_the_teacher_stay() -> None:
    teacher = byte_level()
    teacher.model_input_names = ["input_ids"]
    teacher.padding_side = teacher.truncation_side = "left"
    student = extended(teacher)
    assert list(student(["the", "the cat"], padding=True)) == ["input_ids"]
    assert student.padding_side == student.truncation_side == "left"


def test_letters_in_upper_case_are_what_they_were() -> None:
    assert bare_letters().tokenize("HOUSE") == extended(bare_letters()).tokenize("HOUSE")
    assert extended(byte_level()).tokenize("HOUSE") != extended(byte_level()).tokenize("house")
