"""GET /health: open to everybody, so that whoever watches needs no key."""

from __future__ import annotations

import logging
import time

from fastapi import APIRouter, Response

from api.http.deps import Context, Ctx, in_thread
from api.http.problems import json_response
from milo.monitoring import alerts, health

log = logging.getLogger(__name__)
router = APIRouter(tags=["operation"])

CACHE_S = 0.25


@router.get(
    "/health",
    summary="Is everything there?",
    responses={200: {"description": "healthy or degraded"}, 503: {"description": "down: the same document"}},
)
async def look(context: Ctx) -> Response:
    """`down`: no job can be accepted. `degraded`: jobs are accepted, and something is missing; `checks` says what."""
    document = await in_thread(_document, context)
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "2"} if document["status"] == "down" else {})
    return json_response(document, 503 if document["status"] == "down" else 200, headers)


def _document(context: Context) -> health.Health:
    kept: tuple[float, health.Health | None] = context.notes.get("health", (0.0, None))
    at, document = kept
    now = time.monotonic()
    if document is None or now - at > CACHE_S:
        document = health.check(context.settings, context.ledger, context.files)
        document["alerts"] = _alerts(context)
        context.notes["health"] = (now, document)  # as old as its first reading
    return document


def _alerts(context: Context) -> list[str]:
    try:
        return alerts.active(context.status_cache.fresh().document)
    except Exception:  # what is watched must never take health down with it
        log.exception("the status document could not be made")
        return []
