"""Fields that requests of several kinds share. Plain pydantic: checked for shape, not against what this server has."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from milo.terminal import hidden_in

MAX_NAME = 255
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


def _clean(value: str) -> str:
    return _refuse(value, hidden_in(value, one_line=False))


def _clean_line(value: str) -> str:
    return _refuse(value, hidden_in(value))


def _refuse(value: str, hidden: str | None) -> str:
    if hidden:
        raise ValueError(f"there is a control or invisible character in it ({hidden})")
    return value


def _printable(text: str) -> str:
    """Without control characters, which no database, voice or model has a use for, and without half characters."""
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode()


def _empty_is_none(value: str | None) -> str | None:
    return (value or "").strip() or None


Text = Annotated[str, AfterValidator(_clean)]
"""Refused with what a terminal would obey, or what nobody sees (`milo.terminal`)."""
PrintableText = Annotated[str, AfterValidator(_printable)]
"""To be read or spoken: control characters are dropped."""
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_clean_line)]
OptionalName = Annotated[Annotated[Text, Field(max_length=MAX_NAME)] | None, AfterValidator(_empty_is_none)]
"""A model, a voice, a language; empty counts as not given."""
BlobId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ServerPath = Annotated[Text, Field(min_length=1, max_length=4096)]
ClientPriority = Literal["realtime", "interactive", "batch"]


class Closed(BaseModel):
    """A request body: a field it does not know is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid")


class Delivery(Closed):
    """What a request may say of the job itself, beside what is to be done."""

    callback_url: Text | None = None
    priority: ClientPriority | None = None
