"""The joint objective: the sums of its terms are those of a plain computation, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlembed.data.examples import LabelSet
from mlembed.data.label_plan import LabelBatch, LabelPlan
from mlembed.data.plan import Batch
from mlembed.inputs import Inputs
from mlembed.losses.soft_labels import make_soft_labels
from mlembed.tasks.answering import Answering
from mlembed.tasks.classification import Classification
from mlembed.tasks.embedding import DISTILLATION
from mlembed.tasks.joint import REPRESENTATION, SUPERVISED, UNLABELLED, JointTask, LearningTeacher
from mlembed.tasks.token_classification import TokenClassification
from mlembed.tokens import TokenTable

CPU = torch.device("cpu")
LENGTHS = [3, 5, 2, 4]
LABELS = ("O", "B-PER", "I-PER")
# Of 2, 3, 1 and 2 words; the last word of the second row was cut off.
FIRST_W = np.array([0, 2, 0, 1, -1, 1, 0, 3])
WORD_OFFSETS = np.array([0, 2, 5, 6, 8])
ROW_WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0])


class Reader(nn.Module):
    """A model with a head: a text's answer is the mean of its tokens', a word's that of its first token."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(30, len(LABELS), generator=generator))

    def forward(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        types_BT: Tensor | None = None,
        row_M: Tensor | None = None,
        position_M: Tensor | None = None,
        *,
        with_representation: bool = False,
    ) -> Any:
        if row_M is not None:
            return self.table[ids_BT[row_M, position_M]]
        mask_BT1 = mask_BT[:, :, None]
        logits_BL = (self.table[ids_BT] * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1)
        return (logits_BL, 2 * logits_BL + 1) if with_representation else logits_BL

    def text(self, ids: Sequence[int]) -> Tensor:
        """The answer to one text, plainly."""
        return self.table[torch.tensor(list(ids))].mean(dim=0)


def inputs(*, of: str, first: int = 1) -> Inputs:
    offsets = np.cumsum([0, *LENGTHS])
    tokens = TokenTable(np.arange(offsets[-1], dtype=np.int32) + first, offsets, pad_id=0)
    return Inputs(tokens) if of == "text" else Inputs(tokens, first_W=FIRST_W, word_offsets=WORD_OFFSETS)


def answering(of: str) -> Answering:
    labels = LabelSet(LABELS)
    if of == "words":
        return TokenClassification(labels, smoothing=0.0)
    return Classification(
        labels, several=False, train=[], balanced_weights=False, balanced_sampling=False, smoothing=0.0
    )


def label_batch(of: str, rows: Sequence[int] = (2, 0, 1)) -> LabelBatch:
    plan = LabelPlan(inputs(of=of), places=[""] * 4, batch_tokens=100, seed=0, row_weights_N=ROW_WEIGHTS)
    return plan.batch(np.array(rows), device=CPU)


ANSWERS = {"text": np.array([1, 0, 2, 2]), "words": np.array([1, 0, 0, 1, 2, 0, 1, 2])}
TARGETS = {
    DISTILLATION: np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16),
    REPRESENTATION: np.random.default_rng(1).normal(size=(5, 3)).astype(np.float16),
    UNLABELLED: np.random.default_rng(2).normal(size=(8, 3)).astype(np.float16),
}
WEIGHTS = {SUPERVISED: 1.0, DISTILLATION: 1.0, UNLABELLED: 1.0}


def make_task(
    of: str = "text", *, teacher: LearningTeacher | None = None, representation: float = 0.0, **options: Any
) -> JointTask:
    given: dict[str, Any] = {"weights": WEIGHTS, "final_weights": WEIGHTS, "targets": TARGETS} | options
    return JointTask(
        answering(of),
        distance=make_soft_labels("kl", temperature=2.0, problem="one"),
        answers=ANSWERS[of],
        representation=representation,
        teacher=teacher,
        **given,
    )


def plain_kl(student_L: Tensor, teacher_L: Tensor) -> Tensor:
    p_L, q_L = (teacher_L / 2).softmax(dim=0), (student_L / 2).softmax(dim=0)
    return 4 * (p_L * (p_L / q_L).log()).sum()


