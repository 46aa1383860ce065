"""The status board from the event loop: at once while a page is at hand, in a thread when one has to be made."""

from __future__ import annotations

import anyio.to_thread
from starlette.responses import Response

from milo.monitoring.cache import Page, Part, StatusCache

HEADERS = {"Cache-Control": "no-store"}


async def page_of(board: StatusCache) -> Page:
    """A page that is at most a few seconds old; about a second old as long as somebody keeps asking."""
    page = board.at_hand()
    if page is None:
        page = await anyio.to_thread.run_sync(board.look)
    return page


async def answer(board: StatusCache, part: Part) -> Response:
    """A part of the status document, as JSON that was made once for all who ask."""
    return Response((await page_of(board)).bodies[part], media_type="application/json", headers=HEADERS)
