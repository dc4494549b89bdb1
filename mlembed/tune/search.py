"""The trials of a study, one after another in this process, until there are as many as there are to be."""

from __future__ import annotations

import contextlib
import gc
import math
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from mlembed.config import TuneConfig
from mlembed.errors import ConfigError, Interrupted, MlembedError, OutOfMemory, Pruned, TrainingFailed
from mlembed.run.directory import CHECKPOINTS, COMMAND, PRUNED, STUDENT, command_line, redact
from mlembed.run.trackers.tracking import check_installed
from mlembed.stages import TEACHER, ZERO_SHOT
from mlembed.train import train
from mlembed.tune.plots import save_plots
from mlembed.tune.pruning import AskAtEvaluations, best_value
from mlembed.tune.settings import shown, trial_config
from mlembed.tune.study import REASON, TEST, Study, Taken
from mlembed.tune.summary import BEST, best_trial, counts, folder_of, print_summary, write_summary

# When so many have failed and none has scored anything, it is not their values.
MAX_FAILED_AT_FIRST = 3


def search(config: TuneConfig) -> float:
    """Train trial after trial, and leave a folder with a run for each, a table, and a mark on the best.

    Args:
        config: the validated configuration.

    Returns:
        The best value on the validation set.

    Raises:
        MlembedError: with a message for the user and an exit code; a trial that fails is not a reason.
    """
    check_installed(config.trackers.use)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(config.run.dir) if config.run.dir else Path(config.run.root) / config.run.name
    study = Study(config, folder)
    words = list(sys.argv)
    with (folder / COMMAND).open("a", encoding="utf-8") as file:
        file.write(redact(f"cd {shlex.quote(str(Path.cwd()))} && {command_line(words)}") + "\n")
    _say(f"study {config.run.name} in {folder}: {counts(study)} of {config.tune.trials} trials")
    _tell_if_nothing_can_be_pruned(config)
    started = time.monotonic()
    try:
        while config.tune.timeout is None or time.monotonic() - started < config.tune.timeout:
            if (taken := study.take()) is None:
                break
            with contextlib.closing(taken):
                _try(study, taken, words)
                _settle(study, words)
            _check_that_some_work(study)
    except (Interrupted, KeyboardInterrupt):
        _say(f"the study goes on with the same command, where it was: {shlex.join(words)}")
        raise
    return _finish(study, words)


def _try(study: Study, taken: Taken, words: list[str]) -> None:
    """Train with the values of a trial, and tell the study what came of it."""
    number, values = taken.trial.number, " ".join(f"{key}={shown(value)}" for key, value in taken.values.items())
    _say(f"\ntrial {number}{' goes on' if taken.goes_on else ''}: {values}")
    if (taken.folder / PRUNED).is_file():
        # Ended between the run and the study's note of it.
        study.tell(taken, TrialState.PRUNED)
        return
    try:
        config = trial_config(study.config, taken.values, folder=taken.folder)
    except ConfigError as error:
        # Each value is valid, all together are not; when the study goes on, it is with other ones.
        _failed(study, taken, error)
        raise
    try:
        again = _training_command(words, taken.values)
        with _command(again and [*again, f"run.dir={taken.folder}"]):
            test = train(config, followers=[AskAtEvaluations(taken.trial, taken.folder)])
        value = best_value(taken.folder)
        if math.isnan(value):
            raise TrainingFailed(f"{config.trainer.metric} was never measured on the validation set")
        study.tell(taken, TrialState.COMPLETE, value=value, notes={TEST: None if math.isnan(test) else test})
    except Pruned as error:
        _say(f"trial {number} was {error}")
        study.tell(taken, TrialState.PRUNED)
    except (TrainingFailed, OutOfMemory, MemoryError) as error:
        _failed(study, taken, error)
    except MlembedError:
        raise
    except Exception as error:
        traceback.print_exception(error)
        _failed(study, taken, error)


def _failed(study: Study, taken: Taken, error: BaseException) -> None:
    reason = redact(str(error)) or type(error).__name__
    _say(f"trial {taken.trial.number} failed: {reason}")
    study.tell(taken, TrialState.FAIL, notes={REASON: reason[:500]})


def _settle(study: Study, words: list[str]) -> None:
    """After each trial: the memory of its models, what is kept of it, and what the study knows now."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if study.config.trainer.compile:
        torch.compiler.reset()
    with study.alone():
        best = best_trial(study)
        if study.config.tune.keep == "best":
            _forget_all_but(study, best.number if best else None)
        _write(study, words)
    if best is not None and best.value is not None:
        _say(f"best so far: trial {best.number}, {study.config.trainer.metric} {best.value:.4f} on the validation set")


def _write(study: Study, words: list[str]) -> None:
    best = best_trial(study)
    again = None if best is None else _training_command(words, best.params)
    write_summary(study, command=None if again is None else redact(shlex.join(again)))


def _forget_all_but(study: Study, best: int | None) -> None:
    """Delete checkpoints and models of finished trials that are not the best: they may be trained again."""
    for trial in study.trials():
        folder = folder_of(study, trial)
        if folder is not None and trial.state.is_finished() and trial.number != best:
            for name in (CHECKPOINTS, STUDENT, TEACHER, ZERO_SHOT):
                shutil.rmtree(folder / name, ignore_errors=True)


def _finish(study: Study, words: list[str]) -> float:
    with study.alone():
        _write(study, words)
        try:
            save_plots(study)
        except Exception as error:  # a picture is never worth a study
            _say(f"the plots were not made: {error}")
    print_summary(study)
    best = best_trial(study)
    running = sum(trial.state == TrialState.RUNNING for trial in study.trials())
    if running:
        _say(f"{running} of the trials are still running in other processes; they write the table again")
    if best is None or best.value is None:
        if running:
            return math.nan
        raise MlembedError(f"no trial was finished ({counts(study)}); see {study.folder}")
    _say(f"done: {counts(study)}; the best is trial {best.number}, see {study.folder / BEST}")
    return best.value


def _check_that_some_work(study: Study) -> None:
    states = [trial.state for trial in study.trials()]
    failed = states.count(TrialState.FAIL)
    if failed >= MAX_FAILED_AT_FIRST and not {TrialState.COMPLETE, TrialState.PRUNED} & set(states):
        raise MlembedError(f"the first {failed} trials failed, so others would too; the reasons are above")


def _tell_if_nothing_can_be_pruned(config: TuneConfig) -> None:
    trainer = config.trainer
    if config.tune.pruner.kind != "none" and trainer.evaluate_every is None and trainer.epochs == 1:
        _say("no trial will be pruned: each is measured at its end alone; set trainer.evaluate_every=STEPS for more")


def _training_command(words: list[str], values: Mapping[str, Any]) -> list[str] | None:
    """The command that trains with the values of a trial; None where a file of the user's own has more than values."""
    if any(word.partition("=")[0] in ("--config-name", "-cn") for word in words):
        return None
    of_tune = ("tune.", "space.", "space=", "run.")
    given = [word for word in words[2:] if not word.lstrip("+~").startswith(of_tune)]
    return [words[0], "train", *given, *(f"{key}={shown(value)}" for key, value in values.items())]


@contextlib.contextmanager
def _command(words: list[str] | None) -> Iterator[None]:
    """What a run notes down as its command."""
    before = sys.argv
    sys.argv = before if words is None else words
    try:
        yield
    finally:
        sys.argv = before


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
