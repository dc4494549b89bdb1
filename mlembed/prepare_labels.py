"""From the data section of a configuration to the rows of a task with labels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlembed.config import TrainConfig
from mlembed.config_data import FilesData
from mlembed.config_tasks import ClassificationTask, EmbeddingTask, LabelTask, PairTask, TokenClassificationTask
from mlembed.data.corpus import Corpus
from mlembed.data.examples import Answers, Example, ExampleSet, LabelSet, Shape
from mlembed.data.label_split import drop_leaks, drop_repeats, few_shot, labelled_in, split_off
from mlembed.data.labelled import read_examples
from mlembed.data.languages import WantedLanguages
from mlembed.data.parallel import OnUnreadable, ReadCounts
from mlembed.data.split import normalized_source
from mlembed.errors import ConfigError
from mlembed.prepare import counts_json, load_corpus, read_options

log = logging.getLogger("mlembed")


@dataclass(frozen=True)
class LabelData:
    """The rows of a run with labels.

    Args:
        train: what is learnt from people.
        validation: what decides the best checkpoint.
        test: what the report is about.
        labels: the names of the labels, from the training rows; empty for scores.
        reference: labelled rows that are not held out, those in languages that are not learnt from among them: for
            baselines alone.
        unlabelled: what a teacher answers; empty where there is none.
        parallel: parallel text; None where there is none.
        source_language: as the rows spell it.
        counts: what was read, left out (and why) and kept of each part, as JSON values.
    """

    train: ExampleSet
    validation: ExampleSet
    test: ExampleSet
    labels: LabelSet
    reference: Sequence[Example]
    unlabelled: ExampleSet
    parallel: Corpus | None
    source_language: str
    counts: Mapping[str, Any]

    def source_rows(self) -> list[Example]:
        """The training rows in the source language."""
        return [one for one in self.train.examples if one.language == self.source_language]


def shape_of(task: LabelTask) -> tuple[Shape, Answers]:
    """What the rows of a task are, and what people say of them."""
    if isinstance(task, ClassificationTask):
        return "text", "labels" if task.multi_label else "label"
    if isinstance(task, TokenClassificationTask):
        return "tokens", "tags"
    assert isinstance(task, PairTask)
    return "pair", "score" if task.answer == "score" else "label"


def load_label_data(data: FilesData, *, shape: Shape, answers: Answers, seed: int) -> LabelData:
    """Read all data of a training with labels.

    Held-out sets that are not given are split off: the test set from all languages, the validation set from those
    whose labels are learnt from. Rows whose text is held out are not trained on, unless the configuration says so.

    Args:
        data: the `data` section.
        shape: what the rows are; see `shape_of`.
        answers: what people say of them.
        seed: of the choice of what is split off.

    Raises:
        DataError: with `file:line`.
        ConfigError: no data are given, too few to split, or none is left.
    """
    return _Loading(data, shape=shape, answers=answers, seed=seed).load()


def load_label_test(
    data: FilesData, *, shape: Shape, answers: Answers, labels: LabelSet, seed: int
) -> tuple[ExampleSet, Mapping[str, Any]]:
    """Read the test set alone, or with it the training data that it is split off from, as in training.

    Args:
        data: the `data` section.
        shape: what the rows are.
        answers: what people say of them.
        labels: that the model knows.
        seed: of the choice of what is split off.

    Returns:
        The test set, and what was read and left out, as JSON values.

    Raises:
        DataError: with `file:line`, or labels that the model does not know.
        ConfigError: no data are given.
    """
    loading = _Loading(data, shape=shape, answers=answers, seed=seed)
    if data.test:
        test = ExampleSet(", ".join(data.test), loading.read("test", data.test))
        return loading.known(test, labels, what="the test set"), loading.counts
    if not data.train:
        raise ConfigError("data.test: no test data is given; write data.test=PATH")
    found = loading.load()
    return loading.known(found.test, labels, what="the test set"), found.counts


def read_labelled(
    data: FilesData,
    names: Sequence[str],
    *,
    shape: Shape,
    answers: Answers,
    on_unreadable: OnUnreadable | None = None,
) -> tuple[list[Example], ReadCounts]:
    """Read labelled files as the `data` section says; see `read_examples`."""
    options, filters = read_options(data)
    return read_examples(
        names,
        shape=shape,
        answers=answers,
        columns=data.columns.model_dump(),
        options=options,
        where=filters.where,
        on_error=data.on_error,
        max_chars=data.max_chars,
        separator=data.label_separator,
        on_unreadable=on_unreadable,
    )


class _Loading:
    def __init__(self, data: FilesData, *, shape: Shape, answers: Answers, seed: int) -> None:
        self.data, self.seed, self.shape, self.answers = data, seed, shape, answers
        self.counts: dict[str, Any] = {}
        self.left_out: dict[str, Counter[str]] = {}

    def load(self) -> LabelData:
        data = self.data
        if not data.train:
            raise ConfigError("data.train: no training data is given; write data.train=PATH")
        rows = self._drop("repeated", *drop_repeats(self.read("train", data.train)))
        test = ExampleSet(", ".join(data.test), self.read("test", data.test)) if data.test else None
        if test is None:
            trained = data.labelled_languages
            rows, held_out = split_off(rows, size=data.test_size, seed=self.seed, trained=trained, part="test")
            test = ExampleSet(f"{len(held_out)} test rows split off", held_out)
        reference = rows
        rows = self._drop("labelled_languages", *labelled_in(rows, data.labelled_languages))
        validation = (
            ExampleSet(", ".join(data.validation), self.read("validation", data.validation))
            if data.validation
            else None
        )
        if data.drop_leaks:
            held_out = [*test.examples, *(validation.examples if validation else ())]
            rows = self._drop("held_out", *drop_leaks(rows, held_out))
            reference, _ = drop_leaks(reference, held_out)
        if validation is None:
            rows, kept = split_off(rows, size=data.validation_size, seed=self.seed, part="validation")
            validation = ExampleSet(f"{len(kept)} validation rows split off", kept)
        source = WantedLanguages(sorted({one.language for one in rows})).exact(data.source_language)
        source_language = source or data.source_language
        if data.few_shot is not None:
            few = few_shot(rows, per_label=data.few_shot, seed=self.seed, source_language=source_language)
            rows = self._drop("few_shot", *few)
        if not rows:
            raise ConfigError("no labelled row is left for training: all of them are in the validation or test set")
        labels = LabelSet(()) if self.answers == "score" else LabelSet.of(rows, shape=self.shape)
        return self._finish(rows, validation, test, labels, reference, source_language)

    def _finish(
        self,
        rows: list[Example],
        validation: ExampleSet,
        test: ExampleSet,
        labels: LabelSet,
        reference: Sequence[Example],
        source_language: str,
    ) -> LabelData:
        data = self.data
        validation = self.known(validation, labels, what="the validation set")
        test = self.known(test, labels, what="the test set")
        unlabelled: list[Example] = []
        if data.unlabelled:
            unlabelled, _ = drop_repeats(self.read("unlabelled", data.unlabelled, answers="none"))
            if data.drop_leaks:
                unlabelled = self._drop("held_out", *drop_leaks(unlabelled, [*test.examples, *validation.examples]))
        parallel = None
        if data.parallel:
            held_out = [*test.examples, *validation.examples] if data.drop_leaks else []
            texts = {text for one in held_out for text in one.texts}
            forbidden = frozenset(normalized_source(text) for text in texts)
            parallel, read = load_corpus(data, data.parallel, forbidden=forbidden)
            self.counts["parallel"] = counts_json(read)
        found = LabelData(
            train=ExampleSet(", ".join(data.train or ()), rows),
            validation=validation,
            test=test,
            labels=labels,
            reference=labels.known(reference)[0] if self.answers != "score" else reference,
            unlabelled=ExampleSet(", ".join(data.unlabelled or ()), unlabelled),
            parallel=parallel,
            source_language=source_language,
            counts=self.counts,
        )
        self.counts["used"] = _used(found, left_out=self.left_out)
        _log(self.counts)
        return found

    def read(self, part: str, names: Sequence[str], *, answers: Answers | None = None) -> list[Example]:
        """Rows of one part, counted."""
        examples, counts = read_labelled(self.data, names, shape=self.shape, answers=answers or self.answers)
        self.counts[part] = counts_json(counts)
        return examples

    def _drop(self, why: str, kept: list[Example], left_out: Counter[str]) -> list[Example]:
        self.left_out[why] = self.left_out.get(why, Counter()) + left_out
        return kept

    def known(self, part: ExampleSet, labels: LabelSet, *, what: str) -> ExampleSet:
        """Refuse labels that are never learnt, or leave their rows out where that was asked for."""
        if self.answers == "score":
            return part
        if self.data.on_error == "stop":
            labels.check(part.examples, what=what)
            return part
        return ExampleSet(part.name, self._drop("unseen_label", *labels.known(part.examples)))


def _used(data: LabelData, *, left_out: Mapping[str, Counter[str]]) -> dict[str, Any]:
    parts = {"train": data.train, "unlabelled": data.unlabelled, "validation": data.validation, "test": data.test}
    used: dict[str, Any] = {
        name: {
            "sources": len({(one.text, one.second) for one in part.examples}),
            "rows": len(part.examples),
            "languages": {language: len(rows) for language, rows in part.by_language().items()},
        }
        for name, part in parts.items()
        if part.examples
    }
    if data.parallel is not None:
        used["parallel"] = data.parallel.counts()
    used["left_out"] = {why: dict(sorted(by.items())) for why, by in left_out.items() if by}
    used["leaks_dropped"] = sum(left_out.get("held_out", Counter()).values())
    return used


def _log(counts: Mapping[str, Any]) -> None:
    for part, read in counts.items():
        if part == "used":
            continue
        log.info("%s: %d rows read, %d kept", part, read["read"], read["kept"])
        if read["bad"]:
            shown = "\n  ".join(read["bad_examples"][:5])
            log.warning("%s: %d bad rows skipped, such as\n  %s", part, read["bad"], shown)
    used = counts["used"]
    for part, about in used.items():
        if part in ("left_out", "leaks_dropped"):
            continue
        by_language = ", ".join(f"{language} {count}" for language, count in about["languages"].items())
        log.info("%s: %d rows are used: %s", part, about["rows"], by_language)
    for why, by in used["left_out"].items():
        log.info("left out (%s): %d rows", why.replace("_", " "), sum(by.values()))


def texts_of(config: TrainConfig) -> Iterator[str]:
    """All texts that a run learnt from, or was measured on."""
    assert isinstance(config.data, FilesData)
    assert not isinstance(config.task, EmbeddingTask)
    shape, answers = shape_of(config.task)
    data = load_label_data(config.data, shape=shape, answers=answers, seed=config.seed)
    for part in (data.train, data.unlabelled, data.validation, data.test):
        for one in part.examples:
            yield from one.texts
    if data.parallel is not None:
        yield from data.parallel.texts
