"""Where a study is kept: a journal file, which several processes and machines may share, or a database."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from mlembed.errors import ConfigError
from mlembed.run.directory import redact

log = logging.getLogger("mlembed")

JOURNAL = "study.journal"
# How long a process waits for others that write into the same SQLite file.
SQLITE_SECONDS = 60.0


def open_storage(setting: str | None, folder: Path) -> BaseStorage:
    """Open `tune.storage`, or make it.

    Args:
        setting: a URL of SQLAlchemy, a path, or None: a journal in the study's folder.
        folder: the study's.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        if setting is not None and "://" in setting:
            return _database(setting)
        path = folder / JOURNAL if setting is None else Path(setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_half_a_line(path)
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # each database has errors of its own
        where = redact(str(setting or folder / JOURNAL))
        reason = redact(str(error)).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"tune.storage: {where} cannot be opened: {reason}") from error


def _database(url: str) -> BaseStorage:
    # Alembic announces that it looks for migrations, at each start.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        options["connect_args"] = {"timeout": SQLITE_SECONDS}
    return RDBStorage(url, engine_kwargs=options)


def _drop_half_a_line(path: Path) -> None:
    """Cut off what a full disk or a power cut left of a line: whatever is appended to it could not be read."""
    if not path.is_file():
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            log.warning("%s ends with half a line, which is dropped", path)
            with path.open("rb+") as file:
                file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
