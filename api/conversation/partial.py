"""The transcript of an utterance that is still being spoken: one small job at a time, and only while nobody waits.

One for the whole process, not one for each socket: a partial transcript is a courtesy, and must not delay a reply.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import anyio

from api.answers import renderings
from api.conversation.follow import ended
from api.conversation.frames import wav
from api.http.deps import Context, in_thread
from api.requests.stt import check_options, payload_of
from api.requests.writing import submit_job
from milo.errors import MiloError
from milo.jobs import AudioSource, Job, NewJob
from milo.kinds.stt import SttOptions
from milo.ledger.keys import Key
from milo.queue.depths import depths
from milo.transcription.transcript import Transcript

log = logging.getLogger(__name__)

PATIENCE_S = 8.0
QUEUES = ("gpu.realtime", "gpu.interactive", "cpu")
_NOTE = "partial transcript in flight"


@dataclass
class EarlyTranscription:
    """One try. `run` gives None when it was not the moment, or nothing came of it."""

    context: Context
    key: Key
    pcm: bytes
    language: str | None
    _job: Job | None = None
    _blob: str | None = None

    async def run(self) -> Transcript | None:
        notes: dict[str, Any] = self.context.notes
        if notes.get(_NOTE):
            return None
        notes[_NOTE] = True
        try:
            with anyio.move_on_after(PATIENCE_S):
                return await self._transcribe()
            return None
        except MiloError as error:
            log.info("no partial transcript: %s", error)
            return None
        except Exception as error:  # a courtesy: the conversation goes on without it
            log.exception("no partial transcript", exc_info=error)
            return None
        finally:
            notes[_NOTE] = False
            with anyio.move_on_after(PATIENCE_S, shield=True):
                await in_thread(self._clean_up)

    async def _transcribe(self) -> Transcript | None:
        if not await in_thread(self._ask):
            return None
        assert self._job is not None
        self._job = job = await ended(self.context, self._job.id)
        if job.state != "succeeded":
            return None
        return await in_thread(renderings.transcript_of, self.context, job)

    def _ask(self) -> bool:
        """Submit the job, unless somebody waits in a queue that it would pass through."""
        waiting = depths(self.context.settings)
        if any(waiting[name] for name in QUEUES):
            return False
        # no other blob has these bytes: it is dropped afterwards, and must be nobody else's
        self._blob = self.context.files.put_blob([wav(self.pcm, unique=True)]).id
        options = SttOptions(language=self.language, word_timestamps=False, temperature=0.0)
        source = AudioSource(blob=self._blob, name="partial.wav")
        payload = payload_of(check_options(self.context, options), source).model_dump()
        new = NewJob(kind="stt", payload=payload, owner=self.key.name, priority="realtime")
        self._job = submit_job(self.context, new)
        return True

    def _clean_up(self) -> None:
        try:
            if self._job and not self._job.final:
                self.context.ledger.cancel(self._job.id)
            if self._blob:
                self.context.files.drop_blob(self._blob)
        except Exception as error:  # the clean-up of old files finds it
            log.warning("a partial transcript was not cleaned up: %s", error)
