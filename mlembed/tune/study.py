"""A study that several processes share: which trial is whose, what is tried in it, and what it scored."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mlembed.cache.locks import FileLock
from mlembed.config import TuneConfig
from mlembed.config_tune import Choice, FloatRange, IntRange, Pruner
from mlembed.errors import ConfigError
from mlembed.files import write_atomically
from mlembed.report.metrics import METRICS, parse_metric
from mlembed.run.start import leaves
from mlembed.tune.settings import lasting, start_values
from mlembed.tune.storage import open_storage

LOCK, LOCKS, IDENTITY = "study.lock", "locks", "folder.id"
SETTINGS = "settings"
# What trials note down beside their values.
FOLDER, RUN, HOST, TEST, REASON, SURPLUS = "folder", "run", "host", "test", "reason", "surplus"


@dataclass
class Taken:
    """A trial that this process has for itself.

    Args:
        trial: Optuna's.
        values: dotted key -> value.
        folder: its run directory.
        goes_on: whether it was begun before.
        lock: held until it is told what the trial scored.
    """

    trial: optuna.Trial
    values: dict[str, Any]
    folder: Path
    goes_on: bool
    lock: FileLock

    def close(self) -> None:
        """Let it go: told or not, this process does no more for it."""
        self.lock.release()


class Study:
    """An Optuna study and its folder.

    Args:
        config: its configuration.
        folder: it is made when it is not there.

    Raises:
        ConfigError: the storage cannot be opened, or has the study with other settings.
    """

    def __init__(self, config: TuneConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        try:
            (folder / LOCKS).mkdir(parents=True, exist_ok=True)
            with self.alone():
                self.identity = _identity(folder / IDENTITY)
                storage = open_storage(config.tune.storage, folder)
                self.optuna = optuna.create_study(
                    study_name=config.run.name,
                    storage=storage,
                    direction=direction(config.trainer.metric),
                    pruner=make_pruner(config.tune.pruner),
                    load_if_exists=True,
                )
                self._check_settings()
        except OSError as error:
            raise ConfigError(f"{folder} cannot be used for a study: {error.strerror or error}") from error

    def _check_settings(self) -> None:
        wanted = json.loads(json.dumps(lasting(self.config)))
        stored = self.optuna.user_attrs.get(SETTINGS)
        if stored is None:
            self.optuna.set_user_attr(SETTINGS, wanted)
            return
        old, new = dict(leaves(stored)), dict(leaves(wanted))
        changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        if changed:
            lines = [f"{key}: was {json.dumps(old.get(key))}, is now {json.dumps(new.get(key))}" for key in changed]
            raise ConfigError(
                f"the study {self.config.run.name} was begun with other settings:\n  - " + "\n  - ".join(lines) + "\n"
                "Its trials could not be compared with new ones; give another run.name for a new study."
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that takes trials and writes what the study has found; waits for others."""
        lock = FileLock(self.folder / LOCK)
        while not lock.try_alone():
            time.sleep(0.05)
        try:
            yield
        finally:
            lock.release()

    def trials(self) -> list[FrozenTrial]:
        """All trials that count, as they are now."""
        return [one for one in self.optuna.get_trials(deepcopy=False) if not one.user_attrs.get(SURPLUS)]

    def take(self) -> Taken | None:
        """The next trial for this process: one that was left by a process that has ended, or a new one.

        Returns:
            None when the study has as many trials as it is to have.
        """
        with self.alone():
            return self._left() or self._new()

    def is_here(self, trial: FrozenTrial) -> bool:
        """Whether a trial's run directory is in this folder: with a database there may be others, out of reach."""
        # Without the mark it was ended before that was written; a journal of the folder is of no other one.
        own = self.identity if self.config.tune.storage is None else None
        return bool(trial.user_attrs.get(FOLDER, own) == self.identity)

    def path(self, number: int) -> Path:
        """The run directory of a trial."""
        return self.folder / f"trial-{number:03d}"

    def _left(self) -> Taken | None:
        for trial in self.trials():
            if trial.state != TrialState.RUNNING or not self.is_here(trial):
                continue
            lock = FileLock(self.folder / LOCKS / str(trial.number))
            # What it scored may have been told since the trials were listed.
            if lock.try_alone() and self.optuna.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
                return self._taken(optuna.Trial(self.optuna, trial._trial_id), lock, goes_on=True)
            lock.release()
        return None

    def _new(self) -> Taken | None:
        trials = self.trials()
        if not trials:
            self.optuna.enqueue_trial(start_values(self.config), skip_if_exists=True)
        if sum(one.state != TrialState.WAITING for one in trials) >= self.config.tune.trials:
            return None
        trial = self.optuna.ask()
        lock = FileLock(self.folder / LOCKS / str(trial.number))
        lock.try_alone()
        trial.set_user_attr(FOLDER, self.identity)
        if sum(one.number < trial.number for one in self.trials()) >= self.config.tune.trials:
            # A machine that shares the database, but not this disk, was faster.
            trial.set_user_attr(SURPLUS, True)
            self.optuna.tell(trial.number, state=TrialState.FAIL)
            lock.release()
            return None
        return self._taken(trial, lock, goes_on=False)

    def _taken(self, trial: optuna.Trial, lock: FileLock, *, goes_on: bool) -> Taken:
        # By the trial's number: a study draws the same whether it was killed or not, and two processes differ.
        self.optuna.sampler = optuna.samplers.TPESampler(
            seed=self.config.tune.seed * 100_003 + trial.number, n_startup_trials=self.config.tune.random_trials
        )
        values = {key: _suggest(trial, key, dimension) for key, dimension in self.config.space.items()}
        folder = self.path(trial.number)
        trial.set_user_attr(FOLDER, self.identity)
        trial.set_user_attr(RUN, str(folder.absolute()))
        trial.set_user_attr(HOST, socket.gethostname())
        return Taken(trial, values, folder, goes_on, lock)

    def tell(
        self, taken: Taken, state: TrialState, *, value: float | None = None, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Write down how a trial ended."""
        for name, note in (notes or {}).items():
            taken.trial.set_user_attr(name, note)
        self.optuna.tell(taken.trial.number, value, state=state)


def direction(metric: str) -> StudyDirection:
    """Which way the metric is better."""
    is_higher_better = METRICS[parse_metric(metric)[0]].better == "higher"
    return StudyDirection.MAXIMIZE if is_higher_better else StudyDirection.MINIMIZE


def make_pruner(settings: Pruner) -> optuna.pruners.BasePruner:
    """Optuna's pruner; a trial's steps are its evaluations, from 1."""
    match settings.kind:
        case "median":
            first = settings.warmup_evaluations + 1
            return optuna.pruners.MedianPruner(n_startup_trials=settings.startup_trials, n_warmup_steps=first)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=settings.warmup_evaluations + 1)
    return optuna.pruners.NopPruner()


def _suggest(trial: optuna.Trial, key: str, dimension: FloatRange | IntRange | Choice) -> Any:
    match dimension:
        case FloatRange(low=low, high=high, log=log, step=step):
            return trial.suggest_float(key, low, high, log=log, step=step)
        case IntRange(low=low, high=high, log=log, step=step):
            return trial.suggest_int(key, low, high, log=log, step=step or 1)
    return trial.suggest_categorical(key, dimension.choices)


def _identity(path: Path) -> str:
    """What tells this folder from others that share a database; it stays where the folder is moved."""
    if not path.is_file():
        write_atomically(path, secrets.token_hex(8) + "\n")
    return path.read_text(encoding="utf-8").strip()
