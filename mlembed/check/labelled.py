"""The looks at a training of a task with labels: its rows, its parallel text, its models, its first steps."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlembed.check.asked import AskedTeaching
from mlembed.check.clean import write_clean
from mlembed.check.cost import Steps, checkpoint_bytes, disk, evaluations, peak_memory, real_steps
from mlembed.check.example_rows import ExampleRows, example_marks
from mlembed.check.findings import Finding, Mark, Severity
from mlembed.check.heads import described
from mlembed.check.language import foreign_texts, make_identifier
from mlembed.check.looks import Looks, marked
from mlembed.check.parallel_looks import NO_IDENTIFIER, look_at_words, look_without_models, sampled
from mlembed.check.parallel_rows import SpooledRows, read_rows, sample_rows
from mlembed.check.repeats import HeldOutTexts
from mlembed.check.sight import Seen, seen_examples, seen_pairs
from mlembed.check.token_use import token_findings, token_use
from mlembed.check.untrained import Untrained, UntrainedSession
from mlembed.config import TrainConfig
from mlembed.config_data import FilesData
from mlembed.data.examples import Example, ExampleSet
from mlembed.data.label_plan import LabelPlan
from mlembed.data.order import order_key, shuffled
from mlembed.data.plan import BatchPlan
from mlembed.data.records import Row
from mlembed.errors import DataError, MlembedError
from mlembed.label_measuring import LabelMeasuring
from mlembed.label_objective import Built
from mlembed.prepare_labels import read_labelled, shape_of
from mlembed.report.report import Report
from mlembed.run.directory import RunDirectory
from mlembed.stages import LOOKS
from mlembed.tasks.held_out_labels import LabelledSet
from mlembed.tasks.joint import SUPERVISED, UNLABELLED
from mlembed.trainer import Trainer

# Test rows that models are measured on.
MOST_TESTED = 1000
# A model reads so many times as fast as it learns.
READING = 3.0


class LabelCheck:
    """The looks, one after another.

    Args:
        looks: takes what is found.
        folder: a temporary folder.
    """

    def __init__(self, looks: Looks, *, folder: Path) -> None:
        self.looks, self.folder, self.config, self.machine = looks, folder, looks.config, looks.machine
        assert isinstance(self.config.data, FilesData)
        assert self.config.task.kind != "embedding"
        self.data: FilesData = self.config.data
        self.shape, self.answers = shape_of(self.config.task)
        self.usable: dict[str, Any] = {"on_error": "skip"}

    def look(self) -> None:
        """Look at everything; what fails keeps nothing else from being looked at, where that can be."""
        looks, parts = self.looks, {}
        with looks.looking("reading"):
            parts = {part: self._read(part) for part in ("train", "validation", "test", "unlabelled")}
        rows = ExampleRows(parts.get("train", []))
        held_out = [*parts.get("validation", []), *parts.get("test", [])]
        marks: list[Mark] = []
        with looks.looking("rows"):
            marks += example_marks(rows.examples, held_out)
        with looks.looking("languages"):
            marks += self._foreign(rows)
        parallel = self._parallel(held_out)
        if rows.examples:
            with looks.looking("models"):
                self._with_models(rows, held_out, parallel)
        looks.add_marks(marks, rows)
        if looks.options.write_clean is not None and rows.examples:
            self._write_clean(rows, marked(marks, len(rows.examples)))

    def _read(self, part: str) -> list[Example]:
        names = getattr(self.data, part)
        if not names:
            return []
        unreadable: dict[str, str] = {}
        lenient = self.data.model_copy(update={"on_error": "skip"})
        try:
            examples, counts = read_labelled(
                lenient,
                names,
                shape=self.shape,
                answers="none" if part == "unlabelled" else self.answers,
                on_unreadable=lambda name, error: unreadable.update({name: str(error)}),
            )
            self.looks.add_counts(part, counts)
        except MlembedError as error:
            examples = []
            unreadable.setdefault(", ".join(names), str(error))
        self.looks.add_unreadable(part, unreadable)
        self.usable[part] = [name for name in names if name not in unreadable] or None
        return examples

    def _foreign(self, rows: ExampleRows) -> list[Mark]:
        if (identifier := make_identifier()) is None:
            self.looks.about["languages"] = NO_IDENTIFIER
            return []
        chosen = sample_rows(rows.language_N, size=self.looks.options.sample, seed=self.config.seed)
        some = [rows.examples[at] for at in chosen.tolist()]
        return foreign_texts(
            [" ".join(one.texts) for one in some],
            [one.language for one in some],
            numbers=chosen,
            looked_at=len(chosen),
            identifier=identifier,
            poll=self.machine.poll,
        )

    def _parallel(self, held_out: Sequence[Example]) -> SpooledRows | None:
        """Read and look at parallel text, where there is some."""
        looks = self.looks
        if not self.data.parallel:
            return None
        with looks.looking("reading"):
            read = read_rows(self.data, self.data.parallel, path=self.folder / "rows.arrow")
            looks.add_unreadable("parallel", read.unreadable)
            looks.add_counts("parallel", read.counts)
            names = [name for name in self.data.parallel if name not in read.unreadable]
            self.usable["parallel"] = names or None
        texts = [Row(text, "", one.language, one.path, one.line) for one in held_out for text in one.texts]
        marks = look_without_models(looks, read.rows, HeldOutTexts.of(texts, ())) if len(read.rows) else []
        looks.add_marks(marks, read.rows, prefix="in data.parallel")
        return read.rows if len(read.rows) else None

    def _with_models(self, rows: ExampleRows, held_out: Sequence[Example], parallel: SpooledRows | None) -> None:
        looks, machine = self.looks, self.machine
        config: TrainConfig = self.config.model_copy(update={"data": self.data.model_copy(update=self.usable)})
        run = RunDirectory(self.folder)
        session = UntrainedSession(config, run=run, machine=machine, stages=Untrained, teachings=AskedTeaching)
        looks.about["used"] = session.data.counts["used"]
        self._unseen(session, held_out)
        built = session.build()
        if parallel is not None:
            chosen, pairs = sampled(looks, parallel)
            encode = functools.partial(machine.encode, built.student.reader(), what="pairs")
            is_vectors = session.answering.head.of == "vectors"
            tokenizer = built.student.tokenizer
            words = look_at_words(looks, pairs, chosen, tokenizer=tokenizer, encode=encode if is_vectors else None)
            looks.add_marks(words, parallel, prefix="in data.parallel")
        models = {"teacher": built.teacher, "student": built.student}
        looks.about["models"] = {role: described(model) for role, model in models.items() if model is not None}
        looks.about["stages"] = [
            f"{one.name}: {one.rows} rows, {one.steps} steps; what it will answer is not known before"
            for one in session.noted
        ]
        self._tokens(rows, built)
        looks.about["sees"] = [asdict(one) for one in _seen(session, built)]
        seconds_per_row = self._baseline(session, built)
        trainer = session.trainer(built)
        with looks.looking("steps"):
            steps = real_steps(trainer)
            by_part = self._seconds(session, steps, seconds_per_row)
            looks.about["cost"] = {
                **asdict(steps),
                **self._sizes(trainer),
                "epochs": trainer.settings.epochs,
                "seconds_by_part": by_part,
                "seconds_in_all": round(sum(by_part.values()), 1),
            }

    def _unseen(self, session: UntrainedSession, held_out: Sequence[Example]) -> None:
        """Labels of held-out rows that training does not have: they are left out where that was asked for."""
        if self.answers == "score":
            return
        try:
            session.data.labels.check(held_out, what="a held-out set")
        except DataError as error:
            severity: Severity = "stops" if self.data.on_error == "stop" else "left out"
            self.looks.findings.append(Finding("unseen_label", severity, 1, messages=[str(error)]))

    def _tokens(self, rows: ExampleRows, built: Built) -> None:
        texts: dict[str, list[str]] = {}
        for one in rows.examples:
            texts.setdefault(one.language, []).append(" ".join(one.texts))
        use = token_use(dict(sorted(texts.items())), built.student)
        self.looks.findings += token_findings(use, max_length=built.student.max_length)
        self.looks.about["tokens"] = {language: asdict(one) for language, one in use.items()}

    def _baseline(self, session: UntrainedSession, built: Built) -> float:
        """Measure the models that know the labels already; returns the seconds of measuring a model on one row."""
        test = _part_of(session.test, seed=self.config.seed)
        measuring = LabelMeasuring(session.data, test, teacher=built.teacher, machine=self.machine)
        known = {"teacher": built.teacher, "before": built.student if built.knows_labels else None}
        measured = {name: model for name, model in known.items() if model is not None and not session.noted}
        with self.looks.looking("baseline"):
            systems = measuring.without_learning()
            for name, model in measured.items():
                systems[name] = measuring.measure(model, what=f"testing the {name}").scores
            if systems:
                is_whole = len(test.rows.examples) == len(session.test.rows.examples)
                about = {"source_language": session.data.source_language}
                report = Report(systems, test_set=test.rows.name, metadata=about)
                self.looks.about["baseline"] = {"test_set": test.rows.name, "whole": is_whole, "report": report}
        rows = len(test.rows.examples) * len(measured)
        return self.looks.seconds["baseline"] / rows if rows else 0.0

    def _seconds(self, session: UntrainedSession, steps: Steps, seconds_per_row: float) -> dict[str, float]:
        rate = max(steps.texts_per_s, 1e-9)
        per_row = seconds_per_row or 1 / (READING * rate)
        data, laps = session.data, session.laps.seconds
        every, epochs = self.config.trainer.evaluate_every, self.config.trainer.epochs
        looks_at = evaluations(steps.total, every=every, epochs=epochs) + LOOKS * len(session.noted)
        answered = len(data.unlabelled.examples) + (len(data.parallel.sources) if data.parallel else 0)
        frozen = not self.config.model.teacher.trainable
        found = {
            "reading": laps["reading"],
            "models": laps["teacher"] + laps["models"] + laps["tokens"],
            "labels first": sum(one.texts for one in session.noted) / rate,
            "teacher": answered * per_row if frozen else 0.0,
            "steps": steps.total * steps.seconds,
            "evaluation": per_row * (looks_at * len(data.validation.examples) + 3 * len(data.test.examples)),
        }
        return {name: round(value, 1) for name, value in found.items() if value}

    def _sizes(self, trainer: Trainer) -> dict[str, Any]:
        config, compute = self.config.trainer, self.machine.compute
        student, beside = checkpoint_bytes(trainer)
        saves = evaluations(trainer.total_steps, every=config.evaluate_every, epochs=config.epochs) - 1
        return {
            "device": str(compute.device),
            "precision": compute.precision,
            "memory_bytes": peak_memory(compute),
            "disk_bytes": disk(student=student, beside=beside, kept=config.keep_checkpoints, saves=saves, store=0),
        }

    def _write_clean(self, rows: ExampleRows, is_marked_N: np.ndarray) -> None:
        options = self.looks.options
        assert options.write_clean is not None
        keys = {"text": ["text", "label"], "tokens": ["tokens", "tags"], "pair": ["text", "text_b", "label"]}[
            self.shape
        ]
        keys = [*("score" if key == "label" and self.answers == "score" else key for key in keys), "lang", "id"]
        columns = {key: getattr(self.data.columns, key) for key in keys}
        kept = (one for one, is_marked in zip(rows.examples, is_marked_N.tolist(), strict=True) if not is_marked)
        values = ({columns[key]: value for key, value in self._values(one).items() if key in columns} for one in kept)
        count = write_clean(options.write_clean, values, columns=list(columns.values()), ending=options.ending)
        self.looks.about["clean"] = {"file": str(options.write_clean), "rows": count, "of": len(rows.examples)}

    def _values(self, one: Example) -> Mapping[str, object]:
        """A row as its reader reads it."""
        answer: object = list(one.answer) if isinstance(one.answer, tuple) else one.answer
        if self.answers == "labels" and ".tsv" in self.looks.options.ending:
            answer = self.data.label_separator.join(one.labels)
        text: object = one.text if isinstance(one.text, str) else list(one.text)
        said = {"label": answer, "score": answer, "tags": answer}
        return {"text": text, "tokens": text, "text_b": one.second, **said, "lang": one.language, "id": one.id}


def _part_of(test: LabelledSet, *, seed: int) -> LabelledSet:
    """A test set, or a part of a large one."""
    examples = test.rows.examples
    if len(examples) <= MOST_TESTED:
        return test
    places = np.sort(shuffled(np.arange(MOST_TESTED), len(examples), key=order_key(seed)))
    part = ExampleSet(f"{MOST_TESTED} rows of {test.rows.name}", [examples[at] for at in places.tolist()])
    return LabelledSet(part, test.answering, test.source_language, test.seed)


def _seen(session: UntrainedSession, built: Built) -> list[Seen]:
    """Rows of each term of the loss, as many as are shown in all."""
    rows = {SUPERVISED: session.data.train.examples, UNLABELLED: session.data.unlabelled.examples}
    seen: list[Seen] = []
    for term, plan in built.objective.plans.items():
        if isinstance(plan, LabelPlan) and term in rows:
            seen += seen_examples(plan, rows[term], student=built.student)
        elif isinstance(plan, BatchPlan):
            seen += seen_pairs(plan, student=built.student, targets_SD=None)
    return seen
