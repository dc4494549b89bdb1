"""What sections of a configuration are made of: types of values, with what is not a valid one in words."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A part of the configuration: strict types, no unknown keys, no change after validation."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def _text(value: Any) -> Any:
    """A number given as a name (`run.name=2024`) is that name; YAML cannot know."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def texts(value: Any) -> Any:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


def _language(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,8}([-_@][A-Za-z0-9]+)*", value):
        raise ValueError(f"{value!r} is not a language code such as de or pt_BR")
    return value


def _folder_name(value: str) -> str:
    if "/" in value or "\0" in value or value in (".", ".."):
        raise ValueError(f"{value!r} is not a name of a folder; run.root says where the folder is made")
    return value


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Texts = Annotated[list[Text], BeforeValidator(texts)]
FolderName = Annotated[Text, AfterValidator(_folder_name)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Language = Annotated[str, AfterValidator(_language)]
Languages = Annotated[list[Language], BeforeValidator(texts), Field(min_length=1)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]
