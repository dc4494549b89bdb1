"""`mlembed check`: what training would meet, before it does; nothing is trained, and no run directory is made."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from mlembed.check.embedding import EmbeddingCheck
from mlembed.check.labelled import LabelCheck
from mlembed.check.looks import Looks
from mlembed.check.options import CheckOptions
from mlembed.check.screen import show
from mlembed.config import TrainConfig
from mlembed.errors import ConfigError
from mlembed.files import write_atomically
from mlembed.machine import encoding_tokens, make_machine
from mlembed.progress import choose_progress
from mlembed.run.run_log import logging_to
from mlembed.run.trackers.tracking import check_installed
from mlembed.signals import StopRequest
from mlembed.staging import ending_at_once
from mlembed.strict_json import without_nan

log = logging.getLogger("mlembed")


def check(config: TrainConfig, options: CheckOptions) -> int:
    """Look at data and models as training would use them, and say what was found.

    Args:
        config: the validated configuration of the training.
        options: where findings go.

    Returns:
        0 where training would go through, or the exit code that it would end with: 3 for data.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("mlembed check is for one process; start it without torchrun")
    check_installed(config.trackers.use)
    torch.manual_seed(config.seed)
    with (
        ending_at_once(),
        logging_to(None, quiet=False),
        tempfile.TemporaryDirectory(prefix="mlembed-check-") as folder,
    ):
        machine = make_machine(
            device=config.trainer.device,
            precision=config.trainer.precision,
            processes=None,
            stop=StopRequest(),
            progress=choose_progress(config.trainer.progress),
            batch_tokens=encoding_tokens(config.trainer.batch_tokens, device=config.trainer.device),
        )
        settings = config.trainer.model_copy(update={"precision": machine.compute.precision})
        looks = Looks(config.model_copy(update={"trainer": settings}), options, machine)
        look_at = EmbeddingCheck if config.task.kind == "embedding" else LabelCheck
        look_at(looks, folder=Path(folder)).look()
    if options.json is not None:
        write_atomically(
            options.json, json.dumps(without_nan(document(looks)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )
    show(looks)
    return looks.exit_code


def document(looks: Looks) -> dict[str, Any]:
    """All that was found, as JSON values."""
    about = dict(looks.about)
    if (baseline := about.get("baseline")) is not None:
        about["baseline"] = {**baseline, "report": json.loads(baseline["report"].to_json())}
    return {
        "exit_code": looks.exit_code,
        "findings": [one.to_json() for one in looks.findings],
        **about,
        "seconds": looks.seconds,
    }
