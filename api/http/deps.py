"""What the routes share: the open ledger, the file store, the wake-ups; and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from milo.errors import Forbidden, Unauthorized
from milo.ledger import Ledger
from milo.ledger.kept_texts import KeptTexts
from milo.ledger.keys import Key, Keys, Scope
from milo.monitoring.cache import StatusCache
from milo.monitoring.fix.service import FixService
from milo.monitoring.monitors import Monitors
from milo.queue.events import WakeUps
from milo.queue.places import Places
from milo.queue.streams import EventReader
from milo.settings import Settings
from milo.storage.files import Files

PREFIX = "/api/v1"
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Context:
    """What one API process holds open."""

    settings: Settings
    ledger: Ledger
    files: Files
    wake_ups: WakeUps
    keys: Keys
    event_reader: EventReader
    """Reads the events of running jobs."""
    status_cache: StatusCache
    """The status document, at most a second old."""
    monitors: Monitors
    """What pages of monitors poll, a plugin each."""
    fix_service: FixService
    """Takes descriptions of problems, diagnoses them, and runs the operator's command if there is one."""
    places: Places
    """What keys hold open, and how often they ask."""
    texts: KeptTexts = field(default_factory=KeptTexts)
    """Transcripts that are being edited."""
    background: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "publish"))
    """One thread for what may come after the answer: the wake-ups of a large batch."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Small answers that are kept for a second or two."""


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what blocks (the ledger, the disk, Redis) without blocking the others."""
    return await anyio.to_thread.run_sync(partial(function, *args, **kwargs))


PARSERS = 2
"""Bodies of strangers that are parsed at once: they share Python's lock with the loop, and take no thread that the
ledger needs."""
_parsers: RunVar[anyio.CapacityLimiter] = RunVar("parsers")


async def in_parser(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what parses a stranger's bytes: beside the loop, `PARSERS` at once."""
    try:
        limiter = _parsers.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(PARSERS)
        _parsers.set(limiter)
    return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=limiter)


async def _context(request: Request) -> Context:  # async: one that is not costs a thread for each request
    context: Context = request.app.state.context
    return context


_bearer = HTTPBearer(auto_error=False, description="A key made by `milo keys create`, or MILO_API_KEY.")


def _require(scope: Scope) -> Any:
    async def check(request: Request, _documented: Annotated[Any, Security(_bearer)]) -> Key:
        key: Key | None = request.scope.get("milo.key")
        if key is None:
            raise Unauthorized("this path needs an API key")
        return require_scope(key, scope)

    return Depends(check)


def require_scope(key: Key, scope: Scope) -> Key:
    """The key, if it has the scope. Raises `Forbidden` otherwise."""
    if not key.may(scope):
        raise Forbidden(f"the key {key.name!r} has not the scope {scope!r}", code="missing_scope")
    return key


Ctx = Annotated[Context, Depends(_context)]
Reader = Annotated[Key, _require("read")]
Writer = Annotated[Key, _require("write")]
Admin = Annotated[Key, _require("admin")]