def read_words(rows: Sequence[int]) -> list[tuple[int, int, int]]:
    """(row, word, id of its first token) of all words that were read."""
    starts = np.cumsum([0, *LENGTHS])
    return [
        (row, word, int(starts[row] + FIRST_W[word]) + 1)
        for row in rows
        for word in range(WORD_OFFSETS[row], WORD_OFFSETS[row + 1])
        if FIRST_W[word] >= 0
    ]


def row_ids(row: int, *, first: int = 1) -> range:
    starts = np.cumsum([0, *LENGTHS])
    return range(int(starts[row]) + first, int(starts[row + 1]) + first)


def units(of: str, student: Reader, rows: Sequence[int]) -> list[tuple[int, int, Tensor]]:
    """(row, number of the answer, logits) of each answer of some rows, plainly."""
    if of == "text":
        return [(row, row, student.text(row_ids(row))) for row in rows]
    return [(row, word, student.table[token]) for row, word, token in read_words(rows)]


@pytest.mark.parametrize("of", ["text", "words"])
def test_people_s_answers(of: str) -> None:
    student, batch = Reader(0), label_batch(of)
    output = make_task(of).loss(student, SUPERVISED, batch)
    found = units(of, student, [2, 0, 1])
    wanted = sum(
        ROW_WEIGHTS[row] * F.cross_entropy(logits_L, torch.tensor(int(ANSWERS[of][number])))
        for row, number, logits_L in found
    )
    torch.testing.assert_close(output.sum, torch.as_tensor(wanted), check_dtype=False)
    assert output.count.item() == pytest.approx(sum(ROW_WEIGHTS[row] for row, _, _ in found))


@pytest.mark.parametrize("of", ["text", "words"])
def test_a_frozen_teacher_s_answers_to_rows_without_labels(of: str) -> None:
    student, batch = Reader(0), label_batch(of)
    output = make_task(of).loss(student, UNLABELLED, batch)
    found = units(of, student, [2, 0, 1])
    wanted = sum(
        ROW_WEIGHTS[row] * plain_kl(logits_L, torch.from_numpy(TARGETS[UNLABELLED][number]).float())
        for row, number, logits_L in found
    )
    torch.testing.assert_close(output.sum, torch.as_tensor(wanted), check_dtype=False)
    assert output.count.item() == pytest.approx(sum(ROW_WEIGHTS[row] for row, _, _ in found))


def test_a_teacher_s_answer_that_is_not_finite_is_not_passed_over() -> None:
    """Of texts each is read, so that a missing number is a mistake; of words some were cut off."""
    for of, is_finite in (("text", False), ("words", True)):
        task, batch = make_task(of), label_batch(of)
        targets = np.array(task.targets[UNLABELLED])
        targets[batch.answers_M[0]] = np.nan
        task.targets = {**task.targets, UNLABELLED: targets}
        assert bool(torch.isfinite(task.loss(Reader(0), UNLABELLED, batch).sum)) is is_finite


@pytest.mark.parametrize("of", ["text", "words"])
def test_the_joint_loss_of_a_batch_is_that_of_its_pieces(of: str) -> None:
    task, student = make_task(of), Reader(0)
    assert task.can_be_cut
    for term in (SUPERVISED, UNLABELLED):
        whole = task.loss(student, term, label_batch(of)).sum
        pieces = [task.loss(student, term, label_batch(of, rows=rows)).sum for rows in ([2], [0, 1])]
        torch.testing.assert_close(torch.stack(pieces).sum(), whole)


def parallel_batch() -> Batch:
    """Three texts of two sources, numbers 4 and 1; the last text is shorter."""
    return Batch(
        ids_BT=torch.tensor([[5, 6], [7, 8], [9, 0]]),
        mask_BT=torch.tensor([[1, 1], [1, 1], [1, 0]]),
        source_G=np.array([4, 1]),
        group_B=torch.tensor([0, 1, 1]),
        weight_B=torch.tensor([1.0, 1.0, 0.25]),
        tokens=5,
    )


