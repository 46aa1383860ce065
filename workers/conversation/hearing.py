"""What was said in an utterance: heard in its own turn, or ahead of it while an earlier reply is being played.

Ten people who speak at once are answered one after the other; what they said, each sees soon. Only the moments are
used in which a person listens to sentences that were spoken already, and only an engine that is in memory.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.audio.level import even_level
from milo.audio.reading import SAMPLE_RATE_HZ, stream
from milo.jobs import Job
from milo.kinds.chat import ConversePayload
from milo.protocols import DecodeOptions, Samples, Transcriber, WindowText
from milo.queue.streams import EventWriter
from milo.transcription.decoded_speech import plan_windows, speech_in
from workers import engines
from workers.work import RunningJob

log = logging.getLogger(__name__)

KEPT = 64
"""Transcripts kept for jobs that have not begun; those of jobs that were cancelled meanwhile fall out."""
SHARE = 0.5
"""Of the time that the listener still has to listen; the rest is for writing the next sentence."""


class EarlyTranscriber:
    """The hearing of one worker child."""

    def __init__(self) -> None:
        self._ahead: OrderedDict[str, list[WindowText] | None] = OrderedDict()
        """None: it could not be heard ahead, and is heard in its turn, which says why."""
        self._cost_s = 0.0
        """What the last utterance took."""

    def hear(self, running: RunningJob) -> list[WindowText]:
        """The utterance of a job whose turn it is."""
        heard = self._ahead.pop(running.id, None)
        return self._transcribe(running, running.job) if heard is None else heard

    def hear_waiting(self, running: RunningJob, spare_s: float) -> Iterator[None]:
        """Hear utterances that wait, the oldest first, and say what was understood. Yields after each.

        `spare_s`: how long the present listener is still listening. Nothing that goes wrong with another's utterance
        harms `running`; a job that is tried again keeps to itself.
        """
        until = time.monotonic() + spare_s * SHARE
        if running.job.attempt > 1 or time.monotonic() + self._cost_s > until:
            return
        for job in running.ledger.first_waiting(running.job.queue, running.job.kind, KEPT // 2):
            if time.monotonic() + self._cost_s > until:
                return
            if job.id not in self._ahead and engines.is_loaded(running.settings, str(job.payload["stt_model"])):
                self._keep(job.id, self._try(running, job))
                yield

    def _try(self, running: RunningJob, job: Job) -> list[WindowText] | None:
        try:
            heard = self._transcribe(running, job)
        except Exception as error:  # its own turn will tell
            log.info("job %s could not be heard ahead: %s", job.id, error)
            return None
        EventWriter(running.settings, job.id, begin=False).say(
            "transcript", transcript(heard, job.payload.get("language"))
        )
        return heard

    def _keep(self, job_id: str, heard: list[WindowText] | None) -> None:
        self._ahead[job_id] = heard
        while len(self._ahead) > KEPT:
            self._ahead.popitem(last=False)

    def _transcribe(self, running: RunningJob, job: Job) -> list[WindowText]:
        payload = ConversePayload.model_validate(job.payload)
        with running.files.open_audio(payload.source) as file:
            blocks = list(stream(file, max_s=running.settings.max_audio_s))
        with engines.transcriber(running.settings, payload.stt_model) as engine:
            started = time.monotonic()
            windows = windows_of(np.concatenate(blocks), engine)
            heard = engine.transcribe(windows, DecodeOptions(language=payload.language, word_timestamps=False))
            self._cost_s = time.monotonic() - started
        return heard


def windows_of(pcm: npt.NDArray[np.int16], engine: Transcriber) -> list[Samples]:
    """An utterance as the engine hears it best: whole, or, where it is long for the model, cut as a recording is."""
    pcm = even_level(pcm)
    whole: Samples = pcm.astype(np.float32) / np.float32(32768)
    if len(pcm) <= engine.pack_window_s * SAMPLE_RATE_HZ:
        return [whole]
    speech = speech_in(pcm)
    plan = plan_windows(speech, pack_window_s=engine.pack_window_s, max_window_s=engine.max_window_s)
    longest = int(engine.max_window_s * SAMPLE_RATE_HZ)
    return [speech.samples(window.start_s, window.end_s) for window in plan] or [
        whole[start : start + longest] for start in range(0, len(whole), longest)
    ]


@lru_cache(maxsize=1)
def ears() -> EarlyTranscriber:
    """Those of this process."""
    return EarlyTranscriber()


def transcript(heard: list[WindowText], language: str | None) -> dict[str, Any]:
    """What was heard as it is said on the stream: `text` is empty when nothing was."""
    text = " ".join(part.text for part in heard if part.text).strip()
    logprobs = [part.avg_logprob for part in heard if part.text]
    return {
        "text": text,
        "language": language or (heard[0].language if text else None),
        "confidence": round(float(np.exp(np.mean(logprobs))), 4) if logprobs else None,
        "final": True,
    }
