"""Fixtures: a toy teacher and toy data, and the command line in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# No test reaches for a network; set before any library of Hugging Face is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# The toys are so small that a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of these tests alone; programs that they start find it too."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLEMBED_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `teacher/` and `data.tsv`, shared by all tests; runs go elsewhere."""
    from toys import write_toy_data, write_toy_model

    folder = tmp_path_factory.mktemp("toys")
    write_toy_model(folder / "teacher")
    write_toy_data(folder / "data.tsv")
    return folder
