"""Whether the client is playing a reply: as it says, or, when it never says, by the audio that was sent."""

from __future__ import annotations

import time


class Playback:
    """Times are monotonic."""

    def __init__(self) -> None:
        self._until = 0.0
        self._reported: bool | None = None

    @property
    def playing(self) -> bool:
        return time.monotonic() < self._until if self._reported is None else self._reported

    @property
    def until(self) -> float:
        """When the audio that was sent will have been played."""
        return self._until

    def sent(self, seconds: float) -> None:
        """So much more audio was sent."""
        self._until = max(time.monotonic(), self._until) + seconds

    def report(self, playing: bool) -> None:
        """What the client says; it counts from now on."""
        self._reported = playing

    def stop(self) -> None:
        """The reply was interrupted: the client plays it no longer."""
        self._until = 0.0
        if self._reported:
            self._reported = False
