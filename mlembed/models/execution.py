"""How a student's layers are run in training: activations kept or computed again, and compiled or not."""

from __future__ import annotations

from mlembed.errors import ConfigError
from mlembed.models.text_model import TextModel


def recompute_activations(student: TextModel) -> None:
    """Let each layer keep its input alone, and compute the rest again in the backward pass (gradient checkpointing).

    Memory for activations falls by the number of tensors that a layer keeps (some twenty), for a second forward.
    Vectors and gradients are the same.

    Raises:
        ConfigError: the student's architecture cannot.

    Source: Chen et al. (2016), Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174.
    """
    transformer = student.transformer
    if not getattr(transformer, "supports_gradient_checkpointing", False):
        raise ConfigError(
            f"trainer.gradient_checkpointing: a student of type {transformer.config.model_type} cannot; leave it "
            "false, and use a smaller trainer.batch_tokens where memory is short"
        )
    # Its name in newer versions of transformers, and in older ones.
    enable = getattr(transformer, "activation_checkpointing_enable", None) or transformer.gradient_checkpointing_enable
    # The reentrant kind needs an input with gradients, and DDP's hooks see each parameter twice.
    enable({"use_reentrant": False})


def compile_student(student: TextModel) -> None:
    """Compile the student's Transformer, in place, for batches of any shape.

    Names of parameters and what is saved stay as they are. The first steps take minutes.

    Raises:
        ConfigError: the student has no layers to compile.
    """
    if student.is_static:
        raise ConfigError("trainer.compile: a static student has no layers to compile; leave it false")
    student.transformer.compile(dynamic=True)
