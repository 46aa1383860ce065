"""The status pages from the event loop: at once while one is at hand, in a thread when one has to be made."""

from __future__ import annotations

import time

from starlette.responses import JSONResponse, Response

from api.http.deps import in_thread
from milo.errors import NotFound
from milo.monitoring.cache import Page, Part, StatusCache
from milo.monitoring.monitors import Monitors

HEADERS = {"Cache-Control": "no-store"}


async def page_of(status_cache: StatusCache) -> Page:
    """A page that is at most a few seconds old; about a second old as long as somebody keeps asking."""
    page = status_cache.at_hand()
    return await in_thread(status_cache.fresh) if page is None else page


async def answer(status_cache: StatusCache, part: Part) -> Response:
    """A part of the status document, as JSON that was made once for all who ask."""
    return Response((await page_of(status_cache)).bodies[part], media_type="application/json", headers=HEADERS)


async def monitor(monitors: Monitors, plugin: str, known_etag: str | None) -> Response:
    """`{success, data, cached, timestamp, plugin, age_s, stale}`; 304 while what it shows is the same."""
    if plugin not in monitors.names:
        raise NotFound(f"there is no monitor {plugin[:80]!r}; there are {', '.join(monitors.names)}")
    found = await in_thread(monitors.ask, plugin)
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if known_etag == found.etag:
        return Response(status_code=304, headers=headers)
    return JSONResponse(found.document(time.time()), headers=headers)
