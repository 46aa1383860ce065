"""The smoke decode of a deploy: does the folder load in the engine that serves, and does it make sense of a sample?

It catches what must never serve (weights that are damaged, scrambled, or of another model), and no more: whether a
model is good enough is for `milo.training.compare` to say.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from milo.audio.resample import resample
from milo.engines.runtime.loops import find_loop
from milo.engines.whisper.guards import compression_ratio
from milo.errors import Conflict, MiloError
from milo.protocols import DecodeOptions, Samples, WindowText
from milo.recipes import Data, Evaluation, Task
from milo.settings import Settings
from milo.training.scoring import scored_pair
from trainer.evaluation.engines import Engines

MAX_CER = 0.75
"""Stock Whisper, which was never taught Malagasy, is at 0.43. `milo-tiny-mg` is at 0.83 to 0.96 with its weights
scrambled, and at 0.35 with noise of 0.4 standard deviations on them."""
MIN_LOGPROB = -3.0
"""Mean natural log-probability of a token. Trained models are above -1.5 even on what they do not know."""
SENTENCES = {
    "mg": (
        "Manao ahoana tompoko. Misaotra betsaka.",
        "Tsara ny andro androany.",
        "Iray, roa, telo, efatra, dimy.",
        "Mividy vary any an-tsena aho.",
    ),
    "fr": ("Bonjour, il est dix heures.", "Il fait beau aujourd'hui.", "Un, deux, trois, quatre, cinq."),
    "en": ("Good morning, it is ten o'clock.", "The weather is fine today.", "One, two, three, four, five."),
}


class Refused(Conflict):
    """A gate of the deploy is closed. What served before goes on serving."""

    code, title = "deploy_refused", "The model is not fit to serve"

    def __init__(self, detail: str, *, code: str | None = None, found: dict[str, Any] | None = None) -> None:
        super().__init__(detail, code=code)
        self.found = found or {}
        """What a report shows of it beside the sentence."""


@dataclass(frozen=True)
class Sample:
    """Known speech, and what is said in it (None: in another language than the model's)."""

    audio: Samples
    reference: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A folder that wants to serve, and what it is evaluated on."""

    folder: Path
    name: str
    """In the registry."""
    task: Task
    language: str = "mg"
    data: Data | None = None
    """None: it is tried out and compared with nothing."""
    evaluation: Evaluation = Evaluation()
    margin: float | None = None
    """How much worse than what serves it may be; None: as the settings say."""
    called: str = ""
    """What its data is called in the guard: the recipe's name. Empty: after the source."""


def _nothing_to_check(settings: Settings, candidate: Candidate) -> None:
    pass


@dataclass(frozen=True)
class Smoke:
    """How a model of one task is tried out."""

    outputs: Callable[[Settings, Candidate, str, Engines], list[str]]
    """(settings, candidate, model, engines): what the model, named so, makes of known samples; twice the same.

    Raises `Refused`."""
    check_files: Callable[[Settings, Candidate], None] = _nothing_to_check
    """Before anything is loaded. Raises `Refused`."""


def spoken_samples(language: str) -> list[Sample]:
    """Sentences by eSpeak, for when there is no data set at hand."""
    from milo.engines.speech.espeak_synthesizer import EspeakSynthesizer

    engine = EspeakSynthesizer()
    known = language in SENTENCES
    code = language if known else "en"
    found = []
    for text in SENTENCES[code]:
        audio = np.asarray(engine.synthesize(text, language=code), np.float32)
        found.append(Sample(resample(audio, engine.sample_rate_hz, 16_000), text if known else None))
    return found


def smoke_speech(engines: Engines, model: str, samples: Sequence[Sample], language: str | None) -> list[str]:
    """The texts of the samples. Raises `Refused` with what is wrong with them, or with the model that can't load."""
    options = DecodeOptions(language=language, word_timestamps=False, temperatures=(0.0,))
    try:
        with engines.transcriber(model) as engine:
            heard = list(engine.transcribe([sample.audio for sample in samples], options))
    except MiloError as error:
        raise Refused(f"the engine that serves can't use it: {error.detail}") from error
    if not any(text.text for text in heard):
        raise Refused("the smoke decode heard nothing in clear speech")
    for text in heard:
        _check(text)
    spoilt = [text.text for text in heard if _is_spoilt(text.text)]
    if len(spoilt) > len(heard) / 2:
        raise Refused(f"the smoke decode wrote what is no text, such as {spoilt[0][:60]!r}")
    _check_errors(samples, heard, language or "")
    return [text.text for text in heard]


def _is_spoilt(text: str) -> bool:
    """Bytes that are no UTF-8, or control characters."""
    return any(character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cn", "Co") for character in text)


def _check(text: WindowText) -> None:
    told = f"the smoke decode wrote {text.text[:60]!r}"
    if not math.isfinite(text.avg_logprob):
        raise Refused(f"the smoke decode returned {text.avg_logprob}: the weights are broken", code="broken_weights")
    if text.avg_logprob < MIN_LOGPROB:
        raise Refused(f"{told} with a mean log-probability of {text.avg_logprob:.1f}: it is guessing")
    if compression_ratio(text.text) > DecodeOptions().compression_ratio_threshold or find_loop(text.tokens):
        raise Refused(f"{told}: it repeats itself")


def _check_errors(samples: Sequence[Sample], heard: Sequence[WindowText], language: str) -> None:
    pairs = [
        scored_pair(sample.reference, text.text, language)
        for sample, text in zip(samples, heard, strict=True)
        if sample.reference is not None
    ]
    pairs = [pair for pair in pairs if pair[0]]
    if not pairs:
        return
    rate = jiwer.cer([wanted for wanted, _ in pairs], [given for _, given in pairs])
    if rate > MAX_CER:
        raise Refused(
            f"the smoke decode has nothing in common with the references of {len(pairs)} samples (character error rate"
            f" {rate:.0%}): wrote {pairs[0][1][:60]!r} for {pairs[0][0][:60]!r}"
        )


def smoke_translation(engines: Engines, model: str, texts: Sequence[str], source: str, target: str) -> list[str]:
    """The translations. Raises `Refused`."""
    try:
        with engines.translator(model) as engine:
            made = list(engine.translate(texts, source, target))
    except MiloError as error:
        raise Refused(f"the engine that serves can't use it: {error.detail}") from error
    limit = DecodeOptions().compression_ratio_threshold
    if not any(text.strip() for text in made):
        raise Refused("the smoke translation is empty")
    if any(compression_ratio(text) > limit for text in made):
        raise Refused(f"the smoke translation repeats itself: {max(made, key=compression_ratio)[:60]!r}")
    return made


def smoke_voice(settings: Any, folder: Any, language: str) -> None:
    """One sentence by a VITS folder. Raises `Refused` for no sound, noise without end, or numbers that are none."""
    from milo.engines.speech.vits import load
    from milo.models import registry

    try:
        engine: Any = load(settings, registry.resolve(settings, str(folder)))
        known = language if language in engine.languages else next(iter(engine.languages), language)
        audio = np.asarray(engine.synthesize(SENTENCES.get(known, SENTENCES["mg"])[0], language=known))
    except MiloError as error:
        raise Refused(f"the engine that serves can't use it: {error.detail}") from error
    seconds = len(audio) / engine.sample_rate_hz
    if not np.isfinite(audio).all():
        raise Refused("the smoke synthesis returned no numbers: the weights are broken", code="broken_weights")
    if not 0.3 <= seconds <= 30 or float(np.abs(audio).max(initial=0)) < 1e-3:
        raise Refused(f"the smoke synthesis of a short greeting gave {seconds:.1f} s of sound, or silence")
