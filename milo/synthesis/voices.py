"""What a speech model can say, and in which voices, found out without loading it: the front checks requests by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.engines import model_type_of, use_of
from milo.models.files import read_json
from milo.models.registry import ResolvedModel
from milo.settings import Settings

EMBEDDED = "espeak"
"""The name of eSpeak NG, which is always here."""
ESPEAK_BASES = {"mg": "id", "en": "en-US", "zh": "cmn", "no": "nb"}
"""eSpeak's voice for a language, where it is not named as the language is. Malagasy: see `espeak.MALAGASY_VOICE`."""
ESPEAK_VOICES = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"),
    *("klatt", "croak", "whisper"),
)
"""The timbres offered, where eSpeak NG has them; None is the plain voice of the language."""
DEFAULT_LANGUAGE = "mg"
_ISO_639_1 = {
    "mlg": "mg",
    "plt": "mg",
    "fra": "fr",
    "eng": "en",
    "deu": "de",
    "spa": "es",
    "por": "pt",
    "nld": "nl",
    "swh": "sw",
    "ind": "id",
    "zlm": "ms",
    "ara": "ar",
    "hin": "hi",
    "rus": "ru",
    "ita": "it",
    "tur": "tr",
    "vie": "vi",
    "fin": "fi",
    "hun": "hu",
    "pol": "pl",
    "ron": "ro",
    "swe": "sv",
    "ukr": "uk",
    "hau": "ha",
    "yor": "yo",
    "som": "so",
    "sna": "sn",
    "tgl": "tl",
}


@dataclass(frozen=True)
class Speech:
    """A speech model. No languages: it is not here yet, and the worker will find out."""

    name: str
    languages: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()


def describe_speech(settings: Settings, name: str, here: bool = True) -> Speech:
    """What the model of this name can say (`here` as in `registry.resolve`). Raises `ModelUnavailable`, `Invalid`
    for one that is no speech model."""
    if name == EMBEDDED:
        bases, variants = espeak_data()
        return Speech(name, espeak_languages(bases), tuple(voice for voice in ESPEAK_VOICES if voice in variants))
    resolved = registry.resolve(settings, name, here)
    model_type = model_type_of(resolved.path)
    if use_of(model_type) != "tts":
        kind = "chat" if model_type in ("gguf", "") else model_type
        raise Invalid(f"{name!r} is a {kind} model, not one that speaks", code="unknown_model")
    speakers = read_json(resolved.path / "config.json").get("num_speakers", 1)
    count = speakers if isinstance(speakers, int) and speakers > 0 else 1
    return Speech(name, (vits_language(resolved, _tokenizer_language(resolved)),), speaker_names(count))


def _tokenizer_language(resolved: ResolvedModel) -> str:
    """What the tokenizer's configuration, in the model's folder or its run's, calls the language; empty for none."""
    for folder in (resolved.path, resolved.path.parent):
        if (folder / "tokenizer_config.json").is_file():
            return str(read_json(folder / "tokenizer_config.json").get("language") or "")
    return ""


def speaker_names(count: int) -> tuple[str, ...]:
    """The voices of a VITS model, which knows its speakers by number."""
    return tuple(f"speaker-{number}" for number in range(count))


def vits_language(resolved: ResolvedModel, tokenizer_language: str) -> str:
    """ISO 639-1 code from the tokenizer's, or from the name of an MMS model; Malagasy where neither says."""
    code = tokenizer_language.split("-")[0].lower()
    if not code:
        parts = resolved.name.lower().replace("_", "-").split("-")
        code = next((part for part in reversed(parts) if part in _ISO_639_1), "mlg")
    return _ISO_639_1.get(code, code)


@lru_cache(maxsize=1)
def espeak_data() -> tuple[frozenset[str], frozenset[str]]:
    """Base voices and timbres of the eSpeak NG in its wheel, by its files: the library itself is not loaded."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise ModelUnavailable(
            "eSpeak NG is not installed; `pip install espeakng-loader` brings it", code="espeak_missing"
        ) from error
    data = Path(espeakng_loader.get_data_path())
    bases = frozenset(file.name for file in (data / "lang").rglob("*") if file.is_file())
    return bases, frozenset(file.name for file in (data / "voices" / "!v").iterdir())


def espeak_languages(bases: frozenset[str]) -> tuple[str, ...]:
    """ISO 639-1 codes that these base voices speak: Malagasy, French and English first."""
    codes = {code for code, base in ESPEAK_BASES.items() if base in bases} | {code for code in bases if len(code) == 2}
    first = tuple(code for code in ("mg", "fr", "en") if code in codes)
    return (*first, *sorted(codes - set(first)))
