"""mlembed's side of a benchmark: `mlembed train` with the benchmark's configuration, in a process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from mlembed.bench.outcome import Outcome
from mlembed.bench.process import Ended, run_timed
from mlembed.bench.task import Task
from mlembed.bench.work import work_of_run
from mlembed.errors import DataError
from mlembed.report.report import Report
from mlembed.run.directory import CHECKPOINTS, METRICS, REPORT, STUDENT

NAME = "mlembed"
MODULE = "mlembed.train"
# Not `train`, which Hydra would find among the files of conf/ first.
CONFIG_NAME = "benchmark"
# Hydra's part of conf/train.yaml: it makes no folder and no log of its own.
HYDRA = {
    "job": {"name": NAME, "chdir": False},
    "job_logging": {"root": None},
    "hydra_logging": {"root": None},
    "output_subdir": None,
    "run": {"dir": "."},
}


def run_own(task: Task, folder: Path) -> Outcome:
    """Train with mlembed.

    Args:
        task: what to do.
        folder: a new one, for this side and this round.

    Raises:
        TrainingFailed: the training failed.
    """
    run = folder / "run"
    settings = task.train_settings(run=run)
    # JSON is YAML, and what Hydra would take for an interpolation is text: everything is resolved already.
    content = json.dumps(_literal(settings) | {"hydra": HYDRA}, indent=2, ensure_ascii=False)
    (folder / f"{CONFIG_NAME}.yaml").write_text(content, encoding="utf-8")
    ended = run_timed(
        ["-m", "mlembed", "train", "--config-dir", str(folder), "--config-name", CONFIG_NAME],
        environment=task.environment(folder),
        log=folder / "log.txt",
        name=NAME,
    )
    outcome = read_own(run, ended, pairs=task.pairs)
    # Weights and optimizer, several times over; the student is what is compared.
    shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)
    return outcome


def read_own(run: Path, ended: Ended, *, pairs: int) -> Outcome:
    """What a finished run says of itself.

    Args:
        run: the run directory.
        ended: its process.
        pairs: sentence pairs times epochs.
    """
    metadata = Report.from_json((run / REPORT).read_text(encoding="utf-8")).metadata
    laps = metadata.get("laps")
    if laps is None:
        raise DataError(f"{run / REPORT}: this run did not note where its time went; run it again")
    work, stepping, evaluating = work_of_run(run / METRICS)
    seconds = {
        "start-up": metadata["began"] - ended.began,
        "loading": laps["reading"] + laps["models"] + laps["plan"],
        "teacher": laps["teacher"],
        # The other side makes its tokens within its training, so these are counted here too.
        "training": laps["tokens"] + stepping,
        "saving": laps["training"] - stepping - evaluating + laps["export"],
        "evaluation": laps["baseline"] + evaluating + laps["evaluation"],
    }
    seconds["ending"] = ended.seconds - sum(seconds.values())
    return Outcome(seconds, ended.peak_bytes, work, pairs, run / STUDENT)


def _literal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
