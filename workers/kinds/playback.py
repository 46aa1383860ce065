"""Peaks of a recording, and audio that a browser plays: one pass over the file, on the time line of its transcript.

The original is served where browsers play it and its own times are those of the transcript. Otherwise, and where
decoding met gaps, faults or a header that lies, an MP3 is made of the decoded samples.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

from milo.audio.mixdown import SAMPLE_RATE_HZ
from milo.audio.peaks import Peaks
from milo.audio.playback import FORMAT, MEDIA_TYPE, Mp3File, playable
from milo.audio.sandbox import decoder_of
from milo.errors import NotFound
from milo.jobs import Progress
from milo.kinds.playback import PlaybackPayload
from milo.storage.playback import Playback, PlaybackFiles
from workers.work import Finished, RunningJob


def prepare(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Make what is missing, and say what there is."""
    payload: PlaybackPayload = running.payload
    stored = PlaybackFiles(running.files, payload.job_id)
    media_type, peaks, samples = yield from _pass(running, payload, None)
    if media_type is None:
        path = running.work_folder / f"audio.{FORMAT}"
        mp3 = Mp3File(path)
        _, peaks, samples = yield from _pass(running, payload, mp3)
        mp3.close()
        stored.keep_audio(path)
    stored.keep_peaks(peaks.content())
    made = Playback(
        media_type=media_type or MEDIA_TYPE, transcoded=media_type is None, duration_s=samples / SAMPLE_RATE_HZ
    )
    stored.keep(made)
    with suppress(NotFound):
        running.ledger.get(payload.job_id)
        return Finished(made.model_dump(), audio_s=made.duration_s)
    running.files.drop_results(payload.job_id)  # it was cleaned away meanwhile
    raise NotFound(f"the job {payload.job_id} is not there any more", code="unknown_job")


def _pass(
    running: RunningJob, payload: PlaybackPayload, mp3: Mp3File | None
) -> Generator[Progress, None, tuple[str | None, Peaks, int]]:
    """Decode once: the media type of the original if it may be played as it is, the peaks, the number of samples.

    Without an `mp3`, it ends at once where one will be needed.
    """
    settings, peaks, samples = running.settings, Peaks(), 0
    with running.files.open_audio(payload.source) as file:
        stream = decoder_of(settings).stream(file, max_s=settings.max_audio_s)
        try:
            for pcm in stream:
                if mp3 is None and (stream.info is None or playable(stream.info) is None):
                    return None, peaks, samples
                peaks.add(pcm)
                samples += len(pcm)
                if mp3:
                    mp3.add(pcm)
                yield Progress(done=round(samples / SAMPLE_RATE_HZ, 3), unit="s")
        finally:
            stream.close()
        as_it_is = stream.info is not None and not stream.warnings
        return (playable(stream.info) if stream.info and as_it_is else None), peaks, samples
