"""What is kept of a recording for browsers, beside the results of its job: peaks, audio, and what they are.

results/<job>/peaks.dat       the waveform
results/<job>/audio.mp3       only where browsers can't play the original
results/<job>/playback.json   written last: it says that the others are complete
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from milo.errors import NotFound
from milo.storage.files import Files

_PEAKS, _AUDIO, _ABOUT = "peaks.dat", "audio.mp3", "playback.json"


class Playback(BaseModel):
    """How a recording is played."""

    model_config = ConfigDict(frozen=True)

    media_type: str
    transcoded: bool
    """Whether `audio.mp3` is played, and not the original."""
    duration_s: float


class PlaybackFiles:
    """Those of one job."""

    def __init__(self, files: Files, job_id: str) -> None:
        self._files, self._job_id = files, job_id

    def keep_peaks(self, content: bytes) -> None:
        self._files.put_result(self._job_id, _PEAKS, content)

    def keep_audio(self, path: Path) -> None:
        """Moves the file into the store."""
        self._files.move_result(self._job_id, _AUDIO, path)

    def keep(self, playback: Playback) -> None:
        self._files.put_result(self._job_id, _ABOUT, playback.model_dump_json().encode())

    def about(self) -> Playback | None:
        """None: nothing was made yet, or it was cleaned away."""
        try:
            return Playback.model_validate_json(self._files.read_result(f"results/{self._job_id}/{_ABOUT}"))
        except NotFound:
            return None

    def peaks(self) -> bytes:
        return self._files.read_result(f"results/{self._job_id}/{_PEAKS}")

    @contextmanager
    def open_audio(self) -> Any:
        """The transcoded audio as a seekable binary file."""
        with self._files.open_result(f"results/{self._job_id}/{_AUDIO}") as file:
            yield file
