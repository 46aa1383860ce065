"""The first stage of a transcription, on the CPU queue: any audio file in, speech at 16 kHz in the work folder out.

What a stranger sent is opened in a process apart (`milo/audio/sandbox.py`), never in this one.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from milo.audio.sandbox import decoder_of
from milo.jobs import Progress, SttPayload
from milo.transcription.decoded_speech import DecodedSpeech, decode_speech
from workers.work import NextStage, RunningJob

LOOK_AGAIN_S = 0.2


def run(running: RunningJob) -> Generator[Progress, None, NextStage]:
    """Decode, find the speech, hand over. Archives wait while much decoded audio waits for the GPU already."""
    payload: SttPayload = running.payload
    settings = running.settings
    while running.job.priority == "batch" and running.ledger.decoded_ahead_s() > settings.decode_ahead_s:
        time.sleep(LOOK_AGAIN_S)
        yield Progress(unit="s")
    folder = running.work_folder
    with running.files.open_audio(payload.source) as file:
        for done_s in decode_speech(file, folder, max_s=settings.max_audio_s, open_stream=decoder_of(settings).stream):
            yield Progress(done=done_s, unit="s")
    return NextStage("transcribe", audio_s=DecodedSpeech.load(folder).duration_s)
