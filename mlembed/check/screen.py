"""What a check found, for people: severities, counts, the worst rows, and what training will see and cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlembed.check.findings import Finding, Severity
from mlembed.check.looks import Looks
from mlembed.errors import DONE
from mlembed.report.tables import terminal_table

WORST_ROWS = 3
LONGEST_TEXT = 70
MOST_TOKENS = 24
STYLES: Mapping[Severity, str] = {"stops": "bold red", "warns": "yellow", "left out": "dim"}
ORDER: tuple[Severity, ...] = ("stops", "warns", "left out")


def show(looks: Looks) -> None:
    """Print all of it to standard output."""
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    for part in _parts(looks):
        console.print(part)
    baseline = looks.about.get("baseline")
    if baseline is not None:
        console.print(terminal_table(baseline["report"], width=min(console.width, 100)))
        console.print(Text(f"before training, on {baseline['test_set']}\n", style="dim"))
    for part in _ending(looks):
        console.print(part)


def _parts(looks: Looks) -> Iterator[Any]:
    about = looks.about
    if "read" in about:
        yield _table("rows", ["part", "read", "bad", "kept", "left out, and why"], _read_rows(about["read"]))
    if "used" in about:
        yield _table("rows that are used, by language", ["language", *_used_parts(about)], _used_rows(about))
    if "tokens" in about:
        header = ["language", "texts", "tokens a word", "unknown", "cut", "longest"]
        yield _table("tokens of the student", header, _token_rows(about["tokens"]))
    if "models" in about:
        yield _lines("models", [f"{role}: {_said(one)}" for role, one in about["models"].items()])
    if "stages" in about:
        yield _lines("before that, models learn the labels", about["stages"])
    if "sees" in about:
        yield _lines("what the student sees", list(_seen(about["sees"])))


def _table(title: str, header: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left")
    for at, name in enumerate(header):
        table.add_column(name, justify="left" if at == 0 or name.endswith("why") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    table.caption = " "
    return table


def _lines(title: str, lines: list[str]) -> Text:
    return Text("\n").join([Text(title, style="italic"), *(Text(f"  {line}") for line in lines), Text("")])


def _read_rows(read: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for part, one in read.items():
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(one["filtered"].items())) or "none"
        rows.append([part, f"{one['read']:,}", f"{one['bad']:,}", f"{one['kept']:,}", why])
    return rows


def _used_parts(about: Mapping[str, Any]) -> list[str]:
    return [part for part, one in about["used"].items() if isinstance(one, dict) and "languages" in one]


def _used_rows(about: Mapping[str, Any]) -> list[list[str]]:
    parts = _used_parts(about)
    of = {part: about["used"][part]["languages"] for part in parts}
    languages = sorted({language for one in of.values() for language in one})
    return [[language, *(f"{of[part].get(language, 0):,}" for part in parts)] for language in languages]


def _token_rows(tokens: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            language,
            str(one["texts"]),
            f"{one['tokens_per_word']:.2f}",
            f"{100 * one['unknown']:.2f} %",
            f"{100 * one['cut']:.2f} %",
            str(one["longest"]),
        ]
        for language, one in tokens.items()
    ]


def _said(model: Mapping[str, Any]) -> str:
    words = [f"{model['parameters'] / 1e6:.1f} M parameters", f"{model['width']} numbers a text"]
    if "pooling" in model:
        words += [f"pooling {model['pooling']}", f"dense {', '.join(model['dense']) or 'none'}"]
        words += ["length 1" if model["normalize"] else "any length"]
    if "labels" in model:
        words.append(f"labels {' '.join(model['labels'][:12])}")
    words.append(f"reads {model['max_length']} tokens")
    if "mean_cosine" in model:
        words.append(f"mean cosine of different sentences {model['mean_cosine']:.2f}")
    return "; ".join(words)


def _seen(sees: list[Mapping[str, Any]]) -> Iterator[str]:
    for one in sees:
        tokens = " ".join(one["tokens"][:MOST_TOKENS]) + (" …" if len(one["tokens"]) > MOST_TOKENS else "")
        yield f"{one['place']} ({one['role']})"
        yield f"  text    {_short(one['text'], 2 * LONGEST_TEXT)}"
        yield f"  tokens  {tokens}"
        yield f"  label   {_short(one['label'], 2 * LONGEST_TEXT)}"


def _short(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _ending(looks: Looks) -> Iterator[Any]:
    if "cost" in looks.about:
        yield _lines("what the training will take", list(_cost(looks.about["cost"])))
    if looks.findings:
        yield Text("findings", style="italic")
        for finding in sorted(looks.findings, key=lambda one: (ORDER.index(one.severity), -one.count)):
            yield _finding(finding)
    if "languages" in looks.about:
        yield Text(f"languages: {looks.about['languages']}", style="yellow")
    if "clean" in looks.about:
        clean = looks.about["clean"]
        yield Text(f"{clean['rows']:,} of {clean['of']:,} rows have no finding: {clean['file']}")
    yield _verdict(looks)


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    parts = ", ".join(f"{name} {_time(seconds)}" for name, seconds in cost["seconds_by_part"].items())
    epochs = f"{cost['epochs']} epoch{'s' if cost['epochs'] > 1 else ''}"
    yield (
        f"steps   {cost['total']:,} ({epochs}), {cost['seconds']:.2f} s each, by {cost['done']} real ones; "
        f"{cost['texts_per_s']:.0f} texts/s; {cost['precision']} on {cost['device']}"
    )
    if cost["skipped"]:
        yield f"        {cost['skipped']} OF THESE HAD A LOSS OR GRADIENT THAT WAS NOT FINITE"
    yield f"time    about {_time(cost['seconds_in_all'])}: {parts}"
    yield f"memory  {_size(cost['memory_bytes'])} at most so far"
    size = cost["disk_bytes"]
    yield (
        f"disk    {_size(size['run'])} in the run directory ({_size(size['at_most'])} while it saves; a checkpoint is "
        f"{_size(size['checkpoint'])}), {_size(size['teacher_store'])} of teacher's vectors in the cache"
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _finding(finding: Finding) -> Text:
    text = Text()
    text.append(f"  {finding.severity:<9}", style=STYLES[finding.severity])
    text.append(f"{finding.count:,} x {finding.title}", style="bold")
    if finding.looked_at and finding.looked_at < finding.of:
        text.append(f" in a sample of {finding.looked_at:,}; about {finding.expected:,} among all {finding.of:,}")
    if finding.by_language:
        text.append(f" ({', '.join(f'{language} {count:,}' for language, count in finding.by_language.items())})")
    if finding.kind != "failed":
        text.append(f": {finding.advice}", style="dim")
    for message in finding.messages:
        text.append(f"\n            {message}")
    for row in finding.rows[:WORST_ROWS]:
        text.append(f"\n            {row.file}:{row.line}: {row.why}")
        if row.source or row.target:
            text.append(f"\n              {_short(row.source)} | {_short(row.target)}", style="dim")
    if len(finding.rows) > WORST_ROWS:
        text.append(f"\n            and {finding.count - WORST_ROWS:,} more", style="dim")
    return text


def _verdict(looks: Looks) -> Text:
    if looks.exit_code == DONE:
        warns = sum(one.severity == "warns" for one in looks.findings)
        return Text(
            f"nothing would stop the training; {warns} kind{'' if warns == 1 else 's'} of warnings", style="bold green"
        )
    return Text(f"the training would end with exit code {looks.exit_code}: see what stops it above", style="bold red")
