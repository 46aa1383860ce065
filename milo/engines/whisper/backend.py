"""What a runtime has to do for Whisper: encode, decode, align. The rest is the same for all (`transcriber`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from milo.engines.whisper.words import Alignment


@dataclass(frozen=True)
class Hypothesis:
    """One decoded sequence. `tokens` without the end token; `logprob` is the sum over tokens and the end token."""

    tokens: list[int]
    logprob: float
    no_speech_prob: float
    ended: bool


class Backend(Protocol):
    """A loaded Whisper. `encoded` is opaque: whatever `encode` returns, one row a window."""

    parallel: int
    """Threads that may call at once; one prepares its batch while another's is computed."""
    replicas: int
    """Batches that are truly computed side by side; a small call is shared out among them."""
    frame_budget: int
    """Most padded feature frames (10 ms each) in one batch."""
    weights_bytes: int

    def encode(self, features: npt.NDArray[np.float32]) -> Any: ...

    def select(self, encoded: Any, rows: list[int]) -> Any: ...

    def language_probabilities(self, encoded: Any) -> npt.NDArray[np.float32]:
        """(rows, languages), in the order of `Checkpoint.languages`."""
        ...

    def generate(
        self, encoded: Any, prompts: list[list[int]], max_tokens: int, beam_size: int, temperature: float
    ) -> list[Hypothesis]: ...

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Alignment]: ...

    def free(self) -> None:
        """Give cached memory back after running out of it."""
        ...

    def close(self) -> None: ...
