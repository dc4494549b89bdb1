"""A Transformer with a head for labels, of a text or of each of its words; it is the model of transformers itself."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mlembed.errors import ConfigError
from mlembed.models.attention import choose_attention
from mlembed.models.encoder import Encoder
from mlembed.models.mean_layer import add_mean_layer
from mlembed.models.precision import narrow_stream
from mlembed.models.text_model import TextModel

Of = Literal["text", "words", "vectors"]
Problem = Literal["one", "many", "score"]

# A score has no name there: of one number without it transformers' pipelines give the sigmoid, which is what is learnt
# here, and of "regression" they give the logit as it is.
PROBLEMS = {"one": "single_label_classification", "many": "multi_label_classification", "score": None}
HEADS: dict[str, Of] = {"ForSequenceClassification": "text", "ForTokenClassification": "words"}


@dataclass(frozen=True)
class Head:
    """What a model answers.

    Args:
        of: `text` (or pair of texts), each of the `words`, or the `vectors` of two texts.
        labels: names of the labels; a score has one name.
        problem: `one` label of several, `many` labels at once, or a `score`.
    """

    of: Of
    labels: tuple[str, ...]
    problem: Problem = "one"

    def settings(self) -> dict[str, Any]:
        """What config.json says of it, so that other tools know the names."""
        names = dict(enumerate(self.labels))
        return {
            "num_labels": len(self.labels),
            "id2label": names,
            "label2id": {name: number for number, name in names.items()},
            "problem_type": PROBLEMS[self.problem],
        }


def refuse_other_labels(names: Sequence[str], wanted: Sequence[str], *, key: str, folder: Path) -> None:
    """Make sure that a model answers with the labels of the data, in any order.

    Raises:
        ConfigError: it does not.
    """
    if sorted(names) != sorted(wanted):
        raise ConfigError(f"{key}: {folder} answers with {_some(names)}, but the data have {_some(wanted)}")


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} labels ({', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''})"


class Classifier(TextModel):
    """Token ids to logits.

    Args:
        transformer: a model of transformers for sequence or token classification.
        tokenizer: its tokenizer.
        max_length: longer texts are cut to this number of tokens.
        head: what it answers.
    """

    def __init__(self, transformer: nn.Module, *, tokenizer: Any, max_length: int, head: Head) -> None:
        super().__init__(transformer, tokenizer=tokenizer, max_length=max_length)
        self.head = head
        known = inspect.signature(transformer.forward).parameters
        self.has_types = "token_type_ids" in known and getattr(self.transformer.config, "type_vocab_size", 2) > 1

    @property
    def width(self) -> int:
        """Number of labels."""
        return len(self.head.labels)

    @property
    def body(self) -> Any:
        """The Transformer without its head."""
        return self.transformer.base_model

    @property
    def top_names(self) -> tuple[str, ...]:
        """See `TextModel`; a pooler belongs to the head."""
        prefix = self.transformer.base_model_prefix
        own = {name.partition(".")[0] for name, _ in self.transformer.named_parameters()} - {prefix}
        return (*(f"transformer.{name}." for name in sorted(own)), f"transformer.{prefix}.pooler.")

    def about(self) -> dict[str, Any]:
        """See `TextModel`."""
        return {"max_length": self.max_length, "head": [self.head.of, self.head.problem, *self.head.labels]}

    def forward(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        types_BT: Tensor | None = None,
        row_M: Tensor | None = None,
        position_M: Tensor | None = None,
        *,
        with_representation: bool = False,
    ) -> Any:
        """Logits, float32.

        Args:
            ids_BT: token ids, padded.
            mask_BT: 1 for a token, 0 for padding.
            types_BT: 0 for the first text of a pair, 1 for the second; a model that knows no types does without.
            row_M: with `position_M`, the M tokens to answer for, of a head for words.
            position_M: see `row_M`.
            with_representation: also return what the head reads of each text, the last layer's first token.

        Returns:
            `[B, L]` of texts, `[M, L]` of words; with the representation a tuple of it and `[B, D]`.
        """
        choose_attention(
            self.transformer,
            device_type=ids_BT.device.type,
            tokens=ids_BT.shape[1],
            with_gradients=torch.is_grad_enabled(),
        )
        types = {"token_type_ids": types_BT} if types_BT is not None and self.has_types else {}
        output = self.transformer(
            input_ids=ids_BT, attention_mask=mask_BT, output_hidden_states=with_representation, **types
        )
        logits: Tensor = output.logits
        if self.head.of == "words":
            assert row_M is not None
            assert position_M is not None
            logits = logits[row_M, position_M]
        if with_representation:
            return logits.float(), output.hidden_states[-1][:, 0].float()
        return logits.float()

    def reader(self) -> Encoder:
        """The encoder that gives for each text what the head reads of it; it shares the weights."""
        return Encoder(
            self.body,
            tokenizer=self.tokenizer,
            pooling="cls",
            dense=[],
            normalize=False,
            max_length=self.max_length,
        )


def with_head(
    encoder: Encoder, head: Head, *, seed: int, dropout: float | None = None, pooling: str = "cls"
) -> Classifier:
    """A classifier with the body of an encoder and a new head.

    Args:
        encoder: its Transformer is copied; pooling and dense layers have no part in it.
        head: what it is to answer.
        seed: of the head's first weights.
        dropout: probability in the head; None: as the model's config says.
        pooling: what the head reads of a text: the first token (`cls`), the `mean` of all (see `add_mean_layer`), or
            the mean where the architecture can (`auto`).

    Raises:
        ConfigError: there is no such head for this architecture.
    """
    if encoder.is_static:
        raise ConfigError("model: a static model has no head for labels; choose model=pretrained, transplant or copy")
    if pooling != "cls" and not _reads_mean(encoder) and pooling == "mean":
        raise ConfigError(
            f"task.pooling=mean: layers of a {encoder.transformer.config.model_type} model are of another kind than "
            "those of BERT and RoBERTa; use task.pooling=cls"
        )
    config = copy.deepcopy(encoder.transformer.config)
    for key, value in head.settings().items():
        setattr(config, key, value)
    if dropout is not None:
        config.classifier_dropout = dropout
        if hasattr(config, "seq_classif_dropout"):  # what DistilBERT calls it
            config.seq_classif_dropout = dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            transformer = auto_class(head.of).from_config(config)
        except ValueError as error:  # no such class is registered
            raise ConfigError(f"model: transformers has no such head for a {config.model_type} model") from error
    missing, unexpected = transformer.base_model.load_state_dict(encoder.transformer.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("pooler.") for name in missing)
    narrow_stream(transformer.base_model)
    return Classifier(transformer, tokenizer=encoder.tokenizer, max_length=encoder.max_length, head=head)


def _reads_mean(encoder: Encoder) -> bool:
    """Let a head read the mean of all tokens; returns whether that is done."""
    config = encoder.transformer.config
    if hasattr(config, "classifier_pooling"):  # ModernBERT's own way
        config.classifier_pooling = "mean"
        return True
    return add_mean_layer(encoder)


def take_head(student: Classifier, teacher: Classifier) -> None:
    """Give a student the teacher's head, where its body is the teacher's too.

    Args:
        student: of the same architecture, width and labels.
        teacher: what it answers like.
    """
    own = student.transformer.state_dict()
    tops = tuple(name.removeprefix("transformer.") for name in teacher.top_names)
    heads = {name: value for name, value in teacher.transformer.state_dict().items() if name.startswith(tops)}
    assert heads.keys() <= own.keys()
    student.transformer.load_state_dict(heads, strict=False)


def weights_fingerprint(model: TextModel) -> str:
    """A hash of all weights, for a model that was trained in this run."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def auto_class(of: Of) -> Any:
    """The class of transformers that has such a head."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if of == "words" else AutoModelForSequenceClassification
