"""Measure a model on tasks of mteb, the benchmark that others report, as sentence-transformers loads its folder."""

from __future__ import annotations

import difflib
import json
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError, DataError
from mlembed.files import write_atomically
from mlembed.models.classifier_folder import has_head
from mlembed.run.directory import MTEB_SCORES
from mlembed.strict_json import without_nan

log = logging.getLogger("mlembed")

TABLE = "mteb.md"
FORMAT = "mlembed-mteb/1"


def mteb_tasks(names: Sequence[str]) -> list[Any]:
    """The tasks of mteb with these names.

    Raises:
        ConfigError: mteb or sentence-transformers is not installed, or there is no such task.
    """
    try:
        import mteb
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'--mteb: {error.name} is not installed: pip install "mlembed[mteb]"') from error
    found = []
    for name in names:
        try:
            found.append(mteb.get_task(name))
        except KeyError as error:
            known = [task.metadata.name for task in mteb.get_tasks()]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--mteb {name}: mteb has no such task{hint}") from error
    return found


def evaluate_mteb(tasks: Sequence[Any], folder: Path, *, output: Path, batch_size: int = 32) -> float:
    """Measure a model, and write `mteb.json` and `mteb.md`.

    Args:
        tasks: of mteb.
        folder: the model, as sentence-transformers loads it.
        output: where the files go.
        batch_size: texts of one forward.

    Returns:
        The mean of the tasks' main scores, each the mean of its subsets.

    Raises:
        ConfigError: the model has a head for labels.
        DataError: the data of a task are not at hand.
    """
    import mteb
    from sentence_transformers import SentenceTransformer

    if has_head(folder):
        raise ConfigError(f"--mteb: {folder} answers with labels; mteb measures sentence vectors")
    for task in tasks:
        _load(task)
    model = SentenceTransformer(str(folder), local_files_only=True)
    found: list[dict[str, Any]] = []
    for task in tasks:
        log.info("mteb: %s", task.metadata.name)
        result = mteb.evaluate(
            model,
            task,
            cache=None,
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": batch_size},
        )
        found += [_task_json(one) for one in result.task_results]
    document = {"format": FORMAT, "model": str(folder), "mteb": mteb.__version__, "tasks": found}
    write_atomically(
        output / MTEB_SCORES, json.dumps(without_nan(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    table = _table(found)
    write_atomically(output / TABLE, f"# Results on tasks of mteb\n\n`{folder}`, main scores x100.\n\n{table}")
    print(table, end="", file=sys.stdout)
    means = [one["main_score"] for one in found]
    return math.fsum(means) / len(means)


def _load(task: Any) -> None:
    try:
        task.load_data()
    except Exception as error:  # offline, not found, not allowed, moved: each library below has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"--mteb {task.metadata.name}: its data are not at hand ({reason}); fetch them once where the hub can be "
            "reached, with the same HF_HOME, or leave the task out"
        ) from error


def _task_json(result: Any) -> dict[str, Any]:
    """One task: its main score, and those of each split and subset with the languages."""
    rows = [
        {
            "split": split,
            "subset": one["hf_subset"],
            "languages": list(one["languages"]),
            "main_score": float(one["main_score"]),
            "scores": {
                name: float(value)
                for name, value in one.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            },
        }
        for split, ones in result.scores.items()
        for one in ones
    ]
    mean = math.fsum(row["main_score"] for row in rows) / len(rows)
    return {"task": result.task_name, "main_score": mean, "results": rows}


def _table(tasks: Sequence[dict[str, Any]]) -> str:
    lines = ["| task | split | subset | languages | main score |", "| :--- | :--- | :--- | :--- | ---: |"]
    for task in tasks:
        for row in task["results"]:
            cells = (task["task"], row["split"], row["subset"], ", ".join(row["languages"]))
            lines.append(f"| {' | '.join(cells)} | {100 * row['main_score']:.1f} |")
        if len(task["results"]) > 1:
            lines.append(f"| **{task['task']}** | | | **mean** | **{100 * task['main_score']:.1f}** |")
    return "\n".join(lines) + "\n"
