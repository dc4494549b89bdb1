"""`mlembed eval --mteb`: a task over data of the test, measured as mteb does; and what is missing, named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from toys import toy_command, toy_sentences, write_toy_model

from mlembed.cli import main


def test_without_mteb_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    write_toy_model(tmp_path / "model")
    assert main(["eval", str(tmp_path / "model"), "--mteb", "STS17", f"run.dir={tmp_path / 'eval'}"]) == 2
    assert 'mteb is not installed: pip install "mlembed[mteb]"' in capsys.readouterr().err
    assert not (tmp_path / "eval").exists()


def test_the_option_is_a_key_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "x", "--mteb", "STS17, Tatoeba", "--cfg", "job"]) == 0
    assert "\nmteb:\n- STS17\n- Tatoeba\n" in capsys.readouterr().out
    assert main(["eval", "x", "--mteb"]) == 2
    assert "--mteb needs a value: --mteb TASK,..." in capsys.readouterr().err
    assert main(["train", "--mteb", "STS17"]) == 2


def local_task(folder: Path) -> Any:
    """A task of similarity whose data lie in a folder, as a user's own may."""
    import datasets
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    texts = toy_sentences(40)
    rows = {"sentence1": texts, "sentence2": texts[::-1], "score": [float(at % 6) for at in range(40)]}
    datasets.Dataset.from_dict(rows).to_parquet(str(folder / "test.parquet"))

    class ToySimilarity(AbsTaskSTS):
        metadata = TaskMetadata(
            name="ToySimilarity",
            description="Sentences of a toy language.",
            reference=None,
            dataset={"path": str(folder), "revision": "1"},
            type="STS",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
        )
        min_score, max_score = 0, 5

        def load_data(self, *args: Any, **options: Any) -> None:
            self.dataset = datasets.load_dataset("parquet", data_files={"test": str(folder / "test.parquet")})
            self.data_loaded = True

    return ToySimilarity()


@pytest.mark.slow
def test_a_task_of_mteb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mteb")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import mlembed.evaluate as evaluation

    (tmp_path / "data").mkdir()
    task = local_task(tmp_path / "data")
    monkeypatch.setattr(evaluation, "mteb_tasks", lambda names: [task])
    assert main([*toy_command(tmp_path), "trainer.max_steps=1", f"run.dir={tmp_path / 'run'}"]) == 0
    capsys.readouterr()
    words = ["eval", str(tmp_path / "run"), "--mteb", "ToySimilarity", f"run.dir={tmp_path / 'eval'}"]
    assert main(words) == 0
    assert "| ToySimilarity | test | default | eng-Latn | " in capsys.readouterr().out
    assert main(words) == 2, "its results would be lost"
    assert "holds a run already" in capsys.readouterr().err
    found = json.loads((tmp_path / "eval" / "mteb.json").read_text())
    (one,) = found["tasks"]
    assert one["task"] == "ToySimilarity" and -1 <= one["main_score"] <= 1
    assert one["results"][0]["scores"]["cosine_spearman"] == one["main_score"]
    assert (tmp_path / "eval" / "mteb.md").read_text().startswith("# Results on tasks of mteb")


@pytest.mark.slow
def test_a_task_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mteb")
    write_toy_model(tmp_path / "model")
    assert main(["eval", str(tmp_path / "model"), "--mteb", "STS1", f"run.dir={tmp_path / 'eval'}"]) == 2
    assert "--mteb STS1: mteb has no such task; did you mean STS1" in capsys.readouterr().err
