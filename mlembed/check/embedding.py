"""The looks at a training of sentence embeddings: its parallel text, its models, its first steps."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlembed.check.asked import AskedVectors
from mlembed.check.baseline import part_of
from mlembed.check.clean import write_clean
from mlembed.check.cost import Steps, checkpoint_bytes, disk, evaluations, peak_memory, real_steps
from mlembed.check.findings import Mark
from mlembed.check.heads import described, head_findings, spread, spread_findings
from mlembed.check.looks import Looks, marked
from mlembed.check.parallel_looks import look_at_words, look_without_models, sampled
from mlembed.check.parallel_rows import Read, SpooledRows, read_rows
from mlembed.check.repeats import HeldOutTexts
from mlembed.check.sight import seen_pairs
from mlembed.check.token_use import token_findings, token_use
from mlembed.config_data import Data, FilesData
from mlembed.data.records import Row
from mlembed.errors import MlembedError
from mlembed.measuring import Measuring
from mlembed.prepare import Splits, load_splits, read_held_out
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory
from mlembed.session import Session
from mlembed.trainer import Trainer

# Sources whose vectors are compared, to see whether all are alike.
SPREAD_SOURCES = 200
# Sources that the teacher's speed is measured on: fewer have more padding than those of a whole corpus.
TIMED_SOURCES = 800


class EmbeddingCheck:
    """The looks, one after another.

    Args:
        looks: takes what is found.
        folder: a temporary folder.
    """

    def __init__(self, looks: Looks, *, folder: Path) -> None:
        self.looks, self.folder = looks, folder
        self.config, self.machine, self.seed = looks.config, looks.machine, looks.config.seed

    def look(self) -> None:
        """Look at everything; what fails keeps nothing else from being looked at, where that can be."""
        looks, config = self.looks, self.config
        with looks.looking("reading"):
            read = read_rows(config.data, None, path=self.folder / "rows.arrow")
            looks.add_unreadable("train", read.unreadable)
            looks.add_counts("train", read.counts)
            data = self._usable(read)
        rows, splits, marks = read.rows, None, []
        if len(rows):
            with looks.looking("splitting"):
                splits = load_splits(data, seed=config.seed)
                self._add_splits(splits)
            marks = look_without_models(looks, rows, held_out_texts(splits))
            if splits is not None:
                marks += self._with_models(rows, splits, data)
        looks.add_marks(marks, rows)
        if looks.options.write_clean is not None and len(rows):
            self._write_clean(rows, marked(marks, len(rows)))

    def _usable(self, read: Read) -> Data:
        """The data without what training would end at, which is told already."""
        data = self.config.data.model_copy(update={"on_error": "skip"})
        if not isinstance(data, FilesData):
            return data
        usable: dict[str, Any] = {"train": [name for name in data.train or () if name not in read.unreadable]}
        for part in ("validation", "test"):
            unreadable: dict[str, str] = {}
            for name in getattr(data, part) or ():
                try:
                    read_held_out(data.model_copy(update={part: [name]}), part, {})
                except MlembedError as error:
                    unreadable[name] = str(error)
            self.looks.add_unreadable(part, unreadable)
            usable[part] = [name for name in getattr(data, part) or () if name not in unreadable] or None
        return data.model_copy(update=usable)

    def _add_splits(self, splits: Splits) -> None:
        for part, counts in splits.counts.items():
            if part not in ("used", "train"):
                self.looks.add_counts(part, counts)
        self.looks.about["used"] = splits.counts["used"]

    def _with_models(self, rows: SpooledRows, splits: Splits, data: Data) -> list[Mark]:
        looks, marks = self.looks, []
        with looks.looking("models"):
            config = self.config.model_copy(update={"data": data})
            session = Session(config, run=RunDirectory(self.folder), machine=self.machine, splits=splits)
            try:
                chosen, pairs = sampled(looks, rows)
                encode = functools.partial(self.machine.encode, session.student, what="pairs")
                marks = look_at_words(looks, pairs, chosen, tokenizer=session.student.tokenizer, encode=encode)
                self._heads(session)
                self._tokens(session, pairs)
                self._first_steps(session, splits)
            finally:
                session.teaching.close()
                session.in_use.close()
        return marks

    def _heads(self, session: Session) -> None:
        looks, sources = self.looks, session.corpus.sources[:SPREAD_SOURCES]
        vectors = {
            "teacher": session.teaching.encode(sources, what="heads"),
            "student": self.machine.encode(session.student, sources, what="heads"),
        }
        cosines = {role: round(spread(vectors_ND), 4) for role, vectors_ND in vectors.items()}
        looks.findings += head_findings(session.teacher, session.student) + spread_findings(cosines)
        looks.about["models"] = {
            role: {**described(model), "mean_cosine": cosines[role]}
            for role, model in (("teacher", session.teacher), ("student", session.student))
        }

    def _tokens(self, session: Session, pairs: Sequence[Row]) -> None:
        texts: dict[str, list[str]] = {}
        for pair in pairs:
            texts.setdefault(pair.language, []).append(pair.target)
        sources = list(dict.fromkeys(pair.source for pair in pairs))
        by_language = {f"{self.config.data.source_language} (source)": sources, **dict(sorted(texts.items()))}
        use = token_use(by_language, session.student)
        self.looks.findings += token_findings(use, max_length=session.student.max_length)
        self.looks.about["tokens"] = {language: asdict(one) for language, one in use.items()}

    def _first_steps(self, session: Session, splits: Splits) -> None:
        """What the model sees, the baseline, and the costs: in this order, since the steps use the student up."""
        looks = self.looks
        targets = AskedVectors(session.corpus.sources, session.teaching.encode, width=session.teacher.width)
        looks.about["sees"] = [
            asdict(one) for one in seen_pairs(session.plan, student=session.student, targets_SD=targets)
        ]
        seconds_per_row = self._baseline(session, splits)
        trainer = session.trainer(targets)
        with looks.looking("steps"):
            looks.about["cost"] = self._cost(session, trainer, real_steps(trainer), seconds_per_row)

    def _baseline(self, session: Session, splits: Splits) -> float:
        """Measure teacher and student; returns the seconds of measuring a model on one row."""
        with self.looks.looking("baseline"):
            test, is_whole = part_of(splits.test, seed=self.seed)
            test.remember_teacher(session.teaching.encode)
            part = Splits(splits.train, test, test, splits.counts)
            measuring = Measuring(
                part,
                teaching=session.teaching,
                student=session.student,
                machine=self.machine,
                seed=self.seed,
                source_language=session.config.data.source_language,
            )
            systems, _ = measuring.before_training()
            report = Report(systems, test_set=test.name)
            self.looks.about["baseline"] = {"test_set": test.name, "whole": is_whole, "report": report}
        rows = sum(len(test.rows) for _ in ("teacher", "student")) + sum(map(len, _scored(test).values()))
        return self.looks.seconds["baseline"] / max(1, rows)

    def _cost(self, session: Session, trainer: Trainer, steps: Steps, seconds_per_row: float) -> dict[str, Any]:
        config, splits, laps = self.config, session.splits, session.laps.seconds
        missing = session.teaching.missing(session.corpus.sources)
        rate = self._teacher_rate(session)
        looks_at = evaluations(steps.total, every=config.trainer.evaluate_every, epochs=config.trainer.epochs)
        seconds = {
            "reading": laps["reading"] + self.looks.seconds["splitting"],
            "models": laps["models"] + laps["tokens"],
            "teacher": missing / rate,
            "steps": steps.total * steps.seconds,
            "evaluation": seconds_per_row * (looks_at * len(splits.validation.rows) + 3 * len(splits.test.rows)),
        }
        student, beside = checkpoint_bytes(trainer)
        every = config.trainer.save_every
        saves = looks_at - 1 + (0 if every is None else steps.total // every)
        store = missing * session.teacher.width * 2
        return {
            **asdict(steps),
            "epochs": config.trainer.epochs,
            "seconds_by_part": {name: round(value, 1) for name, value in seconds.items()},
            "seconds_in_all": round(sum(seconds.values()), 1),
            "teacher_texts": missing,
            "device": str(self.machine.compute.device),
            "precision": self.machine.compute.precision,
            "memory_bytes": peak_memory(self.machine.compute),
            "disk_bytes": disk(
                student=student, beside=beside, kept=config.trainer.keep_checkpoints, saves=saves, store=store
            ),
        }

    def _teacher_rate(self, session: Session) -> float:
        """Texts that the teacher reads in a second."""
        asked = AskedVectors(
            session.corpus.sources,
            functools.partial(self.machine.encode, session.teacher, what="teacher"),
            width=session.teacher.width,
        )
        count = min(TIMED_SOURCES, len(asked))
        asked[np.linspace(0, len(asked) - 1, count, dtype=np.int64)]
        return asked.encoded / max(asked.seconds, 1e-9)

    def _write_clean(self, rows: SpooledRows, is_marked_N: np.ndarray) -> None:
        options, columns = self.looks.options, self.config.data.columns
        assert options.write_clean is not None
        names = [columns.source, columns.target, columns.lang]
        kept = (
            {columns.source: row.source, columns.target: row.target, columns.lang: row.language}
            for row in rows.without(is_marked_N)
        )
        count = write_clean(options.write_clean, kept, columns=names, ending=options.ending)
        self.looks.about["clean"] = {"file": str(options.write_clean), "rows": count, "of": len(rows)}


def _scored(test: Any) -> Mapping[str, Sequence[Any]]:
    return test.scored.pairs if test.scored else {}


def held_out_texts(splits: Splits | None) -> HeldOutTexts:
    """What training must not see: rows of sets that are given, and those that are split off."""
    given: list[Row] = []
    split_off: list[Row] = []
    for part in ("validation", "test"):
        if splits is not None:
            held_out = getattr(splits, part)
            (given if part in splits.counts else split_off).extend(held_out.rows)
            given += held_out.scored.source_rows if held_out.scored else []
    return HeldOutTexts.of(given, split_off)
