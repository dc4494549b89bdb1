"""Fuzzes by coverage with atheris: inputs that reach new lines of mlembed are changed further."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import NoReturn


def fuzz_by_coverage(name: str, *, inputs: int, seed: int, mib: int, to: Path) -> NoReturn:
    """Fuzz a target; ends the process, at the first finding or after all inputs.

    Where an input has several files it is the first one that atheris changes.

    Args:
        name: of the target.
        inputs: how many.
        seed: another one makes others.
        mib: memory that the process may take beyond a gigabyte.
        to: folder that the file which broke something goes to.
    """
    try:
        import atheris
    except ImportError:
        sys.exit('atheris is not installed: pip install "mlembed[fuzz]"')
    with atheris.instrument_imports(include=["mlembed"], enable_loader_override=False):
        from fuzzing.seeds_folders import write_files
        from fuzzing.targets import TARGETS
        from mlembed.errors import MlembedError

        target = TARGETS[name]
        seeds = target.seeds()
    main_file = min(seeds[0])
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, files in enumerate(seeds):
            if main_file in files:
                Path(corpus, str(number)).write_bytes(files[main_file])

        def one(content: bytes) -> None:
            with tempfile.TemporaryDirectory() as folder, contextlib.suppress(MlembedError):
                write_files(Path(folder), {**seeds[0], main_file: content})
                target.read(Path(folder), len(content))

        options = [f"-runs={inputs}", f"-seed={seed or 1}", f"-rss_limit_mb={1024 + mib}", f"-artifact_prefix={to}/"]
        atheris.Setup([sys.argv[0], *options, corpus], one)
        atheris.Fuzz()
    sys.exit(0)
