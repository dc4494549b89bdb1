"""Fixtures: a toy teacher and toy data, and the command line in this process."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# No test reaches for a network; set before any library of Hugging Face is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# The toys are so small that a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests keep is not the user's, nor that of another worker of pytest-xdist.
CACHES = Path(tempfile.mkdtemp(prefix="mlembed-cache-"))
os.environ["MLEMBED_CACHE"] = str(CACHES / "shared")
atexit.register(shutil.rmtree, CACHES, ignore_errors=True)
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test alone: what a test encodes must not depend on those before it."""
    path = CACHES / str(next(_numbers))
    monkeypatch.setenv("MLEMBED_CACHE", str(path))
    return path


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `teacher/` and `data.tsv`, shared by all tests; runs go elsewhere."""
    from toys import write_toy_data, write_toy_model

    folder = tmp_path_factory.mktemp("toys")
    write_toy_model(folder / "teacher")
    write_toy_data(folder / "data.tsv")
    return folder