def test_a_frozen_teacher_s_answers_to_sources() -> None:
    student, batch = Reader(0), parallel_batch()
    texts = [student.text(ids) for ids in ([5, 6], [7, 8], [9])]
    teacher = torch.from_numpy(TARGETS[DISTILLATION][[4, 1, 1]]).float()
    costs = [plain_kl(*pair) for pair in zip(texts, teacher, strict=True)]
    output = make_task().loss(student, DISTILLATION, batch)
    torch.testing.assert_close(output.sum, costs[0] + costs[1] + 0.25 * costs[2])
    assert output.count.item() == 2.25
    # And what the head reads, relative to the teacher's length.
    vectors = torch.from_numpy(TARGETS[REPRESENTATION][[4, 1, 1]]).float()
    apart = [
        ((2 * text + 1 - vector) ** 2).sum() / (vector**2).sum() for text, vector in zip(texts, vectors, strict=True)
    ]
    both = make_task(representation=0.5).loss(student, DISTILLATION, batch)
    torch.testing.assert_close(both.sum, output.sum + 0.5 * (apart[0] + apart[1] + 0.25 * apart[2]))


def learning(teacher: Reader, *, of: str) -> LearningTeacher:
    """A teacher with other token ids than the student."""
    read = inputs(of=of, first=10)
    return LearningTeacher(
        teacher,  # type: ignore[arg-type]
        tokens=read.tokens,
        unlabelled=read,
        supervised=read,
        is_source_N=np.array([True, False, True, True]),
    )


@pytest.mark.parametrize("of", ["text", "words"])
def test_a_teacher_that_learns_has_rows_of_its_language_with_their_weights(of: str) -> None:
    student, teacher, batch = Reader(0), Reader(1), label_batch(of)
    output = make_task(of, teacher=learning(teacher, of=of), targets={}).loss(student, SUPERVISED, batch)
    alone = make_task(of).loss(student, SUPERVISED, batch)
    if of == "text":
        own = [(row, row, teacher.text(row_ids(row, first=10))) for row in (2, 0)]
    else:
        own = [(row, word, teacher.table[token + 9]) for row, word, token in read_words([2, 0])]
    wanted = sum(
        ROW_WEIGHTS[row] * F.cross_entropy(logits_L, torch.tensor(int(ANSWERS[of][number])))
        for row, number, logits_L in own
    )
    torch.testing.assert_close(output.sum, alone.sum + wanted, check_dtype=False)
    assert output.count.item() == alone.count.item()
    output.sum.backward()
    assert teacher.table.grad is not None and teacher.table.grad.abs().sum() > 0
    foreign = make_task(of, teacher=learning(teacher, of=of)).loss(student, SUPERVISED, label_batch(of, [1]))
    torch.testing.assert_close(foreign.sum, make_task(of).loss(student, SUPERVISED, label_batch(of, [1])).sum)


def test_a_teacher_that_learns_answers_anew() -> None:
    student, teacher = Reader(0), Reader(1)
    task = make_task(teacher=learning(teacher, of="text"), targets={})
    output = task.loss(student, UNLABELLED, label_batch("text", [3, 1]))
    wanted = sum(
        ROW_WEIGHTS[row] * plain_kl(student.text(row_ids(row)), teacher.text(row_ids(row, first=10))) for row in (3, 1)
    )
    torch.testing.assert_close(output.sum, torch.as_tensor(wanted), check_dtype=False)
    batch = parallel_batch()
    batch = Batch(batch.ids_BT, batch.mask_BT, np.array([3, 1]), batch.group_B, batch.weight_B, batch.tokens)
    texts = [student.text(ids) for ids in ([5, 6], [7, 8], [9])]
    answers = [teacher.text(row_ids(row, first=10)) for row in (3, 1, 1)]
    costs = [plain_kl(*pair) for pair in zip(texts, answers, strict=True)]
    output = task.loss(student, DISTILLATION, batch)
    torch.testing.assert_close(output.sum, costs[0] + costs[1] + 0.25 * costs[2])
    output.sum.backward()
    assert student.table.grad is not None and student.table.grad.abs().sum() > 0
    assert teacher.table.grad is None, "it learns from labels alone"
    assert task.learners() == (teacher,) and make_task().learners() == ()


@pytest.mark.parametrize(
    ("progress", "wanted"), [(0.0, (1.0, 0.5)), (0.25, (0.75, 0.875)), (0.5, (0.5, 1.25)), (1.0, (0.0, 2.0))]
)
def test_weights_go_in_a_straight_line(progress: float, wanted: tuple[float, float]) -> None:
    first: Mapping[str, float] = {SUPERVISED: 1.0, DISTILLATION: 0.5}
    last = {DISTILLATION: 2.0, SUPERVISED: 0.0}
    task = make_task(weights=first, final_weights=last)
    assert task.weights(progress) == pytest.approx(dict(zip(first, wanted, strict=True)))
