"""What `mlembed check` is told beside the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mlembed.errors import ConfigError

# Rows that the costly looks see: which language, and whether both sides say the same.
SAMPLE = 10_000
CLEAN_ENDINGS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class CheckOptions:
    """Where findings go, and how much is looked at.

    Args:
        sample: rows that the costly looks see, at most.
        json: where all findings are written.
        write_clean: where the rows without findings are written.
    """

    NAMES: ClassVar = ("sample", "json", "write-clean")
    sample: int = SAMPLE
    json: Path | None = None
    write_clean: Path | None = None

    @property
    def ending(self) -> str:
        """The ending of the clean file, which says its format."""
        assert self.write_clean is not None
        name = self.write_clean.name.lower()
        return next(one for one in CLEAN_ENDINGS if name.endswith(one))

    def refuse_inputs(self, data: Any) -> None:
        """Make sure that no file is overwritten that is read.

        Raises:
            ConfigError: a file that is written is one of the data.
        """
        for option, path in (("--write-clean", self.write_clean), ("--json", self.json)):
            for part in ("train", "validation", "test", "parallel", "unlabelled"):
                for name in getattr(data, part, None) or ():
                    if path is not None and Path(name).resolve() == path.resolve():
                        raise ConfigError(f"{option} {name}: this is data.{part}; give the name of another file")


def read_options(given: Mapping[str, str | None]) -> CheckOptions:
    """Options from the command line.

    Args:
        given: name without dashes -> value, or None.

    Raises:
        ConfigError: a value cannot be used.
    """
    sample, found = given["sample"] or str(SAMPLE), {}
    if not sample.isdecimal() or int(sample) < 1:
        raise ConfigError(f"--sample {sample}: give a number of rows from 1")
    for name in ("json", "write-clean"):
        if (value := given[name]) is not None:
            path = found[name] = Path(value)
            if not path.parent.is_dir():
                raise ConfigError(f"--{name} {path}: there is no folder {path.parent}")
            if path.is_dir():
                raise ConfigError(f"--{name} {path}: this is a folder; give the name of a file")
    clean = found.get("write-clean")
    if clean is not None and not clean.name.lower().endswith(CLEAN_ENDINGS):
        raise ConfigError(f"--write-clean {clean}: the ending says the format; use one of {', '.join(CLEAN_ENDINGS)}")
    return CheckOptions(int(sample), found.get("json"), clean)
