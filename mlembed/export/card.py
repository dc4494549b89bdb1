"""The model card: README.md of a student, with the front matter that the hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from mlembed.data.languages import primary_subtag
from mlembed.data.readers.hub import HUB_PREFIX, is_hub_name
from mlembed.locate import is_package_name

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Some data sets have no owner in front.
DATA_SET = re.compile(r"([\w.-]+/)?[\w.-]+")
# What the hub calls them.
LIBRARIES = {"static": "sentence-transformers", "onnx-int8": "onnx"}
PIPELINES = {
    "embedding": "sentence-similarity",
    "classification": "text-classification",
    "token_classification": "token-classification",
    "pair": "text-classification",
}
PARTS = ("train", "parallel", "unlabelled", "validation", "test")


@dataclass(frozen=True)
class CardFacts:
    """What a card says of a student, whatever folder it lies in.

    Args:
        task: its name in a configuration.
        languages: that it is for.
        source_language: that of the teacher, or of the labels.
        teacher: its name; None where there was none.
        base: the model that the student started from; None where it is new.
        datasets: names of data sets on the hub.
        sources: files that were read, by part of the data.
        counts: rows used, by part and language.
        labels: that it answers with.
        is_encoder: whether it gives vectors; of pairs, a bi-encoder does.
        max_length: tokens that it reads of a text; None: all.
        results: a report in Markdown; empty before the end of a run.
        command: that trains it again; None where it is not known.
    """

    task: str = "embedding"
    languages: Sequence[str] = ()
    source_language: str | None = None
    teacher: str | None = None
    base: str | None = None
    datasets: Sequence[str] = ()
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    labels: Sequence[str] = ()
    is_encoder: bool = True
    max_length: int | None = None
    results: str = ""
    command: str | None = None


def card_facts(config: Mapping[str, Any], *, used: Mapping[str, Any], **more: Any) -> CardFacts:
    """What the configuration of a run and the counts of its data tell.

    Args:
        config: as in config.json.
        used: rows used, as in the metadata of a report.
        more: the facts that neither tells.
    """
    data, model = config["data"], config["model"]
    counts = {
        part: dict(used[part]["languages"])
        for part in PARTS
        if isinstance(used.get(part), Mapping) and "languages" in used[part]
    }
    names = {part: data.get(part) or () for part in PARTS} if data["kind"] == "files" else {}
    of_hub = [_hub_data_set(name) for part in names.values() for name in part]
    if data["kind"] == "hub":
        of_hub = [_hub_data_set(f"{HUB_PREFIX}{data['name']}")]
    told: dict[str, Any] = {
        "task": config["task"]["kind"],
        "source_language": data["source_language"],
        "teacher": model["teacher"]["name"],
        "base": model["student"].get("name") if model["kind"] == "pretrained" else model["teacher"]["name"],
        "datasets": [name for name in dict.fromkeys(of_hub) if name],
        "sources": {part: [_shown(name) for name in named] for part, named in names.items() if named},
        "counts": counts,
        "languages": list(counts.get("train", {})),
    }
    return CardFacts(**told | more)


def model_card(facts: CardFacts, *, to: str = "sentence-transformers", usage: str, export: str = "") -> str:
    """The text of README.md.

    Args:
        facts: of the student.
        to: the format of the folder.
        usage: how the folder is used.
        export: what is to be said of this folder beside that.
    """
    parts = [_front_matter(facts, to=to), _introduction(facts, to=to), usage, _training(facts), _deeper(facts.results)]
    return "\n\n".join(part for part in [*parts, _limits(facts), export.rstrip()] if part) + "\n"


def _front_matter(facts: CardFacts, *, to: str) -> str:
    codes = dict.fromkeys(primary_subtag(code) for code in [facts.source_language, *facts.languages] if code)
    # Quoted: YAML reads no as false.
    languages = [f'"{code}"' for code in codes if re.fullmatch(r"[a-z]{2,3}", code)]
    tags = ["knowledge-distillation", "mlembed"]
    if facts.is_encoder:
        tags = ["sentence-transformers", "feature-extraction", *tags]
    if to.startswith("onnx"):
        tags.append("onnx")
    pipeline = "sentence-similarity" if facts.is_encoder else PIPELINES[facts.task]
    lines = ["---", *_listed("language", languages)]
    lines += [f"library_name: {LIBRARIES.get(to, to)}", f"pipeline_tag: {pipeline}"]
    base = facts.base if facts.base and HUB_NAME.fullmatch(facts.base) and not Path(facts.base).exists() else None
    lines += [*([f"base_model: {base}"] if base else []), *_listed("datasets", facts.datasets), *_listed("tags", tags)]
    return "\n".join(
        [*lines, "# license: yours to choose; it has to go with those of the teacher and of the data", "---"]
    )


def _listed(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key}:", *(f"- {value}" for value in values)] if values else []


def _introduction(facts: CardFacts, *, to: str) -> str:
    languages = ", ".join(facts.languages)
    if to == "static":
        of = f", made of one that was distilled from `{facts.teacher}`" if facts.teacher else ""
        return (
            "# A static sentence encoder\n\nThe vector of a sentence is the mean of those of its tokens. It is a model "
            f"without layers{of}, and has a space of its own{f'. Languages: {languages}' if languages else ''}."
        )
    if facts.is_encoder and facts.teacher and facts.task == "embedding":
        return (
            f"# A multilingual sentence encoder\n\nIt answers sentences in {languages} with the vectors that the "
            f"teacher `{facts.teacher}` has for their translations. Trained by knowledge distillation with mlembed."
        )
    if facts.is_encoder:
        trained = f" for {languages}" if languages else ""
        return f"# A sentence encoder\n\nIt turns sentences into vectors{trained}. Exported with mlembed."
    distilled = f" It was distilled from `{facts.teacher}`." if facts.teacher else ""
    answers = f"It answers {f'in {languages} ' if languages else ''}with: {', '.join(facts.labels)}."
    return f"# A multilingual model with labels\n\n{answers}{distilled} Trained with mlembed."


def _training(facts: CardFacts) -> str:
    """Where it comes from: teacher, start, data, and the command."""
    lines = []
    if facts.teacher:
        lines.append(f"- teacher: `{facts.teacher}`")
    if facts.base and facts.base != facts.teacher:
        lines.append(f"- started from: `{facts.base}`")
    lines += [f"- {part}: {', '.join(f'`{name}`' for name in names)}" for part, names in facts.sources.items()]
    lines += [f"- data set: `{name}`" for name in facts.datasets]
    parts = ["\n".join(lines), _count_table(facts.counts)]
    if facts.command:
        parts.append(f"Trained by:\n\n```bash\n{facts.command}\n```")
    told = [part for part in parts if part]
    return "\n\n".join(["## Training", *told]) if told else ""


def _count_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    if not counts:
        return ""
    languages = sorted({language for part in counts.values() for language in part})
    rows = [
        "| rows | " + " | ".join(counts) + " |",
        "| :--- |" + " ---: |" * len(counts),
        *(
            f"| {language} | " + " | ".join(str(part.get(language, "")) for part in counts.values()) + " |"
            for language in languages
        ),
        "| **all** | " + " | ".join(f"**{sum(part.values())}**" for part in counts.values()) + " |",
    ]
    return "\n".join(rows)


def _deeper(report: str) -> str:
    """A report as a part of the card: its headings one level down."""
    return re.sub(r"^#", "##", report.rstrip(), flags=re.MULTILINE)


def _limits(facts: CardFacts) -> str:
    lines = []
    if facts.max_length is not None:
        lines.append(f"- Of a text the first {facts.max_length} tokens are read; what follows has no effect.")
    if facts.languages:
        lines.append("- Other languages than those above were neither trained nor measured here.")
    if facts.teacher:
        lines.append(
            "- It learnt to answer as its teacher does, mistakes and prejudices included; its licence and that of the "
            "data hold for what is made of them."
        )
    return "\n".join(["## Limits", "", *lines]) if lines else ""


def _shown(name: str) -> str:
    """The name of a file, without the folder it lay in on somebody's machine."""
    return name if is_package_name(name) or _hub_data_set(name) else PurePath(name).name


def _hub_data_set(name: str) -> str | None:
    """The data set of `hub:NAME:SUBSET:SPLIT`; None for a file, or for a folder on somebody's machine."""
    data_set = name.removeprefix(HUB_PREFIX).partition(":")[0]
    is_one = is_hub_name(name) and DATA_SET.fullmatch(data_set) and not Path(data_set).exists()
    return data_set if is_one else None
