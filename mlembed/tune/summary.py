"""What a study has found so far: a table, best first, and the best run with the command that trains it again."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mlembed.files import write_atomically
from mlembed.report.metrics import METRICS, parse_metric
from mlembed.run.sweep import SUMMARY, SUMMARY_TEXT
from mlembed.tune.settings import shown
from mlembed.tune.study import HOST, REASON, RUN, TEST, Study

BEST = "best.json"
STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def best_trial(study: Study) -> FrozenTrial | None:
    """The finished trial with the best value on the validation set; of equal ones the first."""
    ranked = _best_first(study)
    return ranked[0] if ranked and ranked[0].state == TrialState.COMPLETE else None


def write_summary(study: Study, *, command: str | None) -> None:
    """Write summary.json, summary.md and, once a trial is finished, best.json.

    Args:
        study: held by this process alone meanwhile.
        command: trains the best run again; None where there is no such command.
    """
    metric = study.config.trainer.metric
    rows = [_row(trial) for trial in _best_first(study)]
    summary = {"study": study.config.run.name, "metric": metric, "trials": rows}
    write_atomically(study.folder / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_atomically(study.folder / SUMMARY_TEXT, _markdown(study))
    if (best := best_trial(study)) is not None:
        document = {**_row(best), "metric": metric, "command": command}
        write_atomically(study.folder / BEST, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_summary(study: Study) -> None:
    """Show the trials as a table on standard output, best first."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    header, *rows = _cells(study)
    print(f"\nTrials of the study, best {study.config.trainer.metric} first; more in {study.folder / SUMMARY_TEXT}")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for at, name in enumerate(header):
        table.add_column(name, overflow="fold", justify="right" if at in (2, 3) else "left")
    has_best = best_trial(study) is not None
    for at, row in enumerate(rows):
        table.add_row(*row, style="bold" if at == 0 and has_best else "")
    Console(file=sys.stdout).print(table)


def counts(study: Study) -> str:
    """How many trials there are, in words."""
    states = [trial.state for trial in study.trials()]
    found = [f"{states.count(state)} {word}" for state, word in STATES.items() if state in states]
    return ", ".join(found) or "none yet"


def _best_first(study: Study) -> list[FrozenTrial]:
    """Finished ones by their value, then pruned, failed and running ones, as they were begun."""
    sign = -1.0 if study.optuna.direction == StudyDirection.MAXIMIZE else 1.0
    order = list(STATES)

    def key(trial: FrozenTrial) -> tuple[int, float, int]:
        value = trial.value if trial.state == TrialState.COMPLETE else None
        return order.index(trial.state), math.inf if value is None else sign * value, trial.number

    return sorted(study.trials(), key=key)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    duration = trial.duration
    notes = trial.user_attrs
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "value": trial.value,
        "test": notes.get(TEST),
        "settings": trial.params,
        "evaluations": {str(step): value for step, value in trial.intermediate_values.items()},
        "seconds": None if duration is None else round(duration.total_seconds(), 1),
        "run": notes.get(RUN),
        "host": notes.get(HOST),
        "reason": notes.get(REASON),
    }


def _cells(study: Study) -> list[list[str]]:
    """The table: a header, then a row for each trial."""
    metric = METRICS[parse_metric(study.config.trainer.metric)[0]]
    keys = list(study.config.space)
    rows = [["trial", "state", "validation", "test", *_short(keys)]]
    for trial in _best_first(study):
        scores = [trial.value, trial.user_attrs.get(TEST)]
        numbers = ["-" if score is None else metric.format(score) for score in scores]
        values = [_value(trial.params.get(key)) for key in keys]
        rows.append([str(trial.number), STATES[trial.state], *numbers, *values])
    return rows


def _short(keys: list[str]) -> list[str]:
    """Each key's last parts, as many as tell it from the others: `lr`, `weights.mse`."""
    parts = [key.split(".") for key in keys]
    found = []
    for one in parts:
        ends = (n for n in range(1, len(one) + 1) if sum(other[-n:] == one[-n:] for other in parts) == 1)
        found.append(".".join(one[-next(ends) :]))
    return found


def _markdown(study: Study) -> str:
    header, *rows = _cells(study)
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    failed = [
        f"- trial {trial.number} failed: {trial.user_attrs[REASON]}"
        for trial in study.trials()
        if trial.user_attrs.get(REASON)
    ]
    head = f"# The study {study.config.run.name}, best {study.config.trainer.metric} first: {counts(study)}"
    return "\n".join([head, "", *lines, *(["", *failed] if failed else []), ""])


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def folder_of(study: Study, trial: FrozenTrial) -> Path | None:
    """The run directory of a trial, where it is in this study's folder."""
    path = study.path(trial.number)
    return path if study.is_here(trial) and path.is_dir() else None
