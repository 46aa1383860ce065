"""A translation from end to end: checks, glossary, cache, model. Knows no HTTP, no queue, and no engine by name.

The caller brings the engine (anything with `name` and `translate`); the API uses the checks alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import redis

from milo import metrics
from milo.errors import Invalid, ModelUnavailable
from milo.language import sentences
from milo.models.files import read_json
from milo.models.registry import ResolvedModel
from milo.settings import Settings
from milo.translation import protected
from milo.translation.flores import ALL_CODES, find_language, known_languages
from milo.translation.glossary import Glossary, current_glossary

log = logging.getLogger(__name__)
PREFIX = "milo:translation:"
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")
"""Soft hyphens and blanks of no width, as copied from web pages: inside a word they make another one of it."""


class Engine(Protocol):
    """What is needed of a `milo.protocols.Translator`."""

    name: str

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]: ...


@dataclass(frozen=True)
class Translation:
    """One translated text."""

    text: str
    cached: bool = False


def languages_of(model: ResolvedModel) -> dict[str, str]:
    """Languages of a translation model, short code -> FLORES code, from its small JSON files.

    A folder that lists none is taken to have all of NLLB's; the engine, which reads the tokenizer, knows better.
    """
    names = {"special_tokens_map.json": "additional_special_tokens", "tokenizer_config.json": "extra_special_tokens"}
    for filename, field in names.items():
        try:
            listed = read_json(model.path / filename).get(field)
        except ModelUnavailable:
            continue
        tokens = listed if isinstance(listed, list) else []
        codes = [code for code in ALL_CODES if code in tokens]
        if codes:
            return known_languages(codes)
    return known_languages(ALL_CODES)


def check_text(settings: Settings, text: str) -> str:
    """The text, safe to work with. `Invalid` when nothing is in it, or too much."""
    if len(text) > settings.translate_max_chars:
        raise Invalid(
            f"the text has {len(text)} characters; at most {settings.translate_max_chars} are translated at once."
            " Cut it into several requests",
            code="text_too_long",
        )
    if all(unicodedata.category(character)[0] in "ZC" for character in text):
        raise Invalid("there is no text to translate: it is empty or blank", code="empty_text")
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return sentences.spaced(_UNSEEN.sub("", whole))


def check_languages(languages: dict[str, str], source: str, target: str) -> tuple[str, str]:
    """(source, target) as FLORES codes. `Invalid` for one that is not in `languages`, and for the same one twice."""
    found = []
    for role, name in (("source", source), ("target", target)):
        code = find_language(name, languages)
        if code is None:
            known = ", ".join(sorted(languages, key=lambda short: (len(short), short)))
            raise Invalid(f"the {role} language {name!r} is not known; known are {known}", code="unknown_language")
        found.append(code)
    if found[0] == found[1]:
        raise Invalid(f"source and target are the same language ({source!r}, {target!r})", code="same_language")
    return found[0], found[1]


class Cache:
    """Translations in Redis. A Redis that is away costs the speed-up and nothing else."""

    def __init__(self, client: redis.Redis | None, ttl_s: float) -> None:
        self._client = client if ttl_s > 0 else None
        self._ttl_ms = max(1, round(ttl_s * 1000))

    @staticmethod
    def key(version: str, source: str, target: str, text: str) -> str:
        """`version` is everything besides the text that the translation depends on."""
        parts = json.dumps([version, source, target, text])
        return PREFIX + hashlib.sha256(parts.encode()).hexdigest()

    def get(self, keys: Sequence[str]) -> list[str | None]:
        """The translation of each key that is known, None for the others. Counts hits and misses."""
        if self._client is None or not keys:
            return [None] * len(keys)
        try:
            values = [value.decode() if value is not None else None for value in self._client.mget(list(keys))]  # type: ignore[union-attr]
        except (redis.RedisError, UnicodeDecodeError) as error:
            log.warning("the translation cache can't be read: %s", error)
            values = [None] * len(keys)
        hits = sum(value is not None for value in values)
        metrics.TRANSLATION_CACHE.labels("hit").inc(hits)
        metrics.TRANSLATION_CACHE.labels("miss").inc(len(values) - hits)
        return values

    def put(self, values: dict[str, str]) -> None:
        if self._client is None or not values:
            return
        try:
            pipe = self._client.pipeline(transaction=False)
            for key, text in values.items():
                pipe.set(key, text.encode(), px=self._ttl_ms)
            pipe.execute()
        except redis.RedisError as error:
            log.warning("the translation cache can't be written: %s", error)


def translate(
    settings: Settings,
    engine: Engine,
    texts: Sequence[str],
    source: str,
    target: str,
    *,
    client: redis.Redis | None = None,
    glossary: Glossary | None = None,
) -> list[Translation]:
    """Each text translated, in order: by the glossary, from the cache, or by the engine (all of the rest together).

    `source`, `target`: ISO 639-1 or FLORES codes. `client`: where the cache is; None: no cache. `glossary`: that of
    the settings by default. Raises `Invalid` for texts and languages that can't be translated, and what the engine
    raises.
    """
    languages = {code: code for code in known_languages(ALL_CODES).values()} | known_languages(ALL_CODES)
    from_code, to_code = check_languages(languages, source, target)
    texts = [check_text(settings, text) for text in texts]
    words = glossary if glossary is not None else current_glossary(settings.translate_glossary)
    cache = Cache(client, settings.translate_cache_s)
    version = "/".join(
        (
            *(engine.name, str(settings.translate_beam_size), settings.translate_compute_type),
            *(words.version, protected.VERSION),
        )
    )
    done: dict[str, Translation] = {}
    for text in dict.fromkeys(texts):
        if (found := words.find(text, from_code, to_code)) is not None:
            done[text] = Translation(found)
    asked = [text for text in dict.fromkeys(texts) if text not in done]
    keys = {text: cache.key(version, from_code, to_code, text) for text in asked}
    for text, known in zip(asked, cache.get(list(keys.values())), strict=True):
        if known is not None:
            done[text] = Translation(known, cached=True)
    missing = [text for text in asked if text not in done]
    made = dict(zip(missing, _by_model(engine, words, missing, from_code, to_code), strict=True))
    cache.put({keys[text]: translated for text, translated in made.items()})
    return [done[text] if text in done else Translation(made[text]) for text in texts]


def _by_model(engine: Engine, words: Glossary, texts: Sequence[str], source: str, target: str) -> list[str]:
    """Texts with the glossary's sentences and terms put in, the rest from the engine for all texts together."""
    plans = [words.cut(text, source, target) for text in texts]
    free = [piece.text for plan in plans for piece in plan if not piece.fixed]
    translated = iter(
        protected.translate_all(
            free,
            lambda pieces: engine.translate(pieces, source, target),
            lambda sentence: words.terms(sentence, source, target),
        )
    )
    return ["".join(piece.text if piece.fixed else next(translated) for piece in plan) for plan in plans]
