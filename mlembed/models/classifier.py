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
from mlembed.models.encoder import Encoder, load_transformer, token_limit
from mlembed.models.folder import architectures, refuse_lower_case
from mlembed.models.precision import narrow_stream
from mlembed.models.text_model import TextModel

Of = Literal["text", "words"]
Problem = Literal["one", "many", "score"]

# A score has no name there: of one number without it transformers' pipelines give the sigmoid, which is what is learnt
# here, and of "regression" they give the logit as it is.
PROBLEMS = {"one": "single_label_classification", "many": "multi_label_classification", "score": None}
HEADS: dict[str, Of] = {"ForSequenceClassification": "text", "ForTokenClassification": "words"}


@dataclass(frozen=True)
class Head:
    """What a model answers.

    Args:
        of: `text` (or pair of texts), or each of the `words`.
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
        self._has_types = "token_type_ids" in known and getattr(self.transformer.config, "type_vocab_size", 2) > 1

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
    ) -> Tensor:
        """Logits, float32.

        Args:
            ids_BT: token ids, padded.
            mask_BT: 1 for a token, 0 for padding.
            types_BT: 0 for the first text of a pair, 1 for the second; a model that knows no types does without.
            row_M: with `position_M`, the M tokens to answer for, of a head for words.
            position_M: see `row_M`.

        Returns:
            `[B, L]` of texts, `[M, L]` of words.
        """
        choose_attention(
            self.transformer,
            device_type=ids_BT.device.type,
            tokens=ids_BT.shape[1],
            with_gradients=torch.is_grad_enabled(),
        )
        types = {"token_type_ids": types_BT} if types_BT is not None and self._has_types else {}
        logits: Tensor = self.transformer(input_ids=ids_BT, attention_mask=mask_BT, **types).logits
        if self.head.of == "words":
            assert row_M is not None
            assert position_M is not None
            logits = logits[row_M, position_M]
        return logits.float()


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
        if hasattr(config, "seq_classif_dropout"):  # what DistilBERT calls it
            config.seq_classif_dropout = dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            transformer = _auto_class(head.of).from_config(config)
        except ValueError as error:  # no such class is registered
            raise ConfigError(f"model: transformers has no such head for a {config.model_type} model") from error
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
    loaded = _load(folder, key=key, of=head.of, max_length=max_length, dropout=dropout)
    names = loaded.head.labels
    if sorted(names) != sorted(head.labels):
        raise ConfigError(f"{key}: {folder} answers with {_some(names)}, but the data have {_some(head.labels)}")
    return _reordered(loaded, head)


def load_any_classifier(folder: Path, *, key: str) -> Classifier:
    """Load a model with the head that its folder says it has, from mlembed or from somebody else.

    Without `problem_type` in config.json one number is a score, and several are one label of several, as everywhere.

    Args:
        folder: a model folder; only safetensors are read, and no code in it is run.
        key: the configuration key that named it, for messages.

    Raises:
        ConfigError: when the folder cannot be loaded, or has no such head.
    """
    return _load(folder, key=key, of=head_of(folder, key=key))


def head_of(folder: Path, *, key: str) -> Of:
    """What the head of a model folder answers for, without loading the model.

    Raises:
        ConfigError: it has no head for labels.
    """
    names = architectures(folder)
    for name in names:
        for ending, of in HEADS.items():
            if name.endswith(ending):
                return of
    said = f"config.json says {', '.join(names)}" if names else "nothing in it says so"
    raise ConfigError(
        f"{key}: {folder} has no head for labels or scores ({said}); mlembed embed gives the vectors of its texts, and "
        "where a pair of texts is to be compared, the cosine of their vectors is the score"
    )


def has_head(folder: Path) -> bool:
    """Whether a model folder says that its model has a head for labels."""
    return any(name.endswith(tuple(HEADS)) for name in architectures(folder))


def _load(folder: Path, *, key: str, of: Of, max_length: int | None = None, dropout: float | None = None) -> Classifier:
    refuse_lower_case(folder, key=key)
    transformer, tokenizer = load_transformer(folder, key=key, dropout=dropout, auto_class=_auto_class(of))
    limit = token_limit(folder, transformer, tokenizer, asked=max_length, key=key)
    numbered = transformer.config.id2label
    if sorted(numbered) != list(range(len(numbered))) or len(set(numbered.values())) < len(numbered):
        raise ConfigError(f"{key}: id2label in {folder}/config.json does not name each label once, with numbers from 0")
    names = tuple(str(numbered[number]) for number in range(len(numbered)))
    problem = _problem(transformer.config, of=of, key=key, folder=folder)
    return Classifier(transformer, tokenizer=tokenizer, max_length=limit, head=Head(of, names, problem))


def _problem(config: Any, *, of: Of, key: str, folder: Path) -> Problem:
    if of == "words" or config.problem_type == PROBLEMS["one"]:
        return "one"
    if config.problem_type == PROBLEMS["many"]:
        return "many"
    if config.num_labels > 1 and config.problem_type is not None:
        raise ConfigError(f"{key}: {folder} gives {config.num_labels} scores at once, which mlembed does not know")
    return "score" if config.num_labels == 1 else "one"


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


def _auto_class(of: Of) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if of == "words" else AutoModelForSequenceClassification


def _reordered(loaded: Classifier, head: Head) -> Classifier:
    """The same model with the head's order of labels, and its problem: the last layer's rows change places."""
    places = torch.tensor([loaded.head.labels.index(name) for name in head.labels])
    last = [module for module in loaded.transformer.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == len(places)
    with torch.no_grad():
        last.weight.copy_(last.weight[places])
        if last.bias is not None:
            last.bias.copy_(last.bias[places])
    for key, value in head.settings().items():
        setattr(loaded.transformer.config, key, value)
    return Classifier(loaded.transformer, tokenizer=loaded.tokenizer, max_length=loaded.max_length, head=head)


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} labels ({', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''})"
