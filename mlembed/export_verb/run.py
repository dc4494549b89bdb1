"""What the run of a model tells: its test set, and what a card says of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError, DataError, MlembedError
from mlembed.export.card import CardFacts, card_facts
from mlembed.models.classifier import Classifier
from mlembed.models.encoder import Encoder
from mlembed.models.text_model import TextModel
from mlembed.tasks.held_out import HeldOut

# Texts of a language that are compared.
TEXTS_PER_LANGUAGE = 24
SOURCE = "source"


def test_set(run: Path, *, labels: Sequence[str]) -> HeldOut | dict[str, list[str]] | None:
    """The texts that a run was measured on: whole where they are parallel or scored; by language where labelled.

    None, and a word of it, where they cannot be read any more.
    """
    from mlembed.config import TrainConfig
    from mlembed.config_door import validate
    from mlembed.data.examples import LabelSet
    from mlembed.prepare import load_test
    from mlembed.prepare_labels import load_label_test, shape_of
    from mlembed.run.start import read_stored_config

    try:
        config = validate(read_stored_config(run), TrainConfig)
        if config.task.kind == "embedding":
            return load_test(config.data, seed=config.seed)[0]
        shape, answers = shape_of(config.task)
        if config.data.kind != "files":
            return None
        test, _ = load_label_test(
            config.data, shape=shape, answers=answers, labels=LabelSet(tuple(labels)), seed=config.seed
        )
    except (ConfigError, DataError) as error:
        reason = " ".join(str(error).split())[:200]
        print(f"the test set of {run} cannot be read ({reason}); built-in sentences take its place", file=sys.stderr)
        return None
    found: dict[str, list[str]] = {}
    for example in test.examples:
        found.setdefault(example.language, []).extend(example.texts)
    return found


def texts_by_language(test: HeldOut | dict[str, list[str]]) -> dict[str, list[str]]:
    """Some texts of each language, distinct, spread over the whole set."""
    if isinstance(test, HeldOut):
        found: dict[str, list[str]] = {SOURCE: test.sources}
        for row in test.rows:
            found.setdefault(row.language, []).append(row.target)
        for language, pairs in (test.scored.pairs if test.scored else {}).items():
            found.setdefault(language, []).extend(text for pair in pairs for text in (pair.first, pair.second))
    else:
        found = test
    distinct = {language: list(dict.fromkeys(texts)) for language, texts in found.items() if texts}
    return {
        language: texts[:: max(1, len(texts) // TEXTS_PER_LANGUAGE)][:TEXTS_PER_LANGUAGE]
        for language, texts in distinct.items()
    }


def facts_of(run: Path | None, model: TextModel, *, checkpoint: str | None) -> CardFacts:
    """What a card says of a model.

    Args:
        run: its run; None where it has none.
        model: the model.
        checkpoint: its name; None: it is the run's best student, which the report is about.
    """
    labels = model.head.labels if isinstance(model, Classifier) else ()
    task = "token_classification" if isinstance(model, Classifier) and model.head.of == "words" else "classification"
    own: dict[str, Any] = {
        "labels": labels,
        "is_encoder": isinstance(model, Encoder),
        "max_length": model.limit,
    }
    plain = CardFacts(task="embedding" if own["is_encoder"] else task, **own)
    if run is None:
        return plain
    from mlembed.report.report import Report
    from mlembed.report.tables import markdown
    from mlembed.run.directory import REPORT, first_command
    from mlembed.run.start import read_stored_config

    try:
        config = read_stored_config(run)
        report = Report.from_json((run / REPORT).read_text(encoding="utf-8"))
        if own["is_encoder"] and config["task"]["kind"] != "embedding":
            own["labels"] = ()
        is_best = checkpoint is None or checkpoint == f"step-{report.metadata.get('best_step')}"
        if config["task"]["kind"] != "embedding":
            own |= {"languages": list(report.languages()), "teacher": report.metadata.get("teacher")}
        return card_facts(
            config,
            used=report.metadata["data"]["used"],
            results=markdown(report, links=False) if is_best else "",
            command=first_command(run),
            **own,
        )
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError, MlembedError):
        # A run that has not ended, or one of another version: the card says less.
        return plain
