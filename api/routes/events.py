"""GET /events: everything of a key in one stream."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.answers.feed import feed
from api.http.deps import Ctx, Reader, in_thread
from api.http.problems import documented

router = APIRouter(tags=["jobs"])


@router.get(
    "/events",
    summary="Watch everything",
    responses={
        200: {"description": "events `job`, `batch`, `hello`, `reload`", "content": {"text/event-stream": {}}},
        **documented(),
    },
)
async def events(request: Request, context: Ctx, key: Reader) -> Response:
    """Server-sent events of all jobs and batches of this key, from now on: each as a document, jobs without payload
    and result. After a break `Last-Event-ID` brings what changed meanwhile; some may come twice, so compare `version`.
    `reload` says that too much has changed to be told: read the lists again."""
    secret = request.scope.get("milo.secret", "")

    async def still_valid() -> bool:
        return (context.keys.verify_cached(secret) or await in_thread(context.keys.verify, secret)) is not None

    return feed(context, key, request.headers.get("last-event-id"), still_valid)
