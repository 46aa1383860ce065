"""The status pages from the event loop: at once while one is at hand, in a thread when one has to be made."""

from __future__ import annotations

from starlette.responses import Response

from api.http.deps import in_thread
from milo.monitoring.cache import Page, Part, StatusCache

HEADERS = {"Cache-Control": "no-store"}


async def page_of(status_cache: StatusCache) -> Page:
    """A page that is at most a few seconds old; about a second old as long as somebody keeps asking."""
    page = status_cache.at_hand()
    return await in_thread(status_cache.fresh) if page is None else page


async def answer(status_cache: StatusCache, part: Part) -> Response:
    """A part of the status document, as JSON that was made once for all who ask."""
    return Response((await page_of(status_cache)).bodies[part], media_type="application/json", headers=HEADERS)
