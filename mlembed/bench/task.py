"""The work that all sides of a benchmark are given: the same pairs, the same models, as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.config import BenchConfig
from mlembed.config_data import Columns, Data
from mlembed.config_model import CopyModel, PretrainedModel
from mlembed.data.records import Row
from mlembed.models.encoder import load_encoder
from mlembed.models.folder import model_folder
from mlembed.prepare import Splits, load_splits

COLUMNS = {"source": "source", "target": "target", "lang": "lang"}


@dataclass(frozen=True)
class Task:
    """What every side is to do.

    Args:
        config: the benchmark's configuration.
        splits: the rows.
        files: part ("train", "validation", "test") -> its file, JSON lines with the columns `COLUMNS`.
        teacher: the teacher's model folder.
        student: the folder that the student starts from; None where it is no folder.
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `fp16`, resolved for this machine.
    """

    config: BenchConfig
    splits: Splits
    files: Mapping[str, Path]
    teacher: Path
    student: Path | None
    device: str
    precision: str

    @property
    def pairs(self) -> int:
        """Sentence pairs that are trained on, times the epochs."""
        return len(self.splits.train.members) * self.config.trainer.epochs

    def train_settings(self, *, run: Path) -> dict[str, Any]:
        """The configuration of `mlembed train`, as JSON values."""
        settings: dict[str, Any] = self.config.model_dump(mode="json", exclude={"bench", "run"})
        settings["data"] = {key: value for key, value in settings["data"].items() if key in Data.model_fields}
        settings["data"] |= {
            "kind": "files",
            **{part: [str(path)] for part, path in self.files.items()},
            # Those of `COLUMNS`, and names that no column has: of tasks with labels.
            "columns": {name: name for name in Columns.model_fields},
            **dict.fromkeys(("parallel", "unlabelled", "labelled_languages", "few_shot")),
            "label_separator": "|",
            "where": None,
            "max_sources": None,
        }
        settings["model"]["teacher"]["name"] = str(self.teacher)
        if isinstance(self.config.model, PretrainedModel):
            settings["model"]["student"]["name"] = str(self.student)
        settings["trainer"] |= {"device": self.device, "precision": self.precision, "progress": "lines"}
        settings["run"] = {"name": "bench", "root": str(run.parent), "dir": str(run), "resume": None}
        settings["run"]["allow_changes"] = False
        return settings

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables for a side's process: no cache that an earlier round has filled, and no hub."""
        return {
            "MLEMBED_CACHE": str(folder / "cache"),
            "HF_DATASETS_CACHE": str(folder / "cache" / "datasets"),
            "HF_HUB_OFFLINE": "1",
        }


def make_task(config: BenchConfig, folder: Path, *, device: str, precision: str) -> Task:
    """Read the data, write what each side reads, and find the models.

    Raises:
        ConfigError: a model is not there, or there are too few rows.
        DataError: with `file:line`.
    """
    data = config.data
    if config.bench.sources is not None:
        data = data.model_copy(update={"max_sources": config.bench.sources})
    splits = load_splits(data, seed=config.seed)
    folder.mkdir()
    parts: dict[str, Iterable[Row]] = {
        "train": splits.train.rows(),
        "validation": splits.validation.rows,
        "test": splits.test.rows,
    }
    files = {part: (folder / f"{part}.jsonl").absolute() for part in parts}
    for part, rows in parts.items():
        files[part].write_text("".join(_lines(rows)), encoding="utf-8")
    teacher = model_folder(config.model.teacher.name, key="model.teacher.name").absolute()
    student = None
    if isinstance(config.model, PretrainedModel):
        student = model_folder(config.model.student.name, key="model.student.name").absolute()
    elif isinstance(config.model, CopyModel):
        student = teacher
    return Task(config, splits, files, teacher, student, device, precision)


def _lines(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        values = {"source": row.source, "target": row.target, "lang": row.language}
        yield json.dumps(values, ensure_ascii=False) + "\n"


def obstacle(task: Task) -> str | None:
    """Why a tool that trains a whole folder of a model by mean squared error cannot do this task; None: it can."""
    model = task.config.model
    if not isinstance(model, PretrainedModel | CopyModel):
        return f"model={model.kind} is a way to start that mlembed alone has; choose model=copy or model=pretrained"
    student = model.student
    changed = {
        "model.teacher.width": model.teacher.width is not None,
        "model.student.freeze": bool(student.freeze),
        "model.student.train_top_layers": student.train_top_layers is not None,
        "model.student.keep_layers": student.keep_layers is not None,
        "model.student.pooling": getattr(student, "pooling", "auto") != "auto",
    }
    if given := [key for key, is_changed in changed.items() if is_changed]:
        return f"{given[0]} changes the model, which its recipe does not; leave it out"
    assert task.student is not None
    width = load_encoder(task.student, key="model.student.name").width
    wanted = load_encoder(task.teacher, key="model.teacher.name").width
    if width != wanted:
        return f"its recipe needs a student as wide as the teacher, and {width} is not {wanted} dimensions"
    return None
