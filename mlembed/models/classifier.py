"""A Transformer with a head for labels, of a text or of each of its words; it is the model of transformers itself."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mlembed.errors import ConfigError
from mlembed.models.attention import choose_attention
from mlembed.models.encoder import Encoder, load_encoder, load_transformer
from mlembed.models.precision import narrow_stream
from mlembed.models.text_model import TextModel

PROBLEMS = {"one": "single_label_classification", "many": "multi_label_classification", "score": "regression"}


@dataclass(frozen=True)
class Head:
    """What a model answers.

    Args:
        of: `text` (or pair of texts), each of the `words`, or the `vectors` of two texts.
        labels: names of the labels; a score has one name.
        problem: `one` label of several, `many` labels at once, or a `score`.
    """

    of: Literal["text", "words", "vectors"]
    labels: tuple[str, ...]
    problem: Literal["one", "many", "score"] = "one"

    def settings(self) -> dict[str, Any]:
        """What config.json says of it, so that other tools know the names."""
        names = dict(enumerate(self.labels))
        return {
            "num_labels": len(self.labels),
            "id2label": names,
            "label2id": {name: number for number, name in names.items()},
            "problem_type": PROBLEMS[self.problem],
        }


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
            types_BT: 0 for the first text of a pair, 1 for the second.
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
        types = {} if types_BT is None else {"token_type_ids": types_BT}
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


def with_head(encoder: Encoder, head: Head, *, seed: int, dropout: float | None = None) -> Classifier:
    """A classifier with the body of an encoder and a new head.

    Args:
        encoder: its Transformer is copied; pooling and dense layers have no part in it.
        head: what it is to answer.
        seed: of the head's first weights.
        dropout: probability in the head; None: as the model's config says.

    Raises:
        ConfigError: there is no such head for this architecture.
    """
    if encoder.is_static:
        raise ConfigError("model: a static model has no head for labels; choose model=pretrained, transplant or copy")
    config = copy.deepcopy(encoder.transformer.config)
    for key, value in head.settings().items():
        setattr(config, key, value)
    if dropout is not None:
        config.classifier_dropout = dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = _auto_class(head).from_config(config)
    missing, unexpected = transformer.base_model.load_state_dict(encoder.transformer.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("pooler.") for name in missing)
    narrow_stream(transformer.base_model)
    return Classifier(transformer, tokenizer=encoder.tokenizer, max_length=encoder.max_length, head=head)


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


def load_classifier(
    folder: Path, *, key: str, head: Head, max_length: int | None = None, dropout: float | None = None
) -> Classifier:
    """Load a model with its head.

    Args:
        folder: a model folder; only safetensors are read, and no code in it is run.
        key: the configuration key that named it, for messages.
        head: what it must answer; the order of the labels may be another one in the folder.
        max_length: tokens, instead of the folder's.
        dropout: probability of all dropout layers, instead of the config's.

    Raises:
        ConfigError: when the folder cannot be loaded, or its labels are others.
    """
    # It finds what is wrong with a folder, and how long texts may be.
    encoder = load_encoder(folder, key=key, max_length=max_length)
    transformer, tokenizer = load_transformer(folder, key=key, dropout=dropout, auto_class=_auto_class(head))
    names = [str(transformer.config.id2label[number]) for number in range(transformer.config.num_labels)]
    if sorted(names) != sorted(head.labels):
        raise ConfigError(f"{key}: {folder} answers with {_some(names)}, but the data have {_some(head.labels)}")
    own = Head(head.of, tuple(names), head.problem)
    classifier = Classifier(transformer, tokenizer=tokenizer, max_length=encoder.max_length, head=own)
    return classifier if own == head else _reordered(classifier, head)


def has_head(folder: Path) -> bool:
    """Whether a model folder says that its model has a head for labels."""
    from transformers import AutoConfig

    architectures = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).architectures
    return any(name.endswith("Classification") for name in architectures or ())


def is_same_body(first: Classifier, second: Classifier) -> bool:
    """Whether two models have the same architecture and shapes, up to their vocabularies."""
    shapes = [
        {name: value.shape for name, value in model.state_dict().items() if "word_embeddings" not in name}
        for model in (first, second)
    ]
    return shapes[0] == shapes[1]


def weights_fingerprint(model: TextModel) -> str:
    """A hash of all weights, for a model that was trained in this run."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _auto_class(head: Head) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if head.of == "words" else AutoModelForSequenceClassification


def _reordered(classifier: Classifier, head: Head) -> Classifier:
    """The same model with its labels in another order: the last layer's rows change places."""
    places = torch.tensor([classifier.head.labels.index(name) for name in head.labels])
    last = [module for module in classifier.transformer.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == len(places)
    with torch.no_grad():
        last.weight.copy_(last.weight[places])
        if last.bias is not None:
            last.bias.copy_(last.bias[places])
    for key, value in head.settings().items():
        setattr(classifier.transformer.config, key, value)
    return Classifier(
        classifier.transformer, tokenizer=classifier.tokenizer, max_length=classifier.max_length, head=head
    )


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} labels ({', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''})"
