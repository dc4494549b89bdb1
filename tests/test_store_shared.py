"""The store between processes: who waits, who finds, and what happens where nothing can be kept."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from crashes import go_on, records, start, survival_command, wait_until, wait_until_stopped
from teachers import shards, small_shards, teaching_of
from toys import toy_command, toy_sentences

from mlembed.cache.cache_folder import USE_LOCK
from mlembed.cache.locks import FileLock
from mlembed.cache.vector_store import WRITE_LOCK
from mlembed.cli import main
from mlembed.errors import Interrupted, ResourceError

TEXTS = toy_sentences(50)


def forked(work: Callable[[], object]) -> int:
    """Do a piece of work in another process; returns its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def code_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_two_runs_at_once_encode_each_text_once(toy_folder: Path, tmp_path: Path, own_cache: Path) -> None:
    """The first is stopped in the middle of its texts; the second waits, says so once, and finds them."""
    one = start(survival_command(toy_folder, run=tmp_path / "one"), output=tmp_path / "1", fault="shard.done:2:SIGSTOP")
    wait_until_stopped(one)
    two = start(survival_command(toy_folder, run=tmp_path / "two"), output=tmp_path / "2")
    said = tmp_path / "two" / "log.txt"
    try:
        wait_until(lambda: said.is_file() and "waiting for process" in said.read_text())
        time.sleep(0.5)
    finally:
        go_on(one)
    for process in (one, two):
        process.join(120)
        assert process.exitcode == 0
    assert said.read_text().count(f"waiting for process {one.pid} on ") == 1
    # Who is ahead may change with each request: the lock is taken anew for each.
    logs = [(tmp_path / name / "log.txt").read_text() for name in ("one", "two")]
    assert sum(int(count) for log in logs for count in re.findall(r"teacher: (\d+) texts encoded", log)) == 160
    assert len(shards(own_cache)) == 4
    assert records(tmp_path / "one")[-1]["evaluation"] == records(tmp_path / "two")[-1]["evaluation"]


def test_a_writer_that_is_killed_holds_nobody_up(
    toy_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch, 10)

    def work() -> None:
        os.environ["MLEMBED_FAULT"] = "shard.written:2:SIGSTOP"
        teaching_of(toy_folder / "teacher").vectors(TEXTS)

    child = forked(work)
    os.waitpid(child, os.WUNTRACED)
    threading.Timer(0.5, os.kill, (child, signal.SIGKILL)).start()
    teaching = teaching_of(toy_folder / "teacher")
    teaching.vectors(TEXTS)
    assert code_of(child) == -signal.SIGKILL
    teaching.close()
    assert (teaching._encoded, teaching._found) == (40, 10)


def test_a_signal_ends_the_waiting(toy_folder: Path, own_cache: Path) -> None:
    teaching = teaching_of(toy_folder / "teacher")
    teaching.vectors(TEXTS[:3])
    lock = FileLock(next(own_cache.glob("teachers/*")) / WRITE_LOCK)
    assert lock.try_alone()
    np.testing.assert_equal(len(teaching.vectors(TEXTS[:2])), 2)  # nothing is missing: no lock is needed
    with teaching.machine.stop:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Interrupted):
            teaching.vectors(TEXTS)
    lock.release()


@pytest.mark.parametrize("place", ["a file", "/proc/nothing", "a link to nowhere"])
def test_a_folder_that_cannot_be_used_ends_no_run(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "cache"
    if place == "a file":
        path.write_text("")
    elif place == "a link to nowhere":
        path.symlink_to("/proc/nothing")
    else:
        path = Path(place)
    runs = tmp_path / "kept", tmp_path / "unkept"
    assert main([*toy_command(toy_folder), f"run.dir={runs[0]}"]) == 0
    monkeypatch.setenv("MLEMBED_CACHE", str(path))
    assert main([*toy_command(toy_folder), f"run.dir={runs[1]}"]) == 0
    said = (runs[1] / "log.txt").read_text()
    assert said.count("WARNING THE VECTORS OF THE TEACHER CANNOT BE KEPT") == 1
    assert "teacher: 160 texts encoded, 0 were in the store\n" in said
    weights = [(run / "student" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


def test_a_full_disk_keeps_what_there_is_room_for(
    toy_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit on the size of a file stands for the disk: shards of 10 texts fit, those of 40 do not."""
    teaching = teaching_of(toy_folder / "teacher")
    small_shards(monkeypatch, 10)
    teaching.vectors(TEXTS[:10])
    small_shards(monkeypatch, 40)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with caplog.at_level(logging.WARNING, logger="mlembed"):
            found = teaching.vectors(TEXTS)[:]
            np.testing.assert_array_equal(teaching.vectors(TEXTS[::-1])[:], found[::-1])
            teaching.vectors(["new", *TEXTS])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caplog.text.count("CANNOT BE KEPT") == 1 and "File too large" in caplog.text
    assert teaching._store is not None and teaching._store.encoded == 51
    assert not list(own_cache.glob("teachers/*/*.part"))
    again = teaching_of(toy_folder / "teacher")
    np.testing.assert_allclose(again.vectors(TEXTS)[:].astype(float), found.astype(float), atol=2e-3)
    assert again._store is not None and (again._store.encoded, again._store.found) == (40, 10)


@pytest.mark.skipif(os.getuid() == 0, reason="everything is writable for root")
def test_a_store_that_can_only_be_read(toy_folder: Path, own_cache: Path) -> None:
    whole = teaching_of(toy_folder / "teacher").vectors(TEXTS[:40])[:]
    folder = next(own_cache.glob("teachers/*"))
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        teaching = teaching_of(toy_folder / "teacher")
        np.testing.assert_array_equal(teaching.vectors(TEXTS)[:40], whole)
        assert teaching._store is not None and (teaching._store.encoded, teaching._store.found) == (10, 40)
    finally:
        folder.chmod(0o755)


def test_a_store_that_is_deleted_meanwhile(toy_folder: Path, own_cache: Path) -> None:
    """By hand: `mlembed cache clear` does not. What is mapped stays; what was never read is told."""
    teaching = teaching_of(toy_folder / "teacher")
    mapped, unread = teaching.vectors(TEXTS), teaching.vectors(TEXTS)
    before = mapped[:]
    for path in [*shards(own_cache), *own_cache.glob(f"teachers/*/{USE_LOCK}")]:
        path.unlink()
    np.testing.assert_array_equal(mapped[:], before)
    with pytest.raises(ResourceError, match=r"\.vectors cannot be read any more"):
        unread[0]
    assert len(teaching.vectors(TEXTS)[:]) == 50
