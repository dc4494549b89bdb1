"""Tab completion: the scripts for the shells, and what can follow a line that was begun."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError

BASH = r"""_mlembed() {
    local begun="${COMP_LINE:0:$COMP_POINT}" kept="" part answer IFS=$'\n'
    begun="${begun##* }"
    # The shell replaces what comes after the last = or :, where these part its words.
    for part in = :; do
        [[ "$COMP_WORDBREAKS" == *"$part"* && "${begun#"$kept"}" == *"$part"* ]] && kept="${begun%"$part"*}$part"
    done
    COMPREPLY=()
    for answer in $(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" mlembed -sc query=bash 2>/dev/null); do
        COMPREPLY+=("${answer#"$kept"}")
    done
}
complete -o default -o nospace -F _mlembed mlembed
"""
SCRIPTS = {
    "bash": BASH,
    "zsh": "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + BASH,
}
# Verbs without a configuration, and their options.
PLAIN = {
    "embed": ("--input", "--output", "--column", "--batch-tokens", "--precision", "--device", "--help"),
    "predict": (
        *("--input", "--output", "--column", "--column-b", "--top", "--threshold", "--on-error"),
        *("--batch-tokens", "--precision", "--device", "--help"),
    ),
    "export": ("--output", "--to", "--width", "--prune-vocabulary", "--keep-tokens", "--texts", "--column", "--help"),
    "push": ("--private", "--revision", "--message", "--dry-run", "--help"),
    "runs": ("--sort", "--metric", "--json", "--html", "--help"),
    "report": ("--help",),
    "cache": ("--json", "--older-than", "--dry-run", "--yes", "--help"),
}
# What these are followed by is a file, which the shell completes itself.
FILE_OPTIONS = ("--resume", "--config-dir", "-cd", "--json", "--write-clean", "--sample", "--mteb")
# What comes first after these verbs.
ACTIONS = {"cache": ("ls", "clear"), "runs": ("ls", "show", "compare")}


def complete(arguments: Sequence[str], *, verbs: Sequence[str]) -> int:
    """Print the script for a shell (`install=bash`), or the words that can follow `COMP_LINE` (`query=bash`)."""
    action, _, shell = (arguments[0] if arguments else "").partition("=")
    if shell not in SCRIPTS or action not in ("install", "query"):
        raise ConfigError(f'completion is there for {" and ".join(SCRIPTS)}: eval "$(mlembed -sc install=bash)"')
    if action == "install":
        print(SCRIPTS[shell], end="")
        return 0
    line = os.environ.get("COMP_LINE", "")
    line = line[: int(os.environ.get("COMP_POINT") or len(line))]
    words = line.split()
    begun = "" if not words or line.endswith(" ") else words.pop()
    found = sorted({word for word in _candidates(words[1:], begun, verbs=verbs) if word.startswith(begun)})
    print("".join(f"{word}\n" for word in found), end="")
    return 0


def _candidates(words: list[str], begun: str, *, verbs: Sequence[str]) -> Iterator[str]:
    """What can come next; nothing where it is a file, which the shell completes itself."""
    if not words:
        yield from (f"{verb} " for verb in verbs)
        return
    verb, last = words[0], words[-1]
    if len(words) == 1 and not begun.startswith("-"):
        yield from (f"{action} " for action in ACTIONS.get(verb, ()))
    if verb in PLAIN:
        yield from (f"{option} " for option in PLAIN[verb] if begun.startswith("-"))
        return
    if verb not in verbs or last in FILE_OPTIONS or (words == ["eval"] and begun[:1] != "-"):
        return
    if begun.startswith("-"):
        from mlembed.door.command_line import shown_options

        yield from (f"{option} " for option in shown_options(verb))
    elif "=" in begun:
        yield from _values(verb, words, *begun.split("=", 1))
    else:
        yield from _names(verb, begun)


def _names(verb: str, begun: str) -> Iterator[str]:
    """Groups and keys, one level at a time: `optimizer.` before `optimizer.lr=`."""
    from mlembed.config import GROUPS, SCHEMAS
    from mlembed.config_door import keys_of

    yield from (f"{group}=" for group in GROUPS[verb])
    keys = list(keys_of(SCHEMAS[verb]))
    depth = begun.count(".") + 1
    for key in keys:
        parts = key.split(".")
        if len(parts) > depth:
            yield ".".join(parts[:depth]) + "."
        elif parts[-1] != "kind" and not any(other.startswith(f"{key}.") for other in keys):
            yield f"{key}="


def _values(verb: str, words: list[str], key: str, begun: str) -> Iterator[str]:
    """The choices of a group, the names that a key knows, or files; after a comma, of the next value of a sweep."""
    from mlembed.config import GROUPS, SCHEMAS
    from mlembed.config_door import fields_of
    from mlembed.door.help_page import options_of

    before = begun[: begun.rfind(",") + 1]
    if key in GROUPS[verb]:
        folders = [Path(folder, key) for word, folder in pairwise(words) if word == "--config-dir"]
        own = [path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")]
        yield from (f"{key}={before}{option} " for option in [*options_of(key), *own])
        return
    annotations = [annotation for name, annotation in fields_of(SCHEMAS[verb]) if name == key]
    named = [f"{key}={before}{choice} " for annotation in annotations for choice in _literals(annotation)]
    yield from named or (f"{key}={path}" for path in _files(begun))


def _literals(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from _literals(part)


def _files(begun: str) -> Iterator[str]:
    folder, _, name = begun.rpartition("/")
    place = Path(f"{folder}/" if folder or begun.startswith("/") else ".")
    if begun and place.is_dir():
        for path in place.iterdir():
            if path.name.startswith(name):
                yield begun[: len(begun) - len(name)] + path.name + ("/" if path.is_dir() else " ")
