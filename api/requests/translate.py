"""Texts to be translated: checked against the languages of the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from api.http.deps import Context
from api.requests.errors import pointed, pointing_at
from api.requests.models import choose_translator
from milo.errors import Invalid
from milo.kinds.fields import Delivery, Text
from milo.kinds.translate import TranslateInput, TranslatePayload
from milo.ledger.keys import Key
from milo.translation import translate


class TranslateRequest(TranslateInput, Delivery):
    """One text, or several of the same two languages: Malagasy into French where nothing else is said."""

    source: Annotated[Text, Field(min_length=1, max_length=32)] = "mg"
    target: Annotated[Text, Field(min_length=1, max_length=32)] = "fr"

    @model_validator(mode="after")
    def _the_other_language(self) -> TranslateRequest:
        if "source" not in self.model_fields_set and self.target == self.source:
            self.source = "fr"
        elif "target" not in self.model_fields_set and self.target == self.source:
            self.target = "mg"
        return self


def check(context: Context, key: Key, asked: TranslateInput) -> TranslatePayload:
    """The payload of a `translate` job, everything in it checked. Raises `Invalid` that says what would be right."""
    given = asked.texts if asked.texts is not None else [asked.text or ""]
    if not given:
        raise pointed("`texts` is empty: there is nothing to translate", "texts", "empty_text")
    texts = []
    for index, text in enumerate(given):
        where = "text" if asked.texts is None else f"texts/{index}"
        texts.append(pointing_at(where, translate.check_text, context.settings, text))
    model, languages = choose_translator(context, asked.model)
    source, target = _languages(languages, asked.source, asked.target)
    return TranslatePayload(texts=tuple(texts), source=source, target=target, model=model, name=asked.name)


def _languages(languages: dict[str, str], source: str, target: str) -> tuple[str, str]:
    """Both languages by their short codes, where they have one."""
    try:
        pair = translate.check_languages(languages, source, target)
    except Invalid as error:
        which = "target" if error.code == "same_language" or f"target language {target!r}" in error.detail else "source"
        raise pointed(error.detail, which, error.code) from None
    short = {flores: code for code, flores in reversed(languages.items())}
    return short.get(pair[0], pair[0]), short.get(pair[1], pair[1])
