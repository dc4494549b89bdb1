"""Hydra at the door: compose the configuration, show it, run or sweep with it; its errors become ours."""

from __future__ import annotations

import math
import os
import secrets
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from mlembed.door.command_line import CommandLine, config_of
from mlembed.door.composed import explain, to_plain
from mlembed.door.overrides import Quoting, keys
from mlembed.errors import ConfigError, Interrupted, MlembedError
from mlembed.faults import fault_point

Settle = Callable[[dict[str, Any], list[str]], BaseModel]
Run = Callable[[Any, str | None], float]


class _Ended(BaseException):
    """Carries an error past Hydra, which catches what is an `Exception`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class App:
    """One use of a verb that Hydra composes the configuration of.

    Args:
        line: the command line.
        settle: makes the configuration that counts from the composed one (a plain dict) and the keys that were given.
        run: runs with a configuration, and the folder of the sweep where there is one; returns the objective.
    """

    line: CommandLine
    settle: Settle
    run: Run
    process: int = field(default_factory=os.getpid)
    sweep_dir: Path | None = None
    labels: list[str] = field(default_factory=list)
    is_found_again: bool = False
    failed: int = 0

    def job(self, composed: DictConfig) -> float:
        """One run, alone or in a sweep; what Hydra calls."""
        sweep_dir = None
        try:
            settings = HydraConfig.get()
            sweep_dir = str(Path(settings.sweep.dir).absolute()) if settings.mode == RunMode.MULTIRUN else None
            plain = to_plain(composed)
            if "--help" in self.line.options:
                from mlembed.door.help_page import help_page

                print(help_page(self.line.verb, plain, settings.runtime.choices))
                return math.nan
            if sweep_dir is not None and plain["run"]["dir"] is None:
                plain["run"]["dir"] = settings.runtime.output_dir
            config = self.settle(plain, keys(settings.overrides.task))
            if "--cfg" in self.line.options:
                _print_config(config)
                return math.nan
            if sweep_dir is not None:
                if (value := self._finished_before(config)) is not None:
                    return value
                print(f"\njob {self._job_name()}", file=sys.stderr)
                fault_point("sweep.job")
            # What a run notes down as its command.
            sys.argv = self._command(list(settings.overrides.task), in_sweep=sweep_dir is not None)
            return self.run(config, sweep_dir)
        except Exception as error:
            if sweep_dir is None or isinstance(error, Interrupted):
                raise _Ended(error) from error
            return self._job_failed(error)

    def _finished_before(self, config: Any) -> float | None:
        """What this job of a sweep scored, where an earlier start of the sweep has finished it."""
        from mlembed.run.sweep import finished_value

        value = finished_value(Path(config.run.dir), config.model_dump(mode="json"))
        if value is not None:
            print(f"job {self._job_name()}: {config.run.dir} is finished already", file=sys.stderr)
        return value

    def _command(self, overrides: list[str], *, in_sweep: bool) -> list[str]:
        given = [one.removeprefix("++") for one in overrides] if in_sweep else self.line.overrides
        return ["mlembed", self.line.verb, *self.line.option_words(without=["--multirun"]), *given]

    def _job_failed(self, error: Exception) -> float:
        """Say why a job of a sweep failed; the others go on."""
        print(f"mlembed: job {self._job_name()} failed: {error}", file=sys.stderr, flush=True)
        if not isinstance(error, MlembedError):
            traceback.print_exception(error)
        if os.getpid() != self.process:
            # A launcher runs this job in another process: an error is all that comes back to the first one.
            raise MlembedError(str(error)) from None
        self.failed += 1
        return math.nan

    def _job_name(self) -> str:
        number = int(HydraConfig.get().job.num)
        return f"{number} ({self.labels[number]})" if number < len(self.labels) else str(number)


# The app that is running, and what it holds, which a launcher cannot take to another process with it: Hydra makes the
# callback below itself.
_running: list[tuple[App, ExitStack]] = []


class SweepStart(Callback):
    """Looks through a sweep before its first job: hours later is a bad time to learn of a typo in the last one."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the configuration of every job, and find the folder of the sweep; errors end it."""
        from mlembed.door.sweep_jobs import check_jobs, take_up_sweep

        app, held = _running[-1]
        try:
            app.labels, jobs = check_jobs(config, settle=app.settle)
            command = shlex.join(["mlembed", app.line.verb, *app.line.option_words(), *app.line.overrides])
            app.sweep_dir = held.enter_context(take_up_sweep(config, jobs, command=command))
        except Exception as error:
            # Hydra makes warnings of errors in callbacks.
            raise _Ended(ConfigError(explain(error, app.line.verb))) from error
        app.is_found_again = bool(jobs)


