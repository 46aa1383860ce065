"""Making a recording ready to be looked at and played in a browser: its peaks, and audio that browsers play."""

from __future__ import annotations

from milo.jobs import AudioSource, Frozen
from milo.kinds.kind import Kind, Stage


class PlaybackPayload(Frozen):
    """The recording of which job."""

    job_id: str
    source: AudioSource


PLAYBACK = Kind("playback", PlaybackPayload, (Stage("prepare", pool="cpu", sliced=False),), inputs=("job_id", "source"))
"""Made by the routes that ask for peaks or audio; what it makes lies with the results of the job it was made for."""
