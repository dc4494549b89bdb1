"""The verbs of the command line; nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mlembed import __version__
from mlembed.errors import USAGE, ConfigError, MlembedError, path_problem

HELP = """\
mlembed teaches a Transformer new languages: a teacher that knows one language, a student that is to know many,
and parallel sentences between them.

usage: mlembed VERB [arguments]

  train [KEY=VALUE ...]                    train a student; without arguments, the built-in demonstration
  train -m KEY=A,B [KEY=VALUE ...]         a sweep: one run for each combination
  train --resume RUN [KEY=VALUE ...]       go on with a run that was interrupted
  check [KEY=VALUE ...]                    look over data and models as train would use them; trains nothing
  eval RUN|CHECKPOINT|FOLDER [KEY=VALUE]   measure a model by language; with --mteb TASK,... on tasks of mteb
  embed RUN|CHECKPOINT|FOLDER --input FILE --output FILE
                                           turn text into vectors
  predict RUN|CHECKPOINT|FOLDER --input FILE --output FILE
                                           what a model with a head says of texts: labels, scores, names in them
  export RUN|CHECKPOINT|FOLDER --output FOLDER [--to FORMAT] [--prune-vocabulary]
                                           write a model for other tools: sentence-transformers, transformers, onnx,
                                           onnx-int8, static; with the tokens that you need alone
  push FOLDER NAME/REPOSITORY [--dry-run]  upload an exported folder to the hub
  runs ls|show|compare                     the runs and sweeps of a folder, all about one, what differs between some
  report RUN                               write the page of a finished run (report.html) once more
  cache ls|clear                           what is kept between runs (the teacher's vectors), and deleting it
  tune [KEY=VALUE ...]                     search for the best settings, with Optuna; several processes may share it
  bench [KEY=VALUE ...]                    time a training here, beside the same one of sentence-transformers

  VERB --help                              what can be chosen and set, each key explained
  train [KEY=VALUE ...] --cfg job          the configuration that a command would use; nothing runs
  --version                                the version of mlembed

MLEMBED_CACHE=FOLDER keeps what is kept between runs there, instead of in the user's cache folder.
Tab completion:  eval "$(mlembed -sc install=bash)"   (or install=zsh)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code (0 done, 1 run failed, 2 usage, 3 data, 4 resources, 130, 143)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else USAGE
    if words[0] in ("-V", "--version"):
        print(f"mlembed {__version__}")
        return 0
    try:
        return _dispatch(words[0], words[1:])
    except MlembedError as error:
        print(f"mlembed: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; a second write at exit would only print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if (problem := path_problem(error)) is None:
            raise
        print(f"mlembed: {problem}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return 130


def _dispatch(verb: str, words: list[str]) -> int:
    if verb in ("-sc", "--shell-completion"):
        from mlembed.door.completion import complete

        return complete(words, verbs=list(VERBS))
    if verb in VERBS:
        return VERBS[verb](words)
    from mlembed.config_door import nearest

    if "=" in verb:
        raise ConfigError(f"{verb}: the verb comes first: mlembed train {verb}")
    raise ConfigError(f"there is no verb {verb!r}; the verbs are {', '.join(VERBS)}{nearest(verb, VERBS)}")


def _train(words: list[str]) -> int:
    from mlembed.door.command_line import parse_words, path_override
    from mlembed.door.hydra_app import App, run_app

    line = parse_words("train", words)
    if (run := line.options.pop("--resume", None)) is not None:
        if "--config-name" in line.options:
            raise ConfigError("--resume goes on with the run's own configuration: leave --config-name out")
        line.overrides.append(path_override("run.resume", run))
    if "--multirun" in line.options and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("-m cannot be used under torchrun: start one torchrun command for each combination instead")

    def settle(plain: dict[str, Any], given: list[str]) -> Any:
        from mlembed.run.start import train_config

        return train_config(plain, given)

    def run_with(config: Any, sweep_dir: str | None) -> float:
        from mlembed.train import train

        return train(config, sweep_dir=sweep_dir)

    run_app(App(line, settle=settle, run=run_with))
    return 0


def _check(words: list[str]) -> int:
    from mlembed.check.command import main as check

    return check(words)


def _eval(words: list[str]) -> int:
    from mlembed.door.command_line import list_override, parse_words
    from mlembed.door.hydra_app import App, run_app

    line = parse_words("eval", words)
    if (tasks := line.options.pop("--mteb", None)) is not None:
        line.overrides.append(list_override("mteb", tasks))

    def settle(plain: dict[str, Any], given: list[str]) -> Any:
        from mlembed.run.start import eval_config

        return eval_config(plain, given)

    def run_with(config: Any, sweep_dir: str | None) -> float:
        from mlembed.evaluate import evaluate

        return evaluate(config)

    run_app(App(line, settle=settle, run=run_with))
    return 0


def _bench(words: list[str]) -> int:
    from mlembed.door.command_line import parse_words
    from mlembed.door.hydra_app import App, run_app

    line = parse_words("bench", words)
    if "--multirun" in line.options:
        raise ConfigError("-m is for training: two benchmarks at once would be in each other's way")

    def settle(plain: dict[str, Any], given: list[str]) -> Any:
        from mlembed.config import BenchConfig
        from mlembed.config_door import validate

        return validate(plain, BenchConfig)

    def run_with(config: Any, sweep_dir: str | None) -> float:
        from mlembed.bench.verb import bench

        return bench(config)

    run_app(App(line, settle=settle, run=run_with))
    return 0


def _tune(words: list[str]) -> int:
    from mlembed.tune.verb import main as tune

    return tune(words)


def _embed(words: list[str]) -> int:
    from mlembed.embed import main as embed

    return embed(words)


def _predict(words: list[str]) -> int:
    from mlembed.predict.verb import main as predict

    return predict(words)


def _export(words: list[str]) -> int:
    from mlembed.export_verb.verb import main as export

    return export(words)


def _runs(words: list[str]) -> int:
    from mlembed.runs.verb import main as runs

    return runs(words)


def _push(words: list[str]) -> int:
    from mlembed.push import main as push

    return push(words)


def _report(words: list[str]) -> int:
    from mlembed.render_report import main as report

    return report(words)


def _cache(words: list[str]) -> int:
    from mlembed.manage_cache import main as cache

    return cache(words)


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "check": _check,
    "eval": _eval,
    "embed": _embed,
    "predict": _predict,
    "export": _export,
    "push": _push,
    "report": _report,
    "runs": _runs,
    "cache": _cache,
    "bench": _bench,
    "tune": _tune,
}
