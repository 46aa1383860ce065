"""Text to speech: sentence by sentence, each said as soon as it is ready, then the whole as one file."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from milo.audio.encode import encode, to_int16
from milo.audio.encode_stream import StreamEncoder, stream_encoder
from milo.jobs import Progress
from milo.kinds.tts import TtsPayload
from milo.protocols import Samples
from milo.queue.streams import EventWriter
from milo.synthesis import synthesis
from workers import engines
from workers.work import Finished, RunningJob


def speak(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Speak the text. Between two sentences others may be let through."""
    payload: TtsPayload = running.payload
    settings = running.settings
    speaker = EventWriter(settings, running.id) if payload.stream else None
    encoder: StreamEncoder | None = None
    with engines.synthesizer(settings, payload.model) as synth:
        engines.report(settings, running.claim.worker)
        rate_hz = payload.sample_rate_hz or synth.sample_rate_hz
        chunks: list[Samples] = []
        for chunk in synthesis.synthesize(
            synth,
            payload.text,
            language=payload.language,
            voice=payload.voice,
            speed=payload.speed,
            sample_rate_hz=rate_hz,
            max_chars=len(payload.text),
            order=settings.number_order,
        ):
            chunks.append(chunk)
            if speaker:
                encoder = encoder or stream_encoder(rate_hz, payload.format)
                speaker.say("audio", {"sample_rate_hz": rate_hz}, encoder.feed(to_int16(chunk).tobytes()))
            yield Progress(done=len(chunks), unit="sentences")
        audio = np.concatenate(chunks)
        name = synth.name
    duration_s = round(len(audio) / rate_hz, 3)
    content = encode(audio, rate_hz, payload.format)
    result = {"format": payload.format, "sample_rate_hz": rate_hz, "duration_s": duration_s, "bytes": len(content)}
    file = running.files.write_result(running.id, running.claim.fence, content, payload.format, synced=False)
    if speaker:
        if encoder and (rest := encoder.close()):
            speaker.say("audio", {"sample_rate_hz": rate_hz}, rest)
        speaker.say("end", result)
    return Finished(result, file=file, audio_s=duration_s, models={"tts": name}, synced=False)
