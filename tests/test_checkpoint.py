"""Checkpoints are complete and verified, or not there: saving, verifying, rotating, recovering, and hostile folders."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlembed.run.checkpoint import MANIFEST, CheckpointStore, read_json, verify

FILES = {"state.json": b'{"step": 1}', "student/model.safetensors": bytes(range(256)) * 8, "student/config.json": b"{}"}


def write(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def save(store: CheckpointStore, *steps: int, best_step: int | None = None) -> None:
    for step in steps:
        store.save(step, write=write, best_step=best_step)


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def test_the_manifest_lists_names_sizes_and_hashes(store: CheckpointStore) -> None:
    save(store, 5)
    manifest = json.loads((store.path(5) / MANIFEST).read_text())
    assert manifest == {
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in FILES.items()
        }
    }
    assert verify(store.path(5)) is None
    assert store.newest() == store.path(5)
    assert names(store) == ["step-5"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, zero, flip_a_bit, Path.unlink])
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_taken(
    store: CheckpointStore, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], name: str
) -> None:
    save(store, 1, 2)
    damage(store.path(2) / name)
    problem = verify(store.path(2))
    # A flipped bit in the manifest is one in a name, a size or a hash: then it names the file that no longer agrees.
    assert problem is not None
    assert name in problem or (name == MANIFEST and any(file in problem for file in FILES))
    assert store.newest() == store.path(1)
    assert str(store.path(2)) in caplog.text and problem in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"files": []}',
        '{"files": {"state.json": null}}',
        '{"files": {"state.json": {"bytes": 1e400, "sha256": ""}}}',
        '{"files": {"state.json": {"bytes": "x", "sha256": ""}}}',
        '{"files": {"../../../etc/passwd": {"bytes": 1, "sha256": ""}}}',
        '{"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}',
        '{"files": {"state.json": {"bytes": 1' + "0" * 5000 + ', "sha256": ""}}}',
        '{"files": ' * 200_000,
        "[" * 200_000,
    ],
)
def test_hostile_manifests_are_refused(store: CheckpointStore, text: str) -> None:
    save(store, 1)
    (store.path(1) / MANIFEST).write_text(text)
    assert verify(store.path(1)) is not None
    assert store.newest() is None


def test_a_manifest_that_is_too_large_is_not_read(store: CheckpointStore) -> None:
    save(store, 1)
    with (store.path(1) / MANIFEST).open("r+b") as file:
        file.truncate(1 << 40)
    assert "larger than" in str(verify(store.path(1)))


def test_links_and_special_files_are_refused(store: CheckpointStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(FILES["state.json"])
    for name in ("state.json", MANIFEST):
        save(store, 1)
        content = (store.path(1) / name).read_bytes()
        secret.write_bytes(content)
        (store.path(1) / name).unlink()
        (store.path(1) / name).symlink_to(secret)
        assert verify(store.path(1)) == f"{name} is a symbolic link"
    save(store, 1)
    (store.path(1) / "student").rename(tmp_path / "student")
    (store.path(1) / "student").symlink_to(tmp_path / "student")
    assert verify(store.path(1)) == "student is a symbolic link"
    save(store, 2)
    store.path(2).rename(tmp_path / "elsewhere")
    store.path(2).symlink_to(tmp_path / "elsewhere")
    assert verify(store.path(2)) == "it is a symbolic link"
    save(store, 3)
    (store.path(3) / MANIFEST).unlink()
    os.mkfifo(store.path(3) / MANIFEST)
    assert verify(store.path(3)) == f"{MANIFEST} is not a plain file"


def test_what_is_not_in_the_manifest_is_refused(store: CheckpointStore) -> None:
    for name in ("code.pkl", "student/pytorch_model.bin", f"student/{MANIFEST}"):
        save(store, 1)
        (store.path(1) / name).write_bytes(b"x")
        assert verify(store.path(1)) == f"{name} is not in the manifest"


def test_the_newest_two_and_the_best_stay(store: CheckpointStore) -> None:
    for step in (1, 2, 3, 4, 5):
        save(store, step, best_step=2 if step > 1 else 1)
    assert store.steps() == [5, 4, 2]
    save(store, 6, best_step=6)
    assert store.steps() == [6, 5]


def test_damaged_later_checkpoints_do_not_take_the_place_of_good_ones(store: CheckpointStore) -> None:
    """The run fell back from 40 and 30 to 20, and saves at 25: two good ones must be there then."""
    wide = CheckpointStore(store.folder, keep=4)
    save(wide, 10, 20, 30, 40)
    for step in (30, 40):
        (store.path(step) / "state.json").unlink()
    assert store.newest() == store.path(20)
    save(store, 25)
    assert store.newest() == store.path(25)
    assert store.steps() == [25, 20]


def test_names_that_are_no_steps_are_left_alone(store: CheckpointStore) -> None:
    for name in ("step-", "step-x", "step-007", "step-٣", "other"):
        (store.folder / name).mkdir(parents=True)
    save(store, 1)
    assert store.steps() == [1]
    assert store.newest() == store.path(1)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("a bug")])
@pytest.mark.parametrize("step", [2, 3])
def test_a_failed_save_leaves_nothing_and_the_older_ones_stay(
    store: CheckpointStore, error: Exception, step: int
) -> None:
    """Also when the step (2) has been saved before."""
    save(store, 1, 2)

    def fail(folder: Path) -> None:
        write(folder)
        raise error

    with pytest.raises(type(error)):
        store.save(step, write=fail, best_step=None)
    assert names(store) == ["step-1", "step-2"]
    assert store.newest() == store.path(2)
    save(store, 4)
    assert store.steps() == [4, 2]


def test_a_writer_that_leaves_a_link_is_refused(store: CheckpointStore) -> None:
    def link(folder: Path) -> None:
        (folder / "state.json").symlink_to("/etc/passwd")

    with pytest.raises(ValueError, match="symbolic link"):
        store.save(1, write=link, best_step=None)
    assert names(store) == []


def test_the_same_step_once_more_replaces_the_first(store: CheckpointStore) -> None:
    save(store, 1)

    def write_later(folder: Path) -> None:
        (folder / "state.json").write_text("later")

    store.save(1, write=write_later, best_step=None)
    assert (store.path(1) / "state.json").read_text() == "later"
    assert names(store) == ["step-1"]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_replacement_that_was_ended_half_way_is_undone(store: CheckpointStore, damaged: bool) -> None:
    """Killed between the two renames; or after both, and the new one did not reach the disk."""
    save(store, 1)
    store.path(1).rename(store.folder / ".staging-replaced-step-1")
    if damaged:
        store.path(1).mkdir()
        (store.path(1) / "state.json").write_bytes(b"")
    assert store.newest() == store.path(1)
    assert names(store) == ["step-1"]


def test_killed_in_the_middle_of_a_file(store: CheckpointStore) -> None:
    save(store, 1)
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mlembed.run.checkpoint import CheckpointStore\n"
        "def write(folder):\n"
        "    (folder / 'state.json').write_bytes(b'{}')\n"
        "    with (folder / 'model.safetensors').open('wb') as file:\n"
        "        file.write(bytes(1000))\n"
        "        file.flush()\n"
        "        os.kill(os.getpid(), 9)\n"
        "CheckpointStore(Path(sys.argv[1]), keep=2).save(2, write=write, best_step=None)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(store.folder)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert names(store) == [".staging-step-2", "step-1"]
    assert store.newest() == store.path(1)
    save(store, 2)
    assert names(store) == ["step-1", "step-2"]


def test_json_that_is_nested_too_deeply_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")
