"""What a key may use that no row of its own jobs names: uploads, runs, evaluations. To others they are not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from api.http.deps import Context, in_thread
from milo.ledger import owners
from milo.ledger.keys import Key
from milo.ledger.owners import What
from milo.storage.files import Blob
from milo.training.runs import Run

_SHARED: dict[What, str] = {"run": "runs", "evaluation": "evaluations"}


def may_use(context: Context, key: Key, what: What, name: str) -> bool:
    """Whether it is this key's, or everybody's by MILO_SHARED, or the key sees everything."""
    if key.owner is None or _SHARED.get(what) in context.settings.shared:
        return True
    return owners.owns(context.ledger.engine, what, name, key.owner)


def may_use_run(context: Context, key: Key, run: Run) -> bool:
    return may_use(context, key, "run", run.job_id or run.id)


@dataclass(frozen=True)
class Uploads:
    """The uploads of one key: who has sent the bytes may use them, and nobody else by knowing their hash."""

    context: Context
    key: Key

    async def receive(self, chunks: AsyncIterator[bytes], limit_bytes: int) -> Blob:
        """As `Files.receive_blob`."""
        blob = await self.context.files.receive_blob(chunks, limit_bytes)
        await in_thread(self._note, blob)
        return blob

    def put(self, source: Iterable[bytes], limit_bytes: int) -> Blob:
        """As `Files.put_blob`."""
        blob = self.context.files.put_blob(source, limit_bytes)
        self._note(blob)
        return blob

    def size(self, blob_id: str) -> int | None:
        """Bytes of an upload of this key; None if there is none."""
        if not may_use(self.context, self.key, "blob", blob_id):
            return None
        return self.context.files.blob_size(blob_id)

    def _note(self, blob: Blob) -> None:
        owners.note(self.context.ledger.engine, "blob", blob.id, self.key.name)
