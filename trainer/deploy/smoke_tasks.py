"""The smoke decode of each task: on which samples a candidate is tried out, and whether its files are whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from milo.engines.whisper.checkpoint import load_checkpoint
from milo.errors import MiloError
from milo.models import registry
from milo.recipes import Data
from milo.settings import Settings
from trainer.data.load import load
from trainer.deploy.smoke import (
    Candidate,
    Refused,
    Sample,
    Smoke,
    smoke_speech,
    smoke_translation,
    smoke_voice,
    spoken_samples,
)
from trainer.evaluation.engines import Engines
from trainer.evaluation.text import heldout_sentences

SAMPLES = 8
LONGEST_S = 15.0
"""Samples of the smoke decode are shorter than this."""


def _speech(settings: Settings, candidate: Candidate, model: str, engines: Engines) -> list[str]:
    return smoke_speech(engines, model, _samples(settings, candidate), candidate.language)


def _samples(settings: Settings, candidate: Candidate) -> Sequence[Sample]:
    """Short items of the data with their references, always the same ones; without data, eSpeak's voice."""
    if candidate.data is None:
        return spoken_samples(candidate.language)
    items = [item for item in load(settings, candidate.data, candidate.evaluation.split) if item.duration_s < LONGEST_S]
    chosen = items[:: max(1, len(items) // SAMPLES)][:SAMPLES]
    return [Sample(item.audio(), item.text) for item in chosen] or spoken_samples(candidate.language)


def _whisper_files(settings: Settings, candidate: Candidate) -> None:
    try:
        load_checkpoint(settings, registry.resolve(settings, str(candidate.folder)))
    except MiloError as error:
        raise Refused(f"its files are not complete: {error.detail}") from error


def _translation(settings: Settings, candidate: Candidate, model: str, engines: Engines) -> list[str]:
    data = candidate.data or Data(source="none")
    texts = ["Manao ahoana tompoko."]
    if candidate.data is not None:
        texts = [one.source for one in heldout_sentences(settings, candidate.data)[:SAMPLES]]
    return smoke_translation(engines, model, texts, data.language, data.target_language)


def _voice(settings: Settings, candidate: Candidate, model: str, engines: Engines) -> list[str]:
    """No text comes out of it: two runs are not compared."""
    smoke_voice(settings, model if Path(model).is_dir() else registry.resolve(settings, model).path, "mg")
    return []


SPEECH = Smoke(_speech, _whisper_files)
VOICE = Smoke(_voice)
TRANSLATION = Smoke(_translation)
