"""Where files lie that runs share and that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$MLEMBED_CACHE`, else `$XDG_CACHE_HOME/mlembed`, else `~/.cache/mlembed`; it is not made here."""
    if own := os.environ.get("MLEMBED_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "mlembed"
