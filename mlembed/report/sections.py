"""Parts of `report.md` beside the results: what was read, and how the tokenizers cut it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlembed.report.metrics import METRICS

VOCABULARY_NOTE = (
    "How the tokenizers cut the text of the test set: tokens for each word between spaces (large for scripts without "
    "spaces), and the share of tokens that are unknown."
)

WIDTHS_NOTE = (
    "The student with the first dimensions alone, means over the languages. To use it so, cut the vectors and give "
    "them the length 1 again; sentence-transformers does it with `truncate_dim`."
)


def data_section(metadata: Mapping[str, Any]) -> str:
    """Rows read, filtered (and why) and kept of each file set, and rows used; empty where nothing is known of them.

    Args:
        metadata: of the report; `data` holds the counts, `epoch` how many texts are learnt from in an epoch.
    """
    counts = dict(metadata.get("data") or {})
    used = counts.pop("used", None)
    rows = []
    for part, read in counts.items():
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(read["filtered"].items())) or "none"
        rows.append([part, str(read["read"]), str(read["bad"]), str(read["kept"]), reasons])
    if not rows:
        return ""
    parts = ["## Data", grid(["", "read", "bad", "kept", "filtered"], rows)]
    if used:
        uses = [
            f"{part} {used[part]['rows']} rows of {used[part]['sources']} sources"
            for part in used
            if part not in ("leaks_dropped", "left_out")
        ]
        parts.append(
            f"Used: {', '.join(uses)}; {used['leaks_dropped']} training rows were dropped because they are held out."
        )
        if left_out := used.get("left_out"):
            reasons = ", ".join(f"{why.replace('_', ' ')} {sum(by.values())}" for why, by in left_out.items())
            parts.append(f"Left out of the labelled rows: {reasons}.")
    if epoch := metadata.get("epoch"):
        drawn = ", ".join(f"{language} {count}" for language, count in epoch["translations"].items())
        parts.append(f"An epoch has {epoch['sources']} sources and these translations: {drawn}.")
    if examples := [f"- {example}" for read in counts.values() for example in read["bad_examples"]]:
        parts.append("Bad rows, the first of each part:\n\n" + "\n".join(examples))
    return "\n\n".join(parts)


def alarm_section(metadata: Mapping[str, Any]) -> str:
    """What went wrong while the student was trained; empty where nothing did.

    Args:
        metadata: of the report; `watch` holds the alarms by kind.
    """
    alarms = (metadata.get("watch") or {}).get("alarms") or {}
    if not alarms:
        return ""
    lines = [
        f"- {one['title'].capitalize()}, steps {one['since']} to {one['last']}"
        f"{'' if one['is_on'] else ' (then no more)'}: {one['seen']}."
        for one in alarms.values()
    ]
    return "\n\n".join(["## Alarms", "\n".join(lines), "The likely causes are in `log.txt`."])


def vocabulary_section(metadata: Mapping[str, Any]) -> str:
    """Tokens a word and unknown tokens by language; empty where they were not measured.

    Args:
        metadata: of the report; `vocabulary` holds language -> system -> measurements.
    """
    vocabulary = metadata.get("vocabulary") or {}
    if not vocabulary:
        return ""
    systems = list(dict.fromkeys(system for language in vocabulary.values() for system in language))
    header = ["language", *(f"{what}, {system}" for what in ("tokens a word", "unknown") for system in systems)]
    rows = []
    for language, measured in vocabulary.items():
        words = [f"{measured[system]['tokens_per_word']:.2f}" for system in systems]
        unknown = [f"{100 * measured[system]['unknown']:.1f} %" for system in systems]
        rows.append([language, *words, *unknown])
    return "\n\n".join(["## Vocabulary", VOCABULARY_NOTE, grid(header, rows)])


def width_section(metadata: Mapping[str, Any]) -> str:
    """Means over the languages with the first dimensions alone; empty where the student was not trained for it.

    Args:
        metadata: of the report; `widths` holds width -> metric -> mean.
    """
    widths = metadata.get("widths") or {}
    if not widths:
        return ""
    names = list(next(iter(widths.values())))
    header = ["dimensions", *(METRICS[name].title for name in names)]
    rows = [[width, *(METRICS[name].format(means[name]) for name in names)] for width, means in widths.items()]
    return "\n\n".join(["## Widths", WIDTHS_NOTE, grid(header, rows)])


def grid(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose columns also line up where it is read as plain text; numbers stand to the right."""
    widths = [max(3, *(len(row[at]) for row in [header, *rows])) for at in range(len(header))]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in [header, *rows]
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [lines[0], rule, *lines[1:]])
