"""What the model sees of a few rows: the text, its tokens, and what it is to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlembed.data.examples import Example
from mlembed.data.label_plan import LabelPlan
from mlembed.data.plan import BatchPlan
from mlembed.models.text_model import TextModel
from mlembed.tasks.embedding import Targets

SHOWN_ROWS = 3
SHOWN_NUMBERS = 4


@dataclass(frozen=True)
class Seen:
    """One row.

    Args:
        place: `file:line`.
        role: `source`, or the language of a translation or text.
        text: as it was read.
        tokens: what the tokenizer makes of it, as far as the model reads it.
        label: what the model is to answer.
    """

    place: str
    role: str
    text: str
    tokens: list[str]
    label: str


def seen_pairs(plan: BatchPlan, *, student: TextModel, targets_SD: Targets | None) -> list[Seen]:
    """A source and translations out of the first batch of the first epoch; what they are learnt from, where known."""
    corpus, entries = plan.corpus, plan.epoch(0)[0]
    is_source = entries < plan.first_member
    chosen = np.concatenate([entries[is_source][:1], entries[~is_source]])[:SHOWN_ROWS]
    ids_BT, mask_BT = plan.tokens.padded(plan.texts(chosen), device=torch.device("cpu"))
    texts, sources = corpus.texts[plan.texts(chosen)], plan.sources(chosen)
    vectors_BD = None if targets_SD is None else np.asarray(targets_SD[sources], dtype=np.float32)
    seen = []
    for at, entry in enumerate(chosen.tolist()):
        member = entry - plan.first_member
        is_translation = member >= 0
        role = corpus.languages[int(corpus.language_of_members[member])] if is_translation else "source"
        of = repr(corpus.sources[int(sources[at])]) if is_translation else "it"
        label = f"the teacher's {'answer to' if vectors_BD is None else 'vector of'} {of}"
        label += "" if vectors_BD is None else f": {_numbers(vectors_BD[at])}"
        tokens = _tokens(student, ids_BT[at][mask_BT[at] == 1].tolist())
        seen.append(Seen(plan.places(chosen[at : at + 1])[0], role, texts[at], tokens, label))
    return seen


def seen_examples(plan: LabelPlan, examples: Sequence[Example], *, student: TextModel) -> list[Seen]:
    """Rows out of the first batch of the first epoch."""
    seen = []
    for number in plan.epoch(0)[0][:SHOWN_ROWS].tolist():
        one = examples[number]
        padded = plan.inputs.padded(np.array([number]), device=torch.device("cpu"))
        tokens: list[str] = []
        for ids_T, mask_T in zip(padded.ids_BT, padded.mask_BT, strict=True):
            tokens += _tokens(student, ids_T[mask_T == 1].tolist())
        answer = " ".join(one.answer) if isinstance(one.answer, tuple) else str(one.answer)
        label = answer or "no label"
        if padded.position_M is not None and isinstance(one.answer, tuple):
            # Of each word its first token answers.
            first = padded.position_M.tolist()
            label = " ".join(f"{tokens[at]}={tag}" for at, tag in zip(first, one.answer, strict=False))
        seen.append(Seen(one.place, one.language, " | ".join(one.texts), tokens, label))
    return seen


def _tokens(student: TextModel, ids: list[int]) -> list[str]:
    return [str(token) for token in student.tokenizer.convert_ids_to_tokens(ids)]


def _numbers(vector_D: np.ndarray) -> str:
    shown = " ".join(f"{value:+.3f}" for value in vector_D[:SHOWN_NUMBERS].tolist())
    return f"{shown} … ({len(vector_D)} dimensions, length {float(np.linalg.norm(vector_D)):.3f})"
