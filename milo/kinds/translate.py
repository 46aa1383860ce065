"""Translation: texts in, each in another language out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from milo.jobs import Frozen
from milo.kinds.fields import Closed, Name, OptionalName, PrintableText, Text
from milo.kinds.kind import Batches, Document, Kind, ModelUse, Rendered, Results, Stage, as_json, as_text

MAX_TEXTS = 100
"""Texts in one translation request; more are a batch."""


class TranslateOptions(Closed):
    """Between which languages. ISO 639-1, or NLLB's codes (`plt_Latn`)."""

    source: Annotated[Text, Field(min_length=1, max_length=32)]
    target: Annotated[Text, Field(min_length=1, max_length=32)]
    model: OptionalName = None


class TranslateInput(TranslateOptions):
    """What a client may send: exactly one of `text` and `texts`."""

    text: PrintableText | None = None
    texts: list[PrintableText] | None = Field(None, max_length=MAX_TEXTS)
    name: Name | None = None
    """Of the file, in a batch's zip."""

    @model_validator(mode="after")
    def _one_input(self) -> TranslateInput:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give exactly one of `text` and `texts`")
        return self


class TranslatePayload(Frozen):
    """Texts to translate, each on its own."""

    texts: tuple[str, ...] = Field(min_length=1)
    source: str
    target: str
    model: str
    name: str | None = None
    """What people call it; also the stem of result files."""


def _render(document: Document, format: str) -> Rendered:
    if format == "txt":
        return as_text("".join(f"{one['text']}\n" for one in document["translations"]))
    return as_json(document)


TRANSLATE = Kind(
    "translate",
    TranslatePayload,
    (Stage("translate", grouped=True),),
    request=TranslateInput,
    inputs=("texts", "name"),
    model=ModelUse("translate", "translate_model"),
    results=Results(("json", "txt"), render=_render, zipped=("txt",)),
    batches=Batches(TranslateOptions, items="texts"),
)
