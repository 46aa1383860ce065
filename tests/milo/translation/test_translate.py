"""A translation from end to end: checks, glossary, cache, engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from milo import metrics
from milo.errors import EngineError, Invalid
from milo.models import registry
from milo.settings import Settings
from milo.translation import translate as translation
from milo.translation.flores import ALL_CODES, FLORES, find_language, known_languages
from milo.translation.glossary import Glossary

THREE = known_languages(["plt_Latn", "fra_Latn", "eng_Latn"])


class Engine:
    """Turns letters around; remembers what it was asked."""

    name = "fake@1"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        self.asked.append(list(texts))
        return [text[::-1] for text in texts]


def _count(outcome: str) -> float:
    return float(metrics.TRANSLATION_CACHE.labels(outcome)._value.get())


@pytest.mark.parametrize("text", ["", " ", "\n\t \r\n", "\u200b\u00a0\ufeff", "\x00\x01"])
def test_b2_an_empty_text_is_refused_and_never_translated(settings: Settings, text: str) -> None:
    engine = Engine()
    with pytest.raises(Invalid) as error:
        translation.translate(settings, engine, [text], "mg", "fr")
    assert error.value.code == "empty_text" and error.value.status == 422 and engine.asked == []


def test_one_empty_text_of_several_is_refused(settings: Settings) -> None:
    with pytest.raises(Invalid, match="empty or blank"):
        translation.translate(settings, Engine(), ["Salama", " "], "mg", "fr")


def test_a_text_over_the_limit_is_refused_with_both_numbers(settings: Settings) -> None:
    with pytest.raises(Invalid, match="5001 characters.*5000") as error:
        translation.check_text(settings, "a" * 5001)
    assert error.value.code == "text_too_long"
    assert translation.check_text(settings, "a" * 5000) == "a" * 5000


def test_a_lone_surrogate_becomes_a_letter_that_can_be_encoded(settings: Settings) -> None:
    assert translation.check_text(settings, "a\ud800b😀").encode() == "a\ufffdb😀".encode()


def test_what_can_not_be_seen_inside_a_word_is_left_out(settings: Settings) -> None:
    assert translation.check_text(settings, "tse\u00adna \u200btsena\ufeff") == "tsena tsena"


@pytest.mark.parametrize(("source", "target"), [("mg", "mg"), ("mg", "plt_Latn"), ("FR", "fr-FR")])
def test_the_same_language_twice_is_refused(settings: Settings, source: str, target: str) -> None:
    with pytest.raises(Invalid) as error:
        translation.translate(settings, Engine(), ["Salama"], source, target)
    assert error.value.code == "same_language"


@pytest.mark.parametrize("name", ["de", "", "xx", "english", "mg;fr", "_", "-", "\x00"])
def test_an_unknown_language_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(Invalid, match="known are en, fr, mg") as error:
        translation.check_languages(THREE, "mg", name)
    assert error.value.code == "unknown_language"


def test_every_flores_language_can_be_named_by_its_code() -> None:
    languages = known_languages(ALL_CODES)
    assert all(find_language(code, languages) == code for code in ALL_CODES)
    assert all(find_language(short, languages) == flores for short, flores in FLORES.items())
    assert set(FLORES.values()) <= set(ALL_CODES) and len(set(ALL_CODES)) == 202


def test_the_languages_of_a_model_come_from_its_small_files(settings: Settings) -> None:
    assert translation.languages_of(registry.resolve(settings, "milo-tiny-nllb")) == THREE


def test_a_translation_is_remembered_and_counted(settings: Settings, redis_client: redis.Redis) -> None:
    engine, hits, misses = Engine(), _count("hit"), _count("miss")
    first = translation.translate(settings, engine, ["abc", "def"], "mg", "fr", client=redis_client)
    second = translation.translate(settings, engine, ["def", "ghi"], "mg", "fr", client=redis_client)
    assert [(t.text, t.cached) for t in [*first, *second]] == [
        ("cba", False),
        ("fed", False),
        ("fed", True),
        ("ihg", False),
    ]
    assert engine.asked == [["abc", "def"], ["ghi"]]
    assert (_count("hit") - hits, _count("miss") - misses) == (1, 3)


@pytest.mark.parametrize("change", ["model", "direction", "beams", "glossary"])
def test_what_a_translation_depends_on_is_in_its_key(
    settings: Settings, redis_client: redis.Redis, change: str
) -> None:
    engine = Engine()
    translation.translate(settings, engine, ["abc"], "mg", "fr", client=redis_client)
    target, words, after = "fr", None, settings
    if change == "model":
        engine.name = "fake@2"
    if change == "direction":
        target = "en"
    if change == "beams":
        after = settings.model_copy(update={"translate_beam_size": 1})
    if change == "glossary":
        words = Glossary([{"plt_Latn": ("x",), "fra_Latn": ("y",)}])
    (found,) = translation.translate(after, engine, ["abc"], "mg", target, client=redis_client, glossary=words)
    assert not found.cached and len(engine.asked) == 2


def test_a_remembered_translation_is_forgotten_in_time(settings: Settings, redis_client: redis.Redis) -> None:
    translation.translate(settings, Engine(), ["abc"], "mg", "fr", client=redis_client)
    (key,) = redis_client.keys(f"{translation.PREFIX}*")
    assert 0 < redis_client.pttl(key) <= settings.translate_cache_s * 1000


def test_the_cache_can_be_turned_off(settings: Settings, redis_client: redis.Redis) -> None:
    off = settings.model_copy(update={"translate_cache_s": 0.0})
    translation.translate(off, Engine(), ["abc"], "mg", "fr", client=redis_client)
    assert redis_client.keys("*") == []


def test_without_redis_a_text_is_translated_all_the_same(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    away = redis.Redis(port=1, socket_connect_timeout=0.2)
    with caplog.at_level(logging.WARNING):
        assert translation.translate(settings, Engine(), ["abc"], "mg", "fr", client=away)[0].text == "cba"
    assert "cache" in caplog.text


def test_nothing_is_remembered_of_a_translation_that_failed(settings: Settings, redis_client: redis.Redis) -> None:
    class Broken(Engine):
        def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
            raise EngineError("no")

    with pytest.raises(EngineError):
        translation.translate(settings, Broken(), ["abc"], "mg", "fr", client=redis_client)
    assert redis_client.keys("*") == []


def test_the_same_text_twice_is_asked_for_once(settings: Settings) -> None:
    engine = Engine()
    assert [t.text for t in translation.translate(settings, engine, ["ab", "ab", "c"], "mg", "fr")] == ["ba", "ba", "c"]
    assert engine.asked == [["ab", "c"]]


def test_the_glossary_of_the_settings_goes_before_the_model(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_text("mg\tfr\nManao ahoana daholo\tBonjour à tous\n", encoding="utf-8")
    with_words = settings.model_copy(update={"translate_glossary": path})
    engine = Engine()
    made = translation.translate(with_words, engine, ["manao ahoana daholo!", "Manao ahoana daholo. Abc."], "mg", "fr")
    assert [t.text for t in made] == ["Bonjour à tous !", "Bonjour à tous..cbA "]
    assert engine.asked == [[" Abc."]]
