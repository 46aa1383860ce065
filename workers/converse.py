"""One utterance of a voice conversation in one task: heard, answered, spoken; each step is said at once.

So the first sentence is heard while the rest is still being written.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.audio import SAMPLE_RATE_HZ, stream
from milo.encode import encode
from milo.engines.base import DecodeOptions, Samples, Transcriber, WindowText
from milo.jobs import ConversePayload, Progress
from milo.sessions import Sessions
from milo.speech import plan_windows, speech_in
from milo.streams import Speaker
from workers import engines
from workers.replying import Mouth, reply_to, take_turn
from workers.work import Done, Held

TEMPERATURE = 0.7


def run(held: Held) -> Generator[Progress, None, Done]:
    """Hear the utterance, answer it in its session, speak the answer."""
    payload: ConversePayload = held.payload
    speaker = Speaker(held.settings, held.id)
    started = time.monotonic()

    def since_ms() -> int:
        return round((time.monotonic() - started) * 1000)

    heard = _hear(held, payload)
    text = " ".join(part.text for part in heard if part.text).strip()
    language = payload.language or (heard[0].language if text else None)
    confidence = _confidence(heard)
    speaker.say("transcript", {"text": text, "language": language, "confidence": confidence, "final": True})
    times = {"transcript_ms": since_ms()}
    yield Progress(done=1, unit="steps")
    result: dict[str, Any] = {"transcript": text, "language": language, "confidence": confidence, "reply": ""}
    if not text:
        speaker.say("end", result | {"timings": times})
        return Done(result, models={})
    turn = yield from take_turn(Sessions(held.settings), held, payload.session_id, payload.ticket)
    with (
        reply_to(held, text, turn, language, payload.max_tokens, TEMPERATURE) as reply,
        engines.synthesizer(held.settings, payload.tts_model) as synth,
    ):
        mouth = Mouth(held.settings, synth, speaker, reply.language, payload.voice, 1.0)
        for piece in reply:
            turn.renew()
            if reply.mode and "reply_ms" not in times:
                speaker.say("mode", {"mode": reply.mode})
                times["reply_ms"] = since_ms()
            if piece:
                speaker.say("delta", {"text": piece})
            for _ in mouth.hear(piece):
                times.setdefault("audio_ms", since_ms())
                yield Progress(done=2, unit="steps")
            yield Progress(done=2, unit="steps")
        speaker.say("reply_text", {"text": reply.text.strip()})
        for _ in mouth.hear("", last=True):
            times.setdefault("audio_ms", since_ms())
            yield Progress(done=3, unit="steps")
        turn.finish(reply.exchange())
        engines.report(held.settings, held.claim.worker)
        audio, rate_hz = mouth.audio(), synth.sample_rate_hz
        file = held.files.write_result(held.id, held.claim.fence, encode(audio, rate_hz, "wav"), "wav")
        result |= {"reply": reply.text.strip(), "mode": reply.mode, "session_id": payload.session_id}
        result["audio"] = {"format": "wav", "sample_rate_hz": rate_hz, "duration_s": round(len(audio) / rate_hz, 3)}
        speaker.say("end", result | {"timings": times | {"end_ms": since_ms()}})
        return Done(result, file=file, models={"chat": reply.model, "tts": synth.name})


def _hear(held: Held, payload: ConversePayload) -> list[WindowText]:
    with held.files.open_audio(payload.source) as file:
        blocks = list(stream(file, max_s=held.settings.max_audio_s))
    with engines.transcriber(held.settings, payload.stt_model) as engine:
        windows = windows_of(np.concatenate(blocks), engine)
        return engine.transcribe(windows, DecodeOptions(language=payload.language, word_timestamps=False))


def windows_of(pcm: npt.NDArray[np.int16], engine: Transcriber) -> list[Samples]:
    """An utterance as the engine hears it best: whole, or, where it is long for the model, cut as a recording is."""
    whole: Samples = pcm.astype(np.float32) / np.float32(32768)
    if len(pcm) <= engine.pack_window_s * SAMPLE_RATE_HZ:
        return [whole]
    speech = speech_in(pcm)
    plan = plan_windows(speech, pack_window_s=engine.pack_window_s, max_window_s=engine.max_window_s)
    longest = int(engine.max_window_s * SAMPLE_RATE_HZ)
    return [speech.samples(window.start_s, window.end_s) for window in plan] or [
        whole[start : start + longest] for start in range(0, len(whole), longest)
    ]


def _confidence(heard: list[WindowText]) -> float | None:
    logprobs = [part.avg_logprob for part in heard if part.text]
    return round(float(np.exp(np.mean(logprobs))), 4) if logprobs else None
