"""The words after a verb: options, and overrides as KEY=VALUE."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlembed.config_door import nearest
from mlembed.errors import ConfigError

# Option -> its short form, and the values that it takes ("" where it takes none).
OPTIONS = {
    "--help": ("-h", ""),
    "--cfg": ("-c", "job|hydra|all"),
    "--multirun": ("-m", ""),
    "--config-dir": ("-cd", "FOLDER"),
    "--config-name": ("-cn", "NAME"),
    "--info": ("-i", "defaults|defaults-tree|searchpath|plugins|config|all"),
    "--hydra-help": ("", ""),
}
# Those of one verb alone.
OWN_OPTIONS = {
    "train": {"--resume": ("", "RUN")},
    "eval": {"--mteb": ("", "TASK,...")},
    "check": {"--json": ("", "FILE"), "--write-clean": ("", "FILE"), "--sample": ("", "ROWS")},
}
# The verbs that take -m; the others know it too, to say why they do not.
SWEEPING = ("train", "eval")
# No key lies so deep; the libraries below call themselves for each level.
MOST_DOTS = 20
KEY = re.compile(r"(\+\+|\+|~)?[^\W\d][\w./@:-]*")


@dataclass
class CommandLine:
    """A verb's command line, parted.

    Args:
        verb: `train`, `check`, `eval`, `bench` or `tune`.
        options: long option -> its value ("" where it takes none).
        overrides: KEY=VALUE, GROUP=NAME or ~KEY, as they were given.
    """

    verb: str
    options: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    def option_words(self, *, without: Sequence[str] = ()) -> list[str]:
        """The options and their values as words again; Hydra's parser wants them before the overrides."""
        return [part for item in self.options.items() if item[0] not in without for part in item if part]


def config_of(verb: str) -> str:
    """The file of conf/, without its ending, that a verb is configured by."""
    return "train" if verb == "check" else verb


def shown_options(verb: str) -> list[str]:
    """The options that a verb's help and tab completion name."""
    known = [*OPTIONS, *OWN_OPTIONS.get(verb, {})]
    return [option for option in known if option != "--multirun" or verb in SWEEPING]


def parse_words(verb: str, words: Sequence[str]) -> CommandLine:
    """Part the words after a verb; options may stand anywhere.

    Raises:
        ConfigError: an option that there is not, a missing value, or a word that is neither option nor KEY=VALUE.
    """
    known = OPTIONS | OWN_OPTIONS.get(verb, {})
    names = {name: name for name in known} | {short: name for name, (short, _) in known.items() if short}
    line = CommandLine(verb)
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            is_target = verb == "eval" and not line.overrides and ("=" not in word or Path(word).exists())
            line.overrides.append(path_override("target", word) if is_target else _checked(word, verb=verb))
            continue
        given, equals, value = word.partition("=")
        if given not in names:
            raise ConfigError(f"there is no option {given} (mlembed {verb} --help lists them){nearest(given, known)}")
        name = names[given]
        wanted = known[name][1]
        if wanted and not equals:
            value = next(rest, "")
        choices = wanted.split("|")
        if wanted and (not value or (len(choices) > 1 and value not in choices)):
            raise ConfigError(f"{name} needs a value: {name} {wanted}")
        if name == "--config-dir" and not Path(value).is_dir():
            raise ConfigError(f"--config-dir {value}: there is no such folder")
        line.options[name] = value if wanted else ""
    return line


def _checked(word: str, *, verb: str) -> str:
    key, equals, _ = word.partition("=")
    if key.count(".") > MOST_DOTS:
        raise ConfigError(f"{word[:80]}...: there is no such key")
    if KEY.fullmatch(key) and (equals or key.startswith("~")):
        return word
    if equals:
        missing = "there is no key before the =" if not key else f"{key!r} is not a key"
        raise ConfigError(f"{word}: {missing}; write KEY=VALUE, without spaces around the =")
    path = Path(word)
    if verb == "train" and (path / "config.json").is_file():
        raise ConfigError(f"{word}: to go on with a run, write mlembed train --resume {word}")
    if path.suffix in (".yaml", ".yml"):
        how = f"--config-dir {path.parent} --config-name {path.stem}"
        raise ConfigError(f"{word}: a file of configuration is given as {how}")
    if path.is_file():
        key = "data.test" if verb == "eval" else "data.train"
        raise ConfigError(f"{word}: to use a file of your own, write data=files {key}={word}")
    wanted = "neither an option nor KEY=VALUE (without spaces around the =)"
    raise ConfigError(f"{word}: {wanted}; see mlembed {verb} --help")


def path_override(key: str, value: str) -> str:
    """`key='value'`, quoted for Hydra's grammar."""
    return f"{key}={quoted(value)}"


def list_override(key: str, values: str) -> str:
    """`key=['a','b']` of values with commas between them."""
    return f"{key}=[{','.join(quoted(value.strip()) for value in values.split(',') if value.strip())}]"


def quoted(value: str) -> str:
    """A value in quotes, as Hydra's grammar wants it: a backslash counts where it stands before a quote."""
    escaped = re.sub(r"(\\*)'", lambda match: match.group(1) * 2 + r"\'", value)
    escaped = re.sub(r"(\\+)$", lambda match: match.group(1) * 2, escaped)
    return f"'{escaped}'"
