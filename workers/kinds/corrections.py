"""People's corrections as a data set: the text as it is now, and exactly the samples of each segment."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np

from milo.audio.encode import wav_header
from milo.audio.mixdown import SAMPLE_RATE_HZ, Pcm
from milo.audio.sandbox import decoder_of
from milo.errors import MiloError
from milo.jobs import AudioSource, Job, Progress
from milo.kinds.corrections import CorrectionsPayload, Which
from milo.kinds.stt import SttPayload
from milo.ledger import consents
from milo.ledger.revisions import Revisions, transcript_of
from milo.training import suites
from milo.training.correction_sets import CLIPS, CorrectionRow, CorrectionSet
from milo.training.suites import Candidate
from milo.transcription.transcript import Segment, Transcript
from workers.work import Finished, RunningJob

log = logging.getLogger(__name__)

LONGEST_S = 60.0
"""Longer segments are left out: no recipe takes them, and they would fill the memory."""


def collect(running: RunningJob) -> Generator[Progress, None, Finished]:
    """Make the set. A recording that is gone or can't be read is left out, and named; a segment whose recording, text
    or speaker a suite judges by (`milo.training.suites`) is left out, and counted."""
    payload: CorrectionsPayload = running.payload
    given = consents.given(running.ledger, payload.owner)
    left_out: dict[str, str] = {}
    audio_s, judged, every = 0.0, 0, suites.every(running.settings)
    with CorrectionSet(running.settings, running.id) as made:
        for done, job_id in enumerate(given):
            yield Progress(done=done, total=len(given), unit="recordings")
            try:
                job = running.ledger.get(job_id)
                source = SttPayload.model_validate(job.payload).source
                for row, pcm in _of_recording(running, job, payload.segments):
                    wav = wav_header(pcm.nbytes, SAMPLE_RATE_HZ) + pcm.astype("<i2").tobytes()
                    if suites.leaks(every, [_candidate(row, wav, source)], row.language):
                        judged += 1
                    else:
                        made.add(row, wav)
                        audio_s += len(pcm) / SAMPLE_RATE_HZ
                    yield Progress(done=done, total=len(given), unit="recordings")
            except MiloError as error:
                log.warning("the corrections of %s are left out: %s", job_id, error)
                left_out[job_id] = error.detail
        rows = made.complete(consents.given(running.ledger, payload.owner))
    recordings = len({row.transcript_id for row in rows})
    result = {"path": str(made.path), "segments": len(rows), "recordings": recordings, "left_out": left_out} | {
        "judged_by": judged
    }
    return Finished(result, audio_s=round(audio_s, 3))


def _candidate(row: CorrectionRow, wav: bytes, source: AudioSource) -> Candidate:
    return Candidate(
        id=row.id,
        text=row.text,
        speaker=row.speaker,
        audio=(hashlib.sha256(wav).hexdigest(), *([source.blob] if source.blob else [])),
    )


def _of_recording(running: RunningJob, job: Job, which: Which) -> Iterator[tuple[CorrectionRow, Pcm]]:
    """The rows of a transcript that was edited, with their samples."""
    machine = transcript_of(running.files, job)
    newest = Revisions(running.ledger, lambda _: machine).transcript(job)
    heard = {segment.id: segment.text for segment in machine.segments}
    wanted = [
        segment
        for segment in (newest.segments if job.revision else [])
        if (which == "all" or heard.get(segment.id) != segment.text) and segment.end - segment.start <= LONGEST_S
    ]
    by_channel: dict[int | None, list[Segment]] = defaultdict(list)
    for segment in wanted:
        by_channel[segment.channel].append(segment)
    source = SttPayload.model_validate(job.payload).source
    for channel, segments in by_channel.items():
        with running.files.open_audio(source) as file:
            settings = running.settings
            blocks = decoder_of(settings).stream(file, max_s=settings.max_audio_s, channel=channel)
            try:
                for segment, pcm in cut(blocks, segments):
                    yield _row(job, newest, segment, heard.get(segment.id)), pcm
            finally:
                blocks.close()


def cut(blocks: Iterable[Pcm], segments: Sequence[Segment]) -> Iterator[tuple[Segment, Pcm]]:
    """The samples of each segment, from its first to its last, whatever the blocks."""
    waiting = sorted(segments, key=lambda segment: segment.start)
    open_: list[tuple[Segment, int, list[Pcm]]] = []
    at = 0
    for pcm in blocks:
        end = at + len(pcm)
        while waiting and _sample(waiting[0].start) < end:
            open_.append((waiting.pop(0), at, []))
        for segment, _, parts in open_:
            parts.append(pcm[max(0, _sample(segment.start) - at) : max(0, _sample(segment.end) - at)])
        yield from ((segment, np.concatenate(parts)) for segment, _, parts in open_ if _sample(segment.end) <= end)
        open_ = [one for one in open_ if _sample(one[0].end) > end]
        at = end
        if not waiting and not open_:
            return
    yield from ((segment, np.concatenate(parts)) for segment, _, parts in open_)  # ends with the recording


def _sample(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)


def _row(job: Job, transcript: Transcript, segment: Segment, heard: str | None) -> CorrectionRow:
    name = f"{job.id}-{segment.id}"
    return CorrectionRow(
        id=name,
        audio=f"{CLIPS}/{name}.wav",
        text=segment.text,
        speaker=f"{segment.speaker}@{job.id}" if segment.speaker else job.id,
        language=segment.language or transcript.language or "",
        transcript_id=job.id,
        segment_id=segment.id,
        revision=transcript.revision,
        machine_text=heard,
    )
