"""The shape of the `data` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlembed.config_types import Language, Languages, NotNegative, Positive, Section, Text, Texts


class Columns(Section):
    """Names of the columns in the user's files."""

    source: Text
    target: Text
    lang: Text
    text: Text
    text_b: Text
    label: Text
    score: Text
    tokens: Text
    tags: Text
    id: Text


class Data(Section):
    """What all data have in common."""

    languages: Languages | None
    source_language: Language
    columns: Columns
    where: dict[str, str | int | list[str | int]] | None
    on_error: Literal["stop", "skip"]
    min_words: NotNegative
    held_out_min_words: NotNegative
    max_chars: Positive
    drop_identical: bool
    drop_markup: bool
    drop_duplicates: bool
    drop_leaks: bool
    max_sources: Positive | None
    max_per_language: Positive | None
    temperature: Annotated[float, Field(ge=1)] | None
    language_weights: dict[Language, Annotated[float, Field(gt=0)]] | None
    validation_size: Positive
    test_size: Positive
    source_weight: Annotated[float, Field(ge=0)]


class FilesData(Data):
    """`data=files` and `data=demo`."""

    kind: Literal["files"]
    train: Texts | None
    parallel: Texts | None
    unlabelled: Texts | None
    labelled_languages: Languages | None
    few_shot: Positive | None
    label_separator: Text
    validation: Texts | None
    test: Texts | None


class HubData(Data):
    """`data=hub`."""

    kind: Literal["hub"]
    name: Text
    subsets: Texts
    train_split: Text
    validation_split: Text | None
    test_split: Text | None


AnyData = Annotated[FilesData | HubData, Field(discriminator="kind")]
