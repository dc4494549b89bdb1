"""The verbs of the command line; nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from mlembed import __version__
from mlembed.errors import USAGE, ConfigError, MlembedError

HELP = """\
mlembed teaches a Transformer new languages: a teacher that knows one language, a student that is to know many,
and parallel sentences between them.

usage: mlembed VERB [arguments]

  train [KEY=VALUE ...]                    train a student; without arguments, the built-in demonstration
  train -m KEY=A,B [KEY=VALUE ...]         a sweep: one run for each combination
  train --resume RUN [KEY=VALUE ...]       go on with a run that was interrupted
  eval RUN|CHECKPOINT|FOLDER [KEY=VALUE]   measure a model by language
  embed RUN|CHECKPOINT|FOLDER --input FILE --output FILE
                                           turn text into vectors

  train --help, eval --help                all configuration groups and keys
  train --cfg job                          the configuration that a command would use; nothing runs
  --version                                the version of mlembed

Tab completion:  eval "$(mlembed -sc install=bash)"   (or zsh, fish)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code (0 done, 1 run failed, 2 usage, 3 data, 4 resources, 130, 143)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
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
    except KeyboardInterrupt:
        return 130


def _dispatch(verb: str, words: list[str]) -> int:
    if verb in ("-sc", "--shell-completion"):
        from mlembed.hydra_app import complete

        return complete([verb, *words], verbs=sorted(VERBS))
    if verb not in VERBS:
        from mlembed.config_door import nearest

        raise ConfigError(f"there is no verb {verb!r}{nearest(verb, VERBS)}. The verbs are {', '.join(VERBS)}.")
    return VERBS[verb](words)


def _train(words: list[str]) -> int:
    from mlembed.hydra_app import path_override, run_app

    if "--resume" in words:
        at = words.index("--resume")
        if at + 1 == len(words):
            raise ConfigError("--resume needs the run directory: mlembed train --resume RUN")
        words = [*words[:at], path_override("run.resume", words[at + 1]), *words[at + 2 :]]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"-m", "--multirun"} & set(words):
        raise ConfigError("-m cannot be used under torchrun: start one torchrun command for each combination instead")

    def job(plain: dict[str, object], given: list[str], sweep_dir: str | None) -> float | None:
        from mlembed.start import train_config

        config = train_config(plain, given)
        from mlembed.train import train

        return train(config, sweep_dir=sweep_dir)

    run_app("train", words, job)
    return 0


def _eval(words: list[str]) -> int:
    from mlembed.hydra_app import path_override, run_app

    if words and not words[0].startswith("-") and ("=" not in words[0] or os.path.exists(words[0])):
        words = [path_override("target", words[0]), *words[1:]]

    def job(plain: dict[str, object], given: list[str], sweep_dir: str | None) -> float | None:
        from mlembed.start import eval_config

        config = eval_config(plain, given)
        from mlembed.evaluate import evaluate

        return evaluate(config)

    run_app("eval", words, job)
    return 0


def _embed(words: list[str]) -> int:
    from mlembed.embed import main as embed

    return embed(words)


VERBS: dict[str, Callable[[list[str]], int]] = {"train": _train, "eval": _eval, "embed": _embed}
