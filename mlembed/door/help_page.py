"""The page of `mlembed train --help`: every choice and every key, with its value and its explanation."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from mlembed.config import GROUPS
from mlembed.door.command_line import config_of

USAGE = {
    "train": """\
usage: mlembed train [GROUP=CHOICE ...] [KEY=VALUE ...] [options]

  mlembed train                                                        the built-in demonstration
  mlembed train data=files data.train=my.tsv data.languages=[de,hi]    your own parallel text
  mlembed train loss=cosine optimizer.lr=1e-4 run.name=try             other choices, other values
  mlembed train -m loss=mse,cosine optimizer.lr=1e-4,3e-4              a sweep of four runs
  mlembed train --resume runs/RUN                                      go on with a run that was interrupted
""",
    "check": """\
usage: mlembed check [GROUP=CHOICE ...] [KEY=VALUE ...] [options]

  mlembed check data=files data.train=my.tsv                what `mlembed train` with the same words would meet
  mlembed check data=files data.train=my.tsv --write-clean clean.tsv
                                                            and keep the rows without findings, to train on
""",
    "eval": """\
usage: mlembed eval RUN|CHECKPOINT|FOLDER [KEY=VALUE ...] [options]

  mlembed eval runs/RUN                                     a run's best student on the run's own test set
  mlembed eval runs/RUN data.test=my.tsv                    the same student on other sentences
  mlembed eval FOLDER data.test=my.tsv teacher.name=NAME    any model, beside its teacher
  mlembed eval runs/RUN --mteb STS17,Tatoeba                on tasks of mteb, where that is installed
""",
    "tune": """\
usage: mlembed tune [GROUP=CHOICE ...] [KEY=VALUE ...] [options]

  mlembed tune data=files data.train=my.tsv run.name=first                a study in runs/first; given again, it goes on
  mlembed tune loss=sum space=loss_weights trainer.evaluate_every=50      another space; bad trials are ended early
  mlembed tune space.optimizer.lr.high=1e-2 space.optimizer.schedule=null another border, and a key less
""",
    "bench": """\
usage: mlembed bench [GROUP=CHOICE ...] [KEY=VALUE ...] [options]

  mlembed bench                                             some demonstration data, in a minute or two
  mlembed bench model=pretrained model.student.name=FOLDER data=files data.train=my.tsv bench.sources=500
  mlembed bench bench.peers=[] bench.rounds=3               mlembed alone, three times
""",
}
SWEEP = "  -m, --multirun                run one job for each combination of values that commas part\n"
OWN_OPTIONS = {
    "train": SWEEP
    + "  --resume RUN                  go on with a run that was interrupted, with its own configuration\n",
    "check": """\
  --sample ROWS                 rows for the costly looks (languages, pairs that do not fit); 10000
  --json FILE                   a file for all that was found, with file:line
  --write-clean FILE            a file for the rows without findings: .tsv or .jsonl, .gz too
""",
    "eval": SWEEP + "  --mteb TASK,...               measure on these tasks of mteb, in place of a test set\n",
}
OPTIONS = """\
  --help                        this page
  --cfg job                     show the configuration that would be used; nothing runs
  --config-dir FOLDER           a folder with choices of your own, such as FOLDER/loss/mine.yaml for loss=mine
  --config-name NAME            a whole configuration of your own in that folder, instead of conf/{verb}.yaml
  --info searchpath, --hydra-help    what Hydra, which composes the configuration, can tell and do
"""
VALUE = r"""(?:"[^"]*"|'[^']*'|[^#'"]|(?<! )#)*"""
LINE = re.compile(rf"^(?P<indent> *)(?P<key>\w+):{VALUE}(?: #\s*(?P<comment>.*))?$")
COLUMN = 48


def help_page(verb: str, composed: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        verb: a key of `USAGE`.
        composed: the composed configuration, as a plain dict.
        choices: group -> the chosen option.
    """
    width = min(shutil.get_terminal_size((130, 24)).columns, 160)
    groups = {group: choices[group] for group in GROUPS[verb] if group in choices}
    explained: dict[str, str] = dict(comments_of(text_of(f"{config_of(verb)}.yaml")))
    heads: dict[str, str] = {}
    for group, choice in groups.items():
        text = text_of(f"{group}/{choice}.yaml")
        head = [line.removeprefix("# ") for line in text.splitlines() if re.match("# (?!@package)", line)]
        heads[group] = " ".join(head)
        explained.update(comments_of(text, prefix=f"{group}."))
    options = OWN_OPTIONS.get(verb, "") + OPTIONS.format(verb=config_of(verb))
    lines = [f"{USAGE[verb]}\noptions:\n{options}"]
    lines += ["groups (GROUP=CHOICE) and keys (KEY=VALUE), with the values of this command:", ""]
    for group, choice in groups.items():
        others = ", ".join(option for option in options_of(group) if option != choice)
        words = [heads[group] if choice else explained[group], f"[or {others}]" if others else ""]
        lines += [*_row(f"{group}={choice or 'null'}", " ".join(words), width=width, indent="")]
        lines += [*_rows(group, composed.get(group), explained, width=width), ""]
    for key, value in composed.items():
        if key not in groups:
            lines += _rows(key, value, explained, width=width)
    return "\n".join(lines)


def options_of(group: str) -> list[str]:
    """The names of the files in a group's folder of the package."""
    names = [item.name for item in (_conf() / group).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def _conf() -> Any:
    return resources.files("mlembed.conf")


def text_of(name: str) -> str:
    """The text of a file of conf/; nothing where the user's own folder has the choice."""
    path = _conf() / name
    return str(path.read_text(encoding="utf-8")) if path.is_file() else ""


def comments_of(text: str, *, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each dotted key of a YAML file with the comment on its line."""
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("- ") and (found := LINE.match(line.replace("- ", "", 1).strip())):
            yield found["key"], found["comment"] or ""  # an entry of the defaults list
        elif found := LINE.match(line):
            indent = len(found["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            yield prefix + ".".join([*(name for _, name in parents), found["key"]]), found["comment"] or ""
            parents.append((indent, found["key"]))


def _rows(key: str, value: Any, explained: Mapping[str, str], *, width: int) -> Iterator[str]:
    # What is tried for a key of the space is one row, with one explanation.
    is_tried = key.startswith("space.") and isinstance(value, Mapping) and isinstance(value.get("kind"), str)
    if isinstance(value, Mapping) and value and not is_tried:
        for name, item in value.items():
            if name != "kind":  # the group's choice says it
                yield from _rows(f"{key}.{name}", item, explained, width=width)
    elif key not in explained or value is not None or "." in key:
        yield from _row(f"{key}={_shown(value)}", explained.get(key, ""), width=width, indent="  ")


def _row(left: str, right: str, *, width: int, indent: str) -> list[str]:
    left = indent + left
    wrapped = textwrap.wrap(right, max(width - COLUMN, 30)) or [""]
    if len(left) < COLUMN:
        wrapped[0] = left.ljust(COLUMN) + wrapped[0]
        first = wrapped[:1]
    else:
        first = [left, " " * COLUMN + wrapped[0]]
    return [line.rstrip() for line in [*first, *(" " * COLUMN + line for line in wrapped[1:])]]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False).replace('"', "").replace(", ", ",")
