"""WS /conversation: speech in, speech out. What is said over it stands in `api/conversation/`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, Response, WebSocket

from api.conversation.frames import MAX_FRAME_BYTES, SAMPLE_RATE_HZ
from api.conversation.socket import BROKEN, NO_SESSION, TRY_LATER, WRONG_VALUE, Socket
from api.conversation.turn_context import TurnSettings
from api.http import keys_in_urls, memory
from api.http.bodies import validate
from api.http.deps import Context, Reader, in_thread, require_scope
from api.http.problems import documented, problem_response
from api.requests.models import choose_speech
from api.requests.stt import check_options
from api.requests.tts import spoken_language, spoken_voice
from milo import metrics
from milo.chat.sessions import PREFIX, Sessions
from milo.errors import Invalid, MiloError, Unavailable
from milo.kinds.stt import SttOptions
from milo.ledger.keys import Key

log = logging.getLogger(__name__)
router = APIRouter(tags=["conversation"])

_OPEN = "conversations"


class UpgradeNeeded(MiloError):
    code, status, title = "upgrade_needed", 426, "This path takes WebSockets"


@router.get(
    "/conversation",
    summary="Hold a spoken conversation (WebSocket)",
    status_code=426,
    responses={426: {"description": "connect with a WebSocket"}, **documented()},
)
async def no_socket(key: Reader) -> Response:
    """`ws://…/api/v1/conversation?session_id=…&language=…&voice=…`, with the key as `Authorization: Bearer KEY`, as
    a sub-protocol (`milo.bearer.KEY` beside `milo.v1`), or as `api_key=KEY` in the URL.

    Send microphone audio in binary frames: int16 LE PCM, 16 kHz, mono, frames of any size. Text frames are JSON:
    `{"type":"stop"}`, `{"type":"text","text":"…"}`, `{"type":"interrupt"}`,
    `{"type":"config","language":"mg","voice":null}`, `{"type":"playback","playing":true}`. Transcripts of what is
    still being said (`final` false, `partial` true) are sent to those who ask: `partials=true` in the URL, or in a
    `config` frame. What comes back is JSON,
    by its `type`: `session`, `vad`, `transcript`, `mode`, `reply_delta`, `reply_text`, `reply_audio` (`audio` is a wav
    file in base64, one sentence each), `interrupted`, `turn_end`, `error`.
    """
    error = UpgradeNeeded("connect to this path with a WebSocket; the documentation at /docs says how to talk")
    return problem_response(error, headers={"Upgrade": "websocket"})


@router.websocket("/conversation")
async def converse(websocket: WebSocket) -> None:
    """Accept the socket, or refuse it: before the upgrade by an HTTP status, after it by a close code."""
    context: Context = websocket.app.state.context
    key: Key = websocket.scope["milo.key"]
    try:
        require_scope(key, "write")
        with _counted(context):
            await websocket.accept(keys_in_urls.subprotocol(websocket.scope))
            await _hold(context, key, websocket)
        if not context.notes[_OPEN]:
            await in_thread(memory.give_back)
    except MiloError as error:
        await websocket.send_denial_response(problem_response(error, websocket.url.path))


@contextmanager
def _counted(context: Context) -> Iterator[None]:
    """One place among the conversations of this process. Raises `Unavailable` when all are taken."""
    most, notes = context.settings.conversation_sockets, context.notes
    if notes.get(_OPEN, 0) >= most:
        detail = f"{most} conversations are open, the most that this server holds (MILO_CONVERSATION_SOCKETS)"
        raise Unavailable(detail, code="too_many_conversations", retry_after_s=10)
    notes[_OPEN] = notes.get(_OPEN, 0) + 1
    metrics.CONVERSATIONS.inc()
    try:
        yield
    finally:
        notes[_OPEN] -= 1
        metrics.CONVERSATIONS.dec()


async def _hold(context: Context, key: Key, websocket: WebSocket) -> None:
    query = websocket.query_params
    socket = Socket(websocket, partials=query.get("partials", "").lower() in ("1", "true", "yes"))
    choose = partial(choose_setting, context)
    try:
        setting = await in_thread(choose, query.get("language"), query.get("voice"))
        session_id = await in_thread(_session, context, key, query.get("session_id"))
        kind = await in_thread(_conversation)
    except MiloError as error:
        code = {404: NO_SESSION, 422: WRONG_VALUE}.get(error.status, TRY_LATER)
        await socket.error(error)
        return await socket.close(code, error.detail)
    await socket.send(
        "session",
        session_id=session_id,
        language=setting.language,
        voice=setting.voice,
        partials=socket.partials,
        sample_rate_hz=SAMPLE_RATE_HZ,
        max_frame_bytes=MAX_FRAME_BYTES,
    )
    verify = partial(context.keys.verify, websocket.scope["milo.secret"])
    try:
        await kind(context, socket, key, session_id, setting, choose, verify).run()
    except Exception as error:
        log.exception("the conversation %s broke", session_id, exc_info=error)
        await socket.close(BROKEN, "something broke inside Milo; the server's log has it")


def _conversation() -> Any:
    """The class, imported with the first conversation: a process that holds none needs no numpy."""
    from api.conversation.conversation import Conversation

    return Conversation


def _session(context: Context, key: Key, session_id: str | None) -> str:
    """The session of that id, of this key. Ids that Milo made (`ses_…`) are not made again: `NotFound`."""
    sessions = Sessions(context.settings)
    if session_id and session_id.startswith(PREFIX):
        sessions.get(key.name, session_id)
    return sessions.open(key.name, session_id or None).id


def choose_setting(context: Context, language: str | None, voice: str | None) -> TurnSettings:
    """The models of this server with a language and a voice that they have. Raises `Invalid` with a list otherwise."""
    if len(voice or "") > 255:
        raise Invalid("a voice has at most 255 characters")
    hearing = check_options(context, validate({"language": language or None}, SttOptions))
    assert hearing.model, "checked options name their model"
    speech = choose_speech(context, None)
    if hearing.language:
        spoken_language(speech, hearing.language)
    return TurnSettings(hearing.model, speech.name, hearing.language, spoken_voice(context, speech, voice))
