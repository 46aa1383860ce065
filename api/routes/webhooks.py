"""POST /webhooks/{id}/replay: send a webhook again, with the same id."""

from __future__ import annotations

import re
import time

from fastapi import APIRouter, Response

from api.answers.documents import webhook_document
from api.http.deps import Context, Ctx, Writer, in_thread
from api.http.problems import documented, json_response
from milo.errors import NotFound
from milo.ledger import outbox
from milo.ledger.keys import Key
from milo.queue import wakeups

router = APIRouter(tags=["webhooks"])


@router.post(
    "/webhooks/{webhook_id}/replay",
    summary="Send again",
    status_code=202,
    responses={202: {"description": "it is due now"}, **documented(404, 409)},
)
async def replay(webhook_id: str, context: Ctx, key: Writer) -> Response:
    """From its first try on. 409 while it is still being delivered."""
    return json_response(await in_thread(_replay, context, key, webhook_id), 202)


def _replay(context: Context, key: Key, webhook_id: str) -> object:
    unknown = NotFound(f"there is no webhook {webhook_id!r}", code="unknown_webhook")
    if not re.fullmatch(r"msg_[0-9a-f]{24}", webhook_id):
        raise unknown
    engine = context.ledger.engine
    if key.owner is not None and outbox.get(engine, webhook_id)["owner"] != key.owner:
        raise unknown
    outbox.get(engine, webhook_id)
    outbox.replay(engine, webhook_id, time.time())
    wakeups.in_background(wakeups.run_beat_task, "webhooks")
    return webhook_document(outbox.get(engine, webhook_id))
