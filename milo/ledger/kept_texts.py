"""The newest texts of transcripts that somebody edits, kept in memory, so that an edit costs what it changes.

Only a copy of what the journal says: a text is kept with the number of its revision, and who wants a later one replays
what came after it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from milo.transcription.transcript import Transcript

MAX_WORDS = 100_000
"""Of all texts that are kept: about 70 MB, eleven hours of speech. The one used last is always kept."""


@dataclass(frozen=True)
class KeptText:
    transcript: Transcript
    machine_text: str
    """`Transcript.text` of what the machine heard; that of a revision is made of its segments."""


class KeptTexts:
    """By job, the one used last at the end."""

    def __init__(self, max_words: int = MAX_WORDS) -> None:
        self._max_words = max_words
        self._lock = Lock()
        self._texts: OrderedDict[str, tuple[KeptText, int]] = OrderedDict()

    def get(self, job_id: str) -> KeptText | None:
        with self._lock:
            if job_id not in self._texts:
                return None
            self._texts.move_to_end(job_id)
            return self._texts[job_id][0]

    def put(self, job_id: str, text: KeptText) -> None:
        """Keep it, unless a later revision is kept already."""
        with self._lock:
            before = self._texts.get(job_id)
            if before and before[0].transcript.revision > text.transcript.revision:
                return
            # edits hardly change how long a text is: it is counted once
            words = before[1] if before else sum(len(segment.words) + 1 for segment in text.transcript.segments)
            self._texts[job_id] = (text, words)
            self._texts.move_to_end(job_id)
            while len(self._texts) > 1 and sum(size for _, size in self._texts.values()) > self._max_words:
                self._texts.popitem(last=False)
