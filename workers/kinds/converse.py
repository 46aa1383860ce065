"""One utterance of a voice conversation in one task: heard, answered, spoken; each step is said at once.

So the first sentence is heard while the rest is still being written.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from milo.audio.encode import encode
from milo.chat.sessions import Sessions
from milo.jobs import Progress
from milo.kinds.chat import ConversePayload
from milo.queue.streams import EventWriter
from workers import engines
from workers.conversation.hearing import ears, transcript
from workers.conversation.replying import ReplySpeaker, reply_to, take_turn
from workers.work import Finished, RunningJob

TEMPERATURE = 0.7


def converse(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Hear the utterance, answer it in its session, speak the answer."""
    payload: ConversePayload = running.payload
    speaker = EventWriter(running.settings, running.id)
    started = time.monotonic()

    def since_ms() -> int:
        return round((time.monotonic() - started) * 1000)

    heard = transcript(ears().hear(running), payload.language)
    text, language, confidence = heard["text"], heard["language"], heard["confidence"]
    speaker.say("transcript", heard)
    times = {"transcript_ms": since_ms()}
    yield Progress(done=1, unit="steps")
    result: dict[str, Any] = {"transcript": text, "language": language, "confidence": confidence, "reply": ""}
    if not text:
        speaker.say("end", result | {"timings": times})
        return Finished(result, models={})
    turn = yield from take_turn(Sessions(running.settings), running, payload.session_id, payload.ticket)
    with (
        reply_to(running, text, turn, language, payload.max_tokens, TEMPERATURE) as reply,
        engines.synthesizer(running.settings, payload.tts_model) as synth,
    ):
        mouth = ReplySpeaker(running.settings, synth, speaker, reply.language, payload.voice, 1.0)
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
                yield from _listen(running, mouth, since_ms() - times["audio_ms"])
            yield Progress(done=2, unit="steps")
        speaker.say("reply_text", {"text": reply.text.strip()})
        for _ in mouth.hear("", last=True):
            times.setdefault("audio_ms", since_ms())
            yield Progress(done=3, unit="steps")
            yield from _listen(running, mouth, since_ms() - times["audio_ms"])
        turn.finish(reply.exchange())
        engines.report(running.settings, running.claim.worker)
        audio, rate_hz = mouth.audio(), synth.sample_rate_hz
        file = running.files.write_result(running.id, running.claim.fence, encode(audio, rate_hz, "wav"), "wav")
        result |= {"reply": reply.text.strip(), "mode": reply.mode, "session_id": payload.session_id}
        result["audio"] = {"format": "wav", "sample_rate_hz": rate_hz, "duration_s": round(len(audio) / rate_hz, 3)}
        speaker.say("end", result | {"timings": times | {"end_ms": since_ms()}})
        return Finished(result, file=file, models={"chat": reply.model, "tts": synth.name})


def _listen(running: RunningJob, mouth: ReplySpeaker, playing_ms: int) -> Generator[Progress, None, None]:
    """To others, while the person here listens to what was spoken."""
    for _ in ears().hear_waiting(running, mouth.spoken_s() - playing_ms / 1000):
        yield Progress(done=3, unit="steps")
