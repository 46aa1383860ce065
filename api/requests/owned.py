"""What a key may use that no row of its own jobs names: uploads, runs, evaluations. To others they are not there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from api.http.deps import Context, in_thread
from milo.errors import TooLarge
from milo.ledger import owners
from milo.ledger.keys import Key
from milo.ledger.owners import What
from milo.ledger.usage import stored_bytes
from milo.quotas import QuotaExceeded, check, limit_of
from milo.storage.files import Blob
from milo.training.runs import Run

COUNTED_S = 60.0
"""How long it is not counted anew what is kept for a key: what comes meanwhile is added, here and not elsewhere."""
RETRY_S = 3600.0
_SHARED: dict[What, str] = {"run": "runs", "evaluation": "evaluations"}


def may_use(context: Context, key: Key, what: What, name: str) -> bool:
    """Whether it is this key's, or everybody's by MILO_SHARED, or the key sees everything."""
    if key.owner is None or _SHARED.get(what) in context.settings.shared:
        return True
    return owners.owns(context.ledger.engine, what, name, key.owner)


def may_use_run(context: Context, key: Key, run: Run) -> bool:
    return may_use(context, key, "run", run.job_id or run.id)


def note_blob(context: Context, blob_id: str, owner: str) -> None:
    """Who has sent all of it may use it."""
    owners.note(context.ledger.engine, "blob", blob_id, owner)


@dataclass(frozen=True)
class OwnBlobs:
    """The uploads of one key: who has sent the bytes may use them, and nobody else by knowing their hash."""

    context: Context
    key: Key

    async def receive(self, chunks: AsyncIterator[bytes], limit_bytes: int) -> Blob:
        """As `Files.receive_blob`."""
        left = await in_thread(self._left)
        try:
            blob = await self.context.files.receive_blob(chunks, _smaller(limit_bytes, left))
        except TooLarge:
            self._explain(left, limit_bytes)
            raise
        await in_thread(self._note, blob)
        return blob

    def put(self, source: Iterable[bytes], limit_bytes: int) -> Blob:
        """As `Files.put_blob`."""
        left = self._left()
        try:
            blob = self.context.files.put_blob(source, _smaller(limit_bytes, left))
        except TooLarge:
            self._explain(left, limit_bytes)
            raise
        self._note(blob)
        return blob

    def check_room(self, size_bytes: int) -> None:
        """Raises `QuotaExceeded` when an upload of this size would be more than may be kept for this key."""
        left = self._left()
        if left is not None:
            self._explain(left, size_bytes)

    def size(self, blob_id: str) -> int | None:
        """Bytes of an upload of this key; None if there is none."""
        if not may_use(self.context, self.key, "blob", blob_id):
            return None
        return self.context.files.blob_size(blob_id)

    def _left(self) -> int | None:
        """Bytes that may still be kept for this key; None: no limit. Raises `QuotaExceeded` when there are none."""
        name, settings = self.key.name, self.context.settings
        limit = limit_of(settings, name, "stored_bytes")
        if limit is None:
            return None
        notes, now = self.context.notes, time.monotonic()
        counted_at, used = notes.get(f"stored:{name}", (-COUNTED_S, 0))
        if now - counted_at >= COUNTED_S:
            used = stored_bytes(self.context.ledger.engine, name, self.context.files.blob_size)
            notes[f"stored:{name}"] = now, used
        check(settings, name, "stored_bytes", used, 1, RETRY_S)
        return int(limit - used)

    def _explain(self, left: int | None, limit_bytes: int) -> None:
        """What was too large for the quota, and not for the server, is told by the quota."""
        if left is not None and left < limit_bytes:
            limit = limit_of(self.context.settings, self.key.name, "stored_bytes") or 0
            raise QuotaExceeded("stored_bytes", limit - left, limit, RETRY_S) from None

    def _note(self, blob: Blob) -> None:
        counted = self.context.notes.get(f"stored:{self.key.name}")
        if counted and not owners.owns(self.context.ledger.engine, "blob", blob.id, self.key.name):
            self.context.notes[f"stored:{self.key.name}"] = counted[0], counted[1] + blob.size_bytes
        note_blob(self.context, blob.id, self.key.name)


def _smaller(limit_bytes: int, left: int | None) -> int:
    return limit_bytes if left is None else min(limit_bytes, left)
