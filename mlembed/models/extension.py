"""What all kinds of tokenizers need to be extended: the teacher's layout, and source text that stays as it was."""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers

from mlembed.tokens import TOKENIZER_BATCH

# A tokenizer with further pieces, less those that are named.
Extension = Callable[[Set[str]], Tokenizer]

# The mark of SentencePiece before a word.
WORD_START = "\u2581"
# Latin letters with accents; those that no piece has are read as the bare letter.
ACCENTED = range(0xC0, 0x250)
# How ByteLevel cuts text. It knows no marks, so that it takes Devanagari apart at each vowel sign.
BYTE_LEVEL_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LETTERS, LETTERS_WITH_MARKS = r"\p{L}+", r"\p{L}[\p{L}\p{M}]*"


def open_layout(teacher: Any) -> dict[str, Any]:
    """The teacher's tokenizer.json, with a normalizer and a pre-tokenizer that leave other languages whole.

    Accents stay, and so do marks with their letters and Chinese words. Padding and truncation are left out: they are
    what the last call of the tokenizer asked for, and are asked for anew at each.

    Args:
        teacher: a tokenizer of transformers.
    """
    layout: dict[str, Any] = json.loads(teacher.backend_tokenizer.to_str())
    layout["normalizer"] = _keep_accents(layout["normalizer"], stripping=strips_accents(teacher))
    layout["pre_tokenizer"] = _keep_marks(layout["pre_tokenizer"])
    return layout | {"truncation": None, "padding": None}


def strips_accents(teacher: Any) -> bool:
    """Whether the teacher reads letters with accents as bare ones."""
    normalizer = teacher.backend_tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("é") == normalizer.normalize_str("e")


def _keep_accents(node: Any, *, stripping: bool) -> Any:
    """A normalizer of tokenizer.json that strips no accents, and composes what was taken apart to strip them."""
    if node is None:
        return None
    kind = node["type"]
    if kind == "Sequence":
        return node | {"normalizers": [_keep_accents(part, stripping=stripping) for part in node["normalizers"]]}
    if kind == "BertNormalizer":
        plain = node | {"strip_accents": False, "handle_chinese_chars": False}
        return {"type": "Sequence", "normalizers": [{"type": "NFC"}, plain]}
    if stripping and kind in ("NFD", "NFKD", "StripAccents"):
        return {"type": "NFKC" if kind == "NFKD" else "NFC"}
    return node


def _keep_marks(node: Any) -> Any:
    """A pre-tokenizer of tokenizer.json that does not cut between a letter and its marks.

    Text without such marks is cut as before, emoji with variation selectors among it.
    """
    if node is None:
        return node
    if node["type"] == "Sequence":
        return node | {"pretokenizers": [_keep_marks(part) for part in node["pretokenizers"]]}
    if node["type"] == "Split" and LETTERS in node["pattern"].get("Regex", ""):
        return node | {"pattern": {"Regex": node["pattern"]["Regex"].replace(LETTERS, LETTERS_WITH_MARKS)}}
    # Cut beforehand, ByteLevel would put its space before every part, not before the first alone.
    if node["type"] == "ByteLevel" and node["use_regex"] and not node["add_prefix_space"]:
        pattern = {"Regex": BYTE_LEVEL_WORDS.replace(LETTERS, LETTERS_WITH_MARKS)}
        split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
        return {"type": "Sequence", "pretokenizers": [split, node | {"use_regex": False}]}
    return node


def layout_vocabulary(layout: dict[str, Any]) -> dict[str, int]:
    """All tokens of a tokenizer.json with their ids, added ones included."""
    pieces = layout["model"]["vocab"]
    # Unigram lists pieces with their scores, in the order of their ids.
    known = pieces if isinstance(pieces, dict) else {piece: at for at, (piece, _) in enumerate(pieces)}
    return known | {token["content"]: token["id"] for token in layout["added_tokens"]}


def table_size(vocabulary: dict[str, int]) -> int:
    """Rows that a table of embeddings needs: ids may have gaps, so it is not the number of tokens."""
    return max(vocabulary.values()) + 1


def spelled(piece: str, *, tokenizer: Tokenizer) -> str:
    """What a piece stands for in a text, without marks of words; U+FFFD for a part of a character."""
    text = tokenizer.decoder.decode([piece]) if tokenizer.decoder is not None else piece
    return str(text).replace(WORD_START, "")


def keep_source(extension: Extension, sources: Sequence[str], *, first_new: int) -> Tokenizer:
    """The extended tokenizer without the pieces that would change source text.

    Those with letters outside ASCII stay: source text has them in names alone, and the new languages need them.

    Args:
        extension: gives the tokenizer without some of its new pieces; it may keep what it must.
        sources: texts in the source language.
        first_new: new pieces have this id or a higher one.
    """
    dropped: set[str] = set()
    while True:
        tokenizer = extension(dropped)
        # Only where a new piece occurs can there be another one when it is gone.
        sources, found = _with_new_pieces(sources, tokenizer=tokenizer, first_new=first_new)
        foreign = {piece for piece in found if _could_be_source(spelled(piece, tokenizer=tokenizer))}
        if foreign <= dropped:
            return tokenizer
        dropped |= foreign


def _with_new_pieces(texts: Sequence[str], *, tokenizer: Tokenizer, first_new: int) -> tuple[list[str], set[str]]:
    """The texts that have new pieces, and these pieces."""
    having: list[str] = []
    found: set[int] = set()
    for start in range(0, len(texts), TOKENIZER_BATCH):
        batch = list(texts[start : start + TOKENIZER_BATCH])
        for text, encoded in zip(batch, tokenizer.encode_batch_fast(batch, add_special_tokens=False), strict=True):
            new = {token for token in encoded.ids if token >= first_new}
            if new:
                having.append(text)
                found |= new
    return having, {str(tokenizer.id_to_token(token)) for token in found}


def _could_be_source(text: str) -> bool:
    """Whether a text has no letters, marks or digits beyond ASCII."""
    return "\ufffd" not in text and all(
        character.isascii() or unicodedata.category(character)[0] not in "LMN" for character in text
    )


def accent_folds(knows: Callable[[str], bool]) -> list[normalizers.Normalizer]:
    """Normalizers that read accented letters without their accents, where the letter is not known with them.

    Args:
        knows: whether there are pieces for a letter.
    """
    bare: dict[str, list[str]] = defaultdict(list)
    for character in map(chr, ACCENTED):
        letter = unicodedata.normalize("NFD", character)[0]
        if letter != character and not knows(character):
            bare[letter].append(character)
    return [normalizers.Replace(Regex(f"[{''.join(accented)}]"), letter) for letter, accented in bare.items()]


def assembled(layout: dict[str, Any], *, folds: bool) -> Tokenizer:
    """The tokenizer of a tokenizer.json.

    Args:
        layout: the content of tokenizer.json.
        folds: read accents that no piece has as the teacher did, as bare letters.
    """
    tokenizer = Tokenizer.from_str(json.dumps(layout))
    if folds:
        unknown = _unknown_id(tokenizer, model=layout["model"])

        def knows(character: str) -> bool:
            ids = tokenizer.encode(character, add_special_tokens=False).ids
            return bool(ids) and unknown not in ids

        tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer, *accent_folds(knows)])
    return tokenizer


def _unknown_id(tokenizer: Tokenizer, *, model: dict[str, Any]) -> int | None:
    if model["type"] == "Unigram":
        return model["unk_id"]  # type: ignore[no-any-return]
    return None if model["unk_token"] is None else tokenizer.token_to_id(model["unk_token"])