def run_app(app: App) -> None:
    """Compose a configuration and run with it, once or, with `-m`, for each combination.

    Raises:
        ConfigError: for everything that Hydra or the schema finds wrong.
        MlembedError: a job of a sweep failed; the others were run.
    """
    line = app.line
    # These two are shown by the job, so that they tell what the schema says.
    shown = [name for name in ("--help", "--cfg") if line.options.get(name) in ("", "job")]
    if shown and "--multirun" in line.options:
        raise ConfigError(f"{shown[0]} shows one configuration: leave -m out, and give one value for each key")
    quote = Quoting(line)
    error: Exception | None = None
    arguments = ["mlembed", *line.option_words(without=shown), *(quote(one) for one in line.overrides)]
    with ExitStack() as held:
        try:
            with _surroundings(arguments):
                _compose_and_run(app, held)
        except Exception as raised:
            error = raised
        except _Ended as ended:
            if isinstance(ended.error, Interrupted) and app.sweep_dir is not None:
                print(f"the sweep in {app.sweep_dir} goes on with {_again(app, app.sweep_dir)}", file=sys.stderr)
            raise ended.error from ended.error.__cause__
        if app.sweep_dir is not None:
            _end_sweep(app, app.sweep_dir, error)
        elif error is not None:
            raise ConfigError(explain(error, line.verb)) from error


def _compose_and_run(app: App, held: ExitStack) -> None:
    _running.append((app, held))
    try:
        config_name = config_of(app.line.verb)
        hydra.main(version_base="1.3", config_path="pkg://mlembed.conf", config_name=config_name)(app.job)()
    finally:
        _running.pop()
        GlobalHydra.instance().clear()


@contextmanager
def _surroundings(arguments: list[str]) -> Iterator[None]:
    """What Hydra reads besides its configuration: the command line and the environment."""
    stamp = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"
    # The stamp names a sweep, also for jobs that a launcher starts in other processes. Without HYDRA_FULL_ERROR Hydra
    # prints errors itself and ends the process with its own exit code.
    wanted = {"MLEMBED_STAMP": stamp, "HYDRA_FULL_ERROR": "1"}
    before = sys.argv, {name: os.environ.get(name) for name in wanted}
    sys.argv = arguments
    os.environ.update(wanted)
    try:
        yield
    finally:
        sys.argv = before[0]
        for name, value in before[1].items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


def _end_sweep(app: App, folder: Path, error: Exception | None) -> None:
    """Show what the jobs of a sweep scored; some may have failed."""
    from mlembed.run.sweep import print_summary

    if folder.is_dir():
        print_summary(folder)
    if error is not None:
        raise MlembedError(f"the sweep in {folder} failed: {explain(error, app.line.verb)}") from error
    if app.failed:
        again = f"The sweep in {folder} tries them again with {_again(app, folder)}"
        raise MlembedError(f"{app.failed} of the jobs failed; see above. {again}")


def _again(app: App, folder: Path) -> str:
    """What makes a sweep go on, in words."""
    return "the same command" if app.is_found_again else f"the same command and hydra.sweep.dir={folder}"


def _print_config(config: BaseModel) -> None:
    print(OmegaConf.to_yaml(config.model_dump(mode="json")), end="")
