"""Fixtures: a toy teacher and toy data, and the command line in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# No test reaches for a network; set before any library of Hugging Face is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# The toys are so small that a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `teacher/` and `data.tsv`, shared by all tests; runs go elsewhere."""
    from toys import write_toy_data, write_toy_model

    folder = tmp_path_factory.mktemp("toys")
    write_toy_model(folder / "teacher")
    write_toy_data(folder / "data.tsv")
    return folder
