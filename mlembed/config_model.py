"""The shape of the `model` section: teacher, student, and the ways to start one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlembed.config_types import Fraction, NotNegative, Positive, Section, Text, Texts


class Teacher(Section):
    """The model that knows the source language."""

    name: Text
    max_length: Positive | None
    width: Positive | None
    trainable: bool


class Student(Section):
    """What can be chosen of every student."""

    compact_vocabulary: bool


class CopiedStudent(Student):
    """What can be chosen of a student that starts as the teacher."""

    max_length: Positive | None
    dropout: Fraction | None
    freeze: Texts
    train_top_layers: NotNegative | None
    keep_layers: Annotated[list[int], Field(min_length=1)] | None


class PretrainedStudent(CopiedStudent):
    """What can be chosen of a student that is an encoder of its own."""

    name: Text
    pooling: Literal["auto", "mean", "cls", "max"]


class CopyModel(Section):
    """`model=copy`."""

    kind: Literal["copy"]
    teacher: Teacher
    student: CopiedStudent


class PretrainedModel(Section):
    """`model=pretrained`."""

    kind: Literal["pretrained"]
    teacher: Teacher
    student: PretrainedStudent
    warm_start: Literal["auto", "ridge", "none"]
    warm_start_texts: Annotated[int, Field(ge=100)]


class TransplantModel(Section):
    """`model=transplant`."""

    kind: Literal["transplant"]
    teacher: Teacher
    student: CopiedStudent
    vocabulary: Literal["blend", "extend", "replace"]
    vocabulary_size: Annotated[int, Field(ge=100)]
    min_frequency: Positive


class StaticModel(Section):
    """`model=static`."""

    kind: Literal["static"]
    teacher: Teacher
    student: Student
    vocabulary_size: Annotated[int, Field(ge=100)]
    min_frequency: Positive


Model = Annotated[CopyModel | PretrainedModel | TransplantModel | StaticModel, Field(discriminator="kind")]
