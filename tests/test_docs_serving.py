"""The Python of docs/serving.md, run as it stands, on folders that `mlembed export` wrote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from heads import ONE, write_classifier
from toys import write_toy_model

from mlembed.cli import main

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.slow
def test_the_snippets_run_one_after_another_in_processes_of_their_own(tmp_path: Path) -> None:
    write_toy_model(tmp_path / "toy")
    (tmp_path / "heads").mkdir()
    head = write_classifier(tmp_path / "heads", ONE, family="bert")
    for model, to, name in (
        (tmp_path / "toy", "sentence-transformers", "encoder"),
        (tmp_path / "toy", "onnx", "graph"),
        (head, "transformers", "labels"),
    ):
        assert main(["export", str(model), "--to", to, "--output", str(tmp_path / name)]) == 0
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / "serving.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(snippets) == 3
    for code in snippets:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\nsys.modules['mlembed'] = None\n{code}"],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=tmp_path,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    similar = [float(number) for number in re.findall(r"-?\d\.\d*(?:e-?\d+)?", done.stdout)]
    assert similar[0] == pytest.approx(1, abs=1e-3)


def test_formats_and_options_are_in_the_docs() -> None:
    from mlembed.door.completion import PLAIN
    from mlembed.export_verb.verb import FORMATS

    text = (DOCS / "export.md").read_text(encoding="utf-8") + (DOCS / "serving.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}`" not in text] == []
    options = set(PLAIN["export"]) | set(PLAIN["push"]) - {"--help"}
    assert [name for name in options - {"--output", "--column", "--help"} if name not in text] == []
