"""Whether a run can go on: its directory, its settings, its checkpoint, and what they were made from."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlembed.compute import Processes, choose_device
from mlembed.config import TrainConfig
from mlembed.errors import ConfigError, GroupEnded, Interrupted, MlembedError, ResourceError
from mlembed.files import is_disk_full
from mlembed.fingerprint import text_fingerprint
from mlembed.memory import MEMORY_ERRORS, is_out_of_memory
from mlembed.run.checkpoint import CheckpointStore, verify
from mlembed.run.directory import LOG, RunDirectory, hold, new_run_path, redact
from mlembed.run.run_log import logging_to
from mlembed.run.start import differences, read_stored_config
from mlembed.run.training_files import read_state, read_training_files
from mlembed.tasks.held_out import HeldOut
from mlembed.trainer import Trainer

log = logging.getLogger("mlembed")

# What the values of the metric depend on, beside the student.
CHOSEN_BY = ("validation data", "teacher model")


@contextlib.contextmanager
def open_run(config: TrainConfig) -> Iterator[tuple[RunDirectory, TrainConfig, Processes, bool]]:
    """Make or take up the run directory; the first process holds it for all.

    Returns:
        A context: the directory, the configuration that counts, the processes, and whether the run goes on.

    Raises:
        ConfigError: the directory is something else, is in use, or its run was started with other settings.
        ResourceError: the disk is full.
        GroupEnded: another process has ended.
    """
    processes = Processes(choose_device(config.trainer.device))
    with contextlib.ExitStack() as stack:
        stack.callback(processes.close)

        def take_up_directory() -> tuple[Path, TrainConfig, bool, list[str]]:
            settings = config.run
            path = Path(settings.dir) if settings.dir else new_run_path(root=Path(settings.root), name=settings.name)
            stack.enter_context(hold(path))
            return path, *settle_config(config, path)

        path, settled, goes_on, changes = processes.first(take_up_directory)
        log_file = path / LOG if processes.is_first else None
        stack.enter_context(logging_to(log_file, quiet=not processes.is_first))
        for change in changes:
            log.warning("going on with a changed setting: %s", change)
        try:
            yield RunDirectory(path), settled, processes, goes_on
        except MlembedError as error:
            if isinstance(error, Interrupted):
                log.info("go on with: mlembed train --resume %s", shlex.quote(str(path)))
            if error.is_agreed and not processes.is_first:
                raise SystemExit(error.exit_code) from error
            raise
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise ResourceError(f"there is no room to write in {path}. Free some disk space and resume.") from error
        except MEMORY_ERRORS as error:
            if processes.has_lost_another(error):
                raise GroupEnded(
                    "another process of this run has ended and says why, or cannot be reached; this one ends with it. "
                    "When that is mended, resume."
                ) from error
            if not is_out_of_memory(error):
                raise
            advice = "Close other programs, use a smaller model, or read fewer rows; then resume."
            raise ResourceError(f"out of memory: {error}. {advice}") from error


def settle_config(config: TrainConfig, path: Path) -> tuple[TrainConfig, bool, list[str]]:
    """Compare a configuration with that of a run that is there already.

    Args:
        config: what the command line asks for.
        path: the run directory, which may be new.

    Returns:
        The configuration that counts (`auto` settings are those of the run's start), whether the run goes on, and
        what has changed by permission.

    Raises:
        ConfigError: the folder is something else, or settings have changed.
    """
    run = RunDirectory(path)
    if not run.is_started:
        if foreign := run.foreign_files():
            raise ConfigError(
                f"run.dir: {path} is not empty and not a run directory (it has {foreign[0]}); give another"
            )
        return config, False, []
    stored = read_stored_config(path)
    wanted = config.model_dump(mode="json")
    for key in ("precision", "device", "batch_tokens"):
        if wanted["trainer"][key] == "auto":
            wanted["trainer"][key] = stored.get("trainer", {}).get(key, "auto")
    # Secrets are not stored, so they cannot be compared.
    changed = differences(stored, json.loads(redact(json.dumps(wanted))))
    if changed and not config.run.allow_changes:
        raise ConfigError(
            f"{path} was started with other settings:\n  - " + "\n  - ".join(changed) + "\n"
            "Give another run.dir for a new run, or run.allow_changes=true to go on with the new settings."
        )
    return TrainConfig.model_validate(wanted), True, changed


def find_checkpoint(store: CheckpointStore) -> Path | None:
    """The checkpoint that a run goes on from; None for one that was ended before its first.

    Raises:
        ConfigError: there are checkpoints, and none verifies.
    """
    newest = store.newest()
    if newest is None and store.steps():
        raise ConfigError(
            f"none of the {len(store.steps())} checkpoints in {store.folder} can be used (see above for the reasons). "
            "Delete the folder to start from the beginning, or restore it from a backup."
        )
    return newest


def find_start(
    store: CheckpointStore, processes: Processes, *, signature: Mapping[str, Any], allow_changes: bool
) -> Path | None:
    """The checkpoint that a run goes on from, after a look at what it was made from; None: from the beginning.

    Raises:
        ConfigError: no checkpoint verifies, or it was made from something else.
    """

    def look() -> Path | None:
        found = find_checkpoint(store)
        if found is not None:
            check_signature(read_state(found)["signature"], signature, allow_changes=allow_changes)
        return found

    checkpoint = processes.first(look)
    if checkpoint is None:
        log.info("the run was ended before its first checkpoint; it starts from the beginning")
    return checkpoint


def take_up(
    trainer: Trainer, checkpoint: Path, *, store: CheckpointStore, signature: Mapping[str, Any], allow_changes: bool
) -> None:
    """Put trainer, student, optimizer and random generators into the state of a checkpoint.

    Raises:
        ConfigError: when the checkpoint does not fit.
    """
    processes = trainer.processes
    stored = read_state(checkpoint)
    read_training_files(
        checkpoint,
        student=trainer.student,
        optimizer=trainer.optimizer,
        processes=processes,
        allow_changes=allow_changes,
        teacher=next(iter(trainer.task.learners()), None),
    )
    trainer.load_state_dict(stored)
    if lost := processes.first(lambda: _why_best_is_lost(trainer, stored, store=store, signature=signature)):
        log.warning("the best checkpoint so far does not count any more, the next evaluation decides: %s", lost)
        trainer.forget_best()
    log.info("resuming from %s", checkpoint)


def _why_best_is_lost(
    trainer: Trainer, stored: Mapping[str, Any], *, store: CheckpointStore, signature: Mapping[str, Any]
) -> str | None:
    if trainer.state.best_step is None:
        return None
    if stored.get("metric") != trainer.settings.metric:
        return f"it was chosen by {stored.get('metric')}"
    if changed := [key for key in CHOSEN_BY if stored["signature"].get(key) != signature.get(key)]:
        return f"it was chosen by other {changed[0]}"
    best = store.path(trainer.state.best_step)
    problem = verify(best)
    return None if problem is None else f"{best} is damaged: {problem}"


def held_out_fingerprint(part: HeldOut) -> str:
    """Hash of all that a student is measured on."""
    scored = part.scored.pairs if part.scored else {}
    return text_fingerprint(
        [(row.source, row.target, row.language) for row in part.rows],
        {language: [(pair.first, pair.second, pair.score) for pair in pairs] for language, pairs in scored.items()},
    )


def check_signature(
    stored: Mapping[str, Any], current: Mapping[str, Any], *, allow_changes: bool, what: str = "the checkpoint"
) -> None:
    """Compare what a checkpoint (or what messages call `what`) was made from with what is there now.

    Raises:
        ConfigError: a list of the parts that differ.
    """
    changed = sorted(key for key in stored.keys() | current.keys() if stored.get(key) != current.get(key))
    if not changed:
        return
    listed = "\n".join(f"  - {key} ({_short(stored.get(key))} became {_short(current.get(key))})" for key in changed)
    if not allow_changes:
        raise ConfigError(
            f"{what} was made with something else:\n{listed}\n"
            "Give a new run.dir, or run.allow_changes=true to go on all the same."
        )
    log.warning("going on although these have changed:\n%s", listed)


def _short(value: Any) -> str:
    return str(value)[:12]
