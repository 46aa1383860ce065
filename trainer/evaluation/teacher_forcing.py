"""Teacher-forced loss: how improbable a Whisper finds the reference, given the sound. By the transformers engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milo.engines.whisper.features import batch_features
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.protocols import Samples

LEADS = ("", " ")
"""What stands before a text: OpenAI's models write a space first, many fine-tuned ones were taught to leave it out."""


def cross_entropies(
    engine: WhisperTranscriber, audio: Sequence[Samples], texts: Sequence[str], language: str
) -> list[tuple[float, int]]:
    """(sum of the cross-entropy in nats, number of tokens) of each text, the end token included.

    `engine` is one of `milo.engines.whisper.hf.load`. Windows of one padded length are computed together, so a loss
    does not depend on its neighbours. A text counts as the model would rather write it, with a space before it or
    without. Texts past the decoder's positions are cut.
    """
    found: dict[int, tuple[float, int]] = {}
    groups: dict[int, list[int]] = {}
    for index, window in enumerate(audio):
        groups.setdefault(engine.padded_frames(len(window)), []).append(index)
    for frames, indices in groups.items():
        most = max(1, min(engine.batch_windows, engine.backend.frame_budget // frames))
        for start in range(0, len(indices), most):
            chosen = indices[start : start + most]
            sums = _batch(engine, [audio[i] for i in chosen], [texts[i] for i in chosen], language, frames)
            found.update(zip(chosen, sums, strict=True))
    return [found[index] for index in range(len(audio))]


def _batch(
    engine: WhisperTranscriber, audio: list[Samples], texts: list[str], language: str, frames: int
) -> list[tuple[float, int]]:
    checkpoint, backend = engine.checkpoint, engine.backend
    encoded = backend.encode(batch_features(audio, frames, checkpoint.n_mels))
    head = [*checkpoint.start(checkpoint.language_of(language), "transcribe"), checkpoint.no_timestamps]
    written = [_of_texts(engine, encoded, head, [f"{lead}{text.strip()}" for text in texts]) for lead in LEADS]
    return [min(ways) for ways in zip(*written, strict=True)]


def _of_texts(engine: WhisperTranscriber, encoded: Any, head: list[int], texts: list[str]) -> list[tuple[float, int]]:
    import torch

    checkpoint = engine.checkpoint
    room = checkpoint.max_positions - len(head) - 1
    ids = [checkpoint.tokenizer.encode(text, add_special_tokens=False).ids[:room] for text in texts]
    longest = max(map(len, ids))
    rows = [[*head, *row, *[checkpoint.eot] * (longest - len(row) + 1)] for row in ids]
    tokens = torch.tensor(rows, device=encoded.device)
    logits = engine.backend.logits(encoded, tokens[:, :-1])  # type: ignore[attr-defined]
    told = logits[:, len(head) - 1 :].log_softmax(-1).gather(-1, tokens[:, len(head) :, None])[..., 0]
    counts = [len(row) + 1 for row in ids]
    return [(-float(told[row, :count].double().sum()), count) for row, count in enumerate(counts)]
