"""Chat sessions: look at one's own, and forget them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.http.deps import Ctx, Reader, Writer, in_thread
from api.http.problems import documented, json_response
from milo.chat.sessions import Session, Sessions
from milo.jobs import iso

router = APIRouter(tags=["chat"])


class SessionDocument(BaseModel):
    """A conversation. `exchanges` (the oldest first) only where one session is asked for."""

    id: str
    created_at: str
    updated_at: str
    expires_at: str
    url: str
    exchanges: list[dict[str, Any]] | None = None


class SessionList(BaseModel):
    items: list[SessionDocument]


@router.get("/sessions", summary="List chat sessions", responses={200: {"model": SessionList}, **documented()})
async def list_(context: Ctx, key: Reader) -> Response:
    """Those of this key that have not expired, the latest first, without what was said."""
    sessions = await in_thread(Sessions(context.settings).all, key.name)
    return json_response({"items": [_document(session).model_dump(exclude_unset=True) for session in sessions]})


@router.get(
    "/sessions/{session_id}",
    summary="One chat session",
    responses={200: {"model": SessionDocument}, **documented(404, 422)},
)
async def look(session_id: str, context: Ctx, key: Reader) -> Response:
    """With its last exchanges. Looking does not keep it alive."""
    session = await in_thread(Sessions(context.settings).get, key.name, session_id)
    exchanges = [
        {
            "user": one.user,
            "reply": one.reply,
            "mode": one.mode,
            "language": one.language,
            "at": iso(one.at) if one.at else None,
        }
        for one in session.exchanges
    ]
    return json_response(_document(session).model_dump() | {"exchanges": exchanges})


@router.delete(
    "/sessions/{session_id}",
    summary="Forget a chat session",
    status_code=204,
    responses={204: {"description": "it is forgotten"}, **documented(404, 422)},
)
async def delete(session_id: str, context: Ctx, key: Writer) -> Response:
    """Messages of it that still wait are not answered any more."""
    await in_thread(Sessions(context.settings).delete, key.name, session_id)
    return Response(status_code=204)


def _document(session: Session) -> SessionDocument:
    return SessionDocument(
        id=session.id,
        created_at=iso(session.created_at) or "",
        updated_at=iso(session.updated_at) or "",
        expires_at=iso(session.expires_at) or "",
        url=f"/api/v1/sessions/{session.id}",
    )
