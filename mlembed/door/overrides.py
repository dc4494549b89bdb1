"""Overrides made ready for Hydra, whose grammar is narrower than what people write."""

from __future__ import annotations

from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from mlembed.config import GROUPS, RECIPES, SCHEMAS
from mlembed.config_door import fields_of, is_text, names_of
from mlembed.door.command_line import CommandLine, path_override, quoted

BRACKETS = {"[": "]", "{": "}", "'": "'", '"': '"'}


def keys(overrides: Iterable[str]) -> list[str]:
    """The dotted keys (or groups) that overrides set."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [override.key_or_group.replace("/", ".") for override in parsed]


class Quoting:
    """Makes overrides readable for Hydra, and the same as what people mean.

    A value that Hydra's grammar cannot read is quoted (`run.name=français`, `data.train=/a b/c=d.tsv`), and so is a
    number where a text belongs (`run.name=1.10`). Keys that are not groups are forced (`++`): whether there is such a
    key is told by the schema, together with all other problems, and a key of another choice than the default one can be
    given for a run that is gone on with.

    Args:
        line: the command line that the overrides are from.
    """

    def __init__(self, line: CommandLine) -> None:
        schema = SCHEMAS[line.verb]
        self.groups, self.known = GROUPS[line.verb], names_of(schema)
        self.texts = {key for key, annotation in fields_of(schema) if is_text(annotation)}
        self.is_sweep = "--multirun" in line.options
        # In a folder of the user's own there may be more groups.
        self.has_own_files = bool({"--config-dir", "--config-name"} & line.options.keys())
        self.parser = OverridesParser.create()

    def __call__(self, override: str) -> str:
        """The override as Hydra gets it."""
        key, equals, value = override.partition("=")
        name = key.lstrip("+~")
        if name in self.groups and value == "null":
            # Hydra leaves a group out in these words alone; what cannot be left out it answers with the choices.
            return f"~{name}" if name in RECIPES else path_override(name, value)
        value = self._value(value, is_text=name in self.texts or name in self.groups)
        return f"{self._forced(key, name)}{equals}{value}"

    def _forced(self, key: str, name: str) -> str:
        if name in self.groups or key.startswith("~"):
            return key.lstrip("+")
        can_be_group = name in GROUPS["train"] or (self.has_own_files and "." not in name and name not in self.known)
        is_config_key = not set(name) & set("/@:") and not name.startswith("hydra.") and not can_be_group
        return f"++{name}" if is_config_key else key

    def _value(self, value: str, *, is_text: bool) -> str:
        inner = value[1:-1] if value.startswith("[") and value.endswith("]") else None
        if inner is not None and not set(inner) & set("[]{}'\"()$"):
            return f"[{','.join(self._item(item.strip(), is_text=is_text) for item in inner.split(',') if inner)}]"
        if self._read(value) is None and self.is_sweep and "," in value and not set(value) & set("[]{}'\"()"):
            return ",".join(self._item(item.strip(), is_text=is_text) for item in value.split(","))
        return self._item(value, is_text=is_text)

    def _item(self, value: str, *, is_text: bool) -> str:
        override = self._read(value)
        if override is None:
            return value if len(value) > 1 and BRACKETS.get(value[0]) == value[-1] else quoted(value)
        return quoted(value) if is_text and isinstance(override.value(), bool | int | float) else value

    def _read(self, value: str) -> Override | None:
        try:
            return self.parser.parse_override(f"key={value}")
        except (HydraException, ValueError, RecursionError):  # a number of thousands of digits, brackets without end
            return None
