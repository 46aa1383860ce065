"""Tickets of chat sessions: who writes a message takes its place in line when it arrives, and gives it back when the
message will not be answered."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.http.deps import Context
from milo.chat.sessions import Sessions, give_back
from milo.errors import MiloError
from milo.jobs import Job

_LOCKS = tuple(threading.Lock() for _ in range(64))


@contextmanager
def one_at_a_time(owner: str, session_id: str | None) -> Iterator[None]:
    """Two messages of one session are queued in the order of their tickets: between both steps nobody overtakes."""
    if session_id is None:
        yield
        return
    with _LOCKS[hash((owner, session_id)) % len(_LOCKS)]:
        yield


@dataclass(frozen=True)
class Place:
    """A place in line in one session."""

    session_id: str
    ticket: int


@contextmanager
def place_in_line(context: Context, owner: str, session_id: str | None) -> Iterator[Place]:
    """A ticket of the session, which is opened when it is absent; both are given back when the block fails.

    Raises what `Sessions` raises: `Invalid` for an id that is none, `TooMany` for a session with too many waiting.
    """
    sessions = Sessions(context.settings)
    session = sessions.open(owner, session_id)
    try:
        place = Place(session.id, sessions.take(owner, session.id))
        try:
            yield place
        except BaseException:
            with contextlib.suppress(MiloError):
                sessions.leave(owner, session.id, place.ticket)
            raise
    except BaseException:
        if session_id is None:
            with contextlib.suppress(MiloError):
                sessions.delete(owner, session.id)
        raise


def cancel_job(context: Context, job_id: str) -> Job:
    """Cancel a job. One that was still queued gives its place in line back; a running one does that itself."""
    job = context.ledger.cancel(job_id)
    if job.state == "cancelled":
        give_back(context.settings, job)
    return job
