"""Ends a trial at an evaluation when others do better, and reads from a run what it scored."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from mlembed.errors import Pruned
from mlembed.files import write_atomically
from mlembed.run.directory import METRICS, PRUNED

log = logging.getLogger("mlembed")


class AskAtEvaluations:
    """Tells the study each evaluation of a run, and ends the run when the study says so.

    Args:
        trial: of the study.
        run: the run directory.
    """

    def __init__(self, trial: optuna.Trial, run: Path) -> None:
        self.trial, self.run = trial, run
        self.told = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.has_warned = False

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Follow a run; see `RunDirectory.followers`.

        Raises:
            Pruned: others do better.
        """
        if "evaluation" not in record or record["step"] == 0:
            return
        # From the file, which a run that goes on has kept: the evaluations of all trials are counted alike.
        number = len(evaluations(self.run))
        if self._should_end(record["value"], number):
            document = {"step": record["step"], "evaluation": number, "value": record["value"]}
            write_atomically(self.run / PRUNED, json.dumps(document, indent=1) + "\n")
            raise Pruned(f"pruned after step {record['step']}: others do better at evaluation {number}")

    def _should_end(self, value: float, number: int) -> bool:
        try:
            # A run that goes on comes by evaluations that it has told already.
            if number not in self.told:
                self.trial.report(value, number)
                self.told.add(number)
            return self.trial.should_prune()
        except Exception as error:  # a database that is away for a while is not worth a training
            if not self.has_warned:
                log.warning("THE STUDY CANNOT BE ASKED whether to go on with this trial, which goes on: %s", error)
            self.has_warned = True
            return False


def evaluations(run: Path) -> list[dict[str, Any]]:
    """The evaluations of a run after its first step, in their order."""
    path = run / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if '"evaluation"' in line]
    return [record for record in records if record["step"] > 0]


def best_value(run: Path) -> float:
    """The metric of a run's best student on the validation set; nan where it was never measured.

    Not on the test set: what is chosen by it, it cannot test.
    """
    found = evaluations(run)
    best = [record["value"] for record in found if record["step"] == found[-1]["best_step"]]
    return float(best[-1]) if best else math.nan
