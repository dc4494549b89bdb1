"""Each setting of the joint loss changes the losses that it should, and no others."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from crashes import records
from label_toys import (
    HEADER,
    label_command,
    label_folder,
    labelled_rows,
    trained,
    with_parallel,
    with_unlabelled,
    write_table,
)

STEPS = 4


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = label_folder(tmp_path_factory.mktemp("labels"))
    write_table(folder / "uneven.tsv", HEADER, labelled_rows(120, languages=("en", "yy"), seed=1, common=6))
    return folder


@functools.cache
def steps(folder: Path, *settings: str) -> list[dict[str, Any]]:
    """The first steps of a run whose labels are not equally frequent."""
    run = folder / f"run-{len(list(folder.iterdir()))}"
    more = [with_parallel(folder), with_unlabelled(folder), f"trainer.max_steps={STEPS}", "task.fine_tuning.epochs=2"]
    trained(label_command(folder, run=run, train="uneven.tsv"), *more, *settings)
    return [record for record in records(run) if "loss" in record]


def first(folder: Path, *settings: str) -> dict[str, float]:
    found: dict[str, float] = steps(folder, *settings)[0]["losses"]
    return found


DISTILLED, UNLABELLED, SUPERVISED = "distillation", "unlabelled", "supervised"


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("loss.distance=mse", {DISTILLED, UNLABELLED}),
        pytest.param("loss.distance=hard", {DISTILLED, UNLABELLED}, marks=pytest.mark.slow),
        pytest.param("loss.temperature=8", {DISTILLED, UNLABELLED}, marks=pytest.mark.slow),
        ("loss.representation=0", {DISTILLED}),
        pytest.param("task.sampling=balanced", {DISTILLED, UNLABELLED, SUPERVISED}, marks=pytest.mark.slow),
        pytest.param("task.class_weights=balanced", {DISTILLED, UNLABELLED, SUPERVISED}, marks=pytest.mark.slow),
        pytest.param("loss.label_smoothing=0.3", {DISTILLED, UNLABELLED, SUPERVISED}, marks=pytest.mark.slow),
    ],
)
def test_what_a_setting_changes(folder: Path, setting: str, changed: set[str]) -> None:
    """What people say is learnt by the teacher too, so settings of that change all terms."""
    # The student differs from its teacher by what is dropped out, also where it reads the same.
    drops = "model.student.dropout=0.1"
    before, after = first(folder, drops), first(folder, drops, setting)
    assert {term for term in before if after[term] != before[term]} == changed


def test_the_representation_is_a_part_of_the_distillation(folder: Path) -> None:
    drops = "model.student.dropout=0.1"
    assert 0 < first(folder, drops, "loss.representation=0")[DISTILLED] < first(folder, drops)[DISTILLED]


def test_final_weights_are_reached_in_a_straight_line(folder: Path) -> None:
    found = steps(folder, "loss.weights.distillation=3", "loss.final_weights={supervised: 0.0, unlabelled: 2.0}")
    assert len(found) == STEPS
    for at, one in enumerate(found):
        losses, share = one["losses"], at / STEPS
        wanted = 3 * losses[DISTILLED] + (1 + share) * losses[UNLABELLED] + (1 - share) * losses[SUPERVISED]
        assert one["loss"] == pytest.approx(wanted)


@pytest.mark.slow
def test_a_term_with_the_weight_0_is_not_computed(folder: Path) -> None:
    found = steps(folder, "loss.weights.supervised=0")
    assert all(set(one["losses"]) == {DISTILLED, UNLABELLED} for one in found)
