"""Transcription in two stages: any audio file to speech at 16 kHz on the CPU queue, speech to text on the GPU queue.

What a stranger sent is opened in a process apart (`milo/audio/sandbox.py`), never in this one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

from milo.audio.sandbox import decoder_of
from milo.jobs import Progress
from milo.kinds.stt import SttPayload
from milo.protocols import DecodeOptions
from milo.transcription.channels import decode_channels
from milo.transcription.decoded_speech import decode_speech
from workers import engines
from workers.group import Group
from workers.windows import Table, recording_in
from workers.work import NextStage, RunningJob

LOOK_AGAIN_S = 0.2


def decode(running: RunningJob) -> Generator[Progress, None, NextStage]:
    """Decode, find the speech, hand over. Archives wait while much decoded audio waits for the GPU already."""
    payload: SttPayload = running.payload
    settings = running.settings
    while running.job.priority == "batch" and running.ledger.decoded_ahead_s() > settings.decode_ahead_s:
        time.sleep(LOOK_AGAIN_S)
        yield Progress(unit="s")
    folder = running.work_folder
    with running.files.open_audio(payload.source) as file:
        start = decode_channels if payload.channels == "separate" else decode_speech
        for done_s in start(file, folder, max_s=settings.max_audio_s, open_stream=decoder_of(settings).stream):
            yield Progress(done=done_s, unit="s")
    return NextStage("transcribe", audio_s=recording_in(folder, payload).duration_s)


def transcribe(group: Group) -> Iterator[None]:
    """Transcribe the jobs of the group, and those like them that wait, batch by batch."""
    settings = group.first.settings
    payload: SttPayload = group.first.payload
    with engines.transcriber(settings, payload.model) as engine:
        engines.report(settings, group.first.claim.worker)
        table = Table(group, engine, decode_options(payload), settings)
        table.admit([group.first])
        while table.fill():
            table.step()
            yield
            table.drop_gone()


def decode_options(payload: SttPayload) -> DecodeOptions:
    """The engine's options for a payload; a given temperature turns the fallback off."""
    defaults = DecodeOptions()
    return DecodeOptions(
        language=payload.language,
        task=payload.task,
        prompt=payload.prompt,
        word_timestamps=payload.word_timestamps,
        beam_size=payload.beam_size,
        temperatures=defaults.temperatures if payload.temperature is None else (payload.temperature,),
    )
