"""mlembed teaches a Transformer new languages by knowledge distillation."""

__version__ = "0.1.0"
