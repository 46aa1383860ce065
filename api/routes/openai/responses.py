"""OpenAI's /v1/responses for text: instructions and input in, one message out; whole, or as events.

Nothing is remembered: a conversation is sent whole, and `previous_response_id` is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers.renderings import load
from api.answers.streaming import Event, Steps
from api.http import openai_errors
from api.http.deps import Context, in_thread
from api.http.problems import documented_openai
from api.requests.aliases import resolve_model
from api.requests.chat import chat_model_name, check_chat_model
from api.requests.incoming import Submission, submit
from api.requests.schemas import body_of
from api.routes.openai.chat import (
    MAX_MESSAGES,
    Message,
    ResponseFormat,
    answer,
    new_text,
    refuse_unknown,
    schema_of,
    turns_of,
)
from milo.errors import MiloError
from milo.jobs import Job
from milo.kinds.chat import ChatPayload
from milo.kinds.kind import Document

router = APIRouter(tags=["as OpenAI"])

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "include": ([],),
    "background": (False,),
    "top_logprobs": (0,),
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
    "reasoning": ({}, {"effort": "none"}),
    "context_management": ([],),
}
"""What Milo can't do, and the values that ask for nothing."""
IGNORED = frozenset(
    "metadata user store safety_identifier prompt_cache_key prompt_cache_retention service_tier parallel_tool_calls "
    "max_tool_calls stream_options".split()
)


class InputItem(BaseModel):
    """One turn of the input."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["message"] = "message"
    role: str = "user"
    content: str | list[dict[str, Any]]


class TextFormat(BaseModel):
    """`json_schema`: with the schema in `schema`."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text", "json_object", "json_schema"] = "text"
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class TextOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: TextFormat | None = None


class ResponseRequest(BaseModel):
    """The body of /v1/responses: what is written, and how. What is not known here is refused."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=255)
    input: str | list[InputItem] = Field(max_length=1_000_000)
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    text: TextOptions | None = None
    truncation: Literal["disabled", "auto"] | None = None
    """`auto`: the oldest messages are left out where the model has no room for all."""


@router.post(
    "/responses",
    summary="Answer, as OpenAI's Responses API does",
    responses={200: {"description": "a response, or its events"}, **documented_openai(400, 404, 408, 413)},
    openapi_extra=body_of(ResponseRequest),
)
async def respond(incoming: Submission) -> Response:
    """Text in, text out. `stream` sends `response.output_text.delta` and the other events of a message."""
    context = incoming.context
    asked = await incoming.read_json(ResponseRequest)
    job = await submit(incoming, "chat", partial(_payload, context, asked))
    whole = partial(_ended, context, asked)
    return await answer(incoming, job, None if asked.stream else whole, lambda it: _events(context, asked, it, job))


def _payload(context: Context, asked: ResponseRequest) -> ChatPayload:
    settings = context.settings
    resolve_model(settings, "chat", asked.model)
    refuse_unknown(asked.model_extra or {}, NEUTRAL, IGNORED)
    check_chat_model(settings)
    items = [InputItem(content=asked.input)] if isinstance(asked.input, str) else asked.input
    if not 0 < len(items) <= MAX_MESSAGES:
        raise openai_errors.param_error(f"input has 1 to {MAX_MESSAGES} items", "input", "invalid_value")
    turns = turns_of(settings, [Message(role=item.role, content=item.content) for item in items], "input")
    if asked.instructions:
        turns = (*turns_of(settings, [Message(role="system", content=asked.instructions)], "instructions"), *turns)
    return ChatPayload(
        messages=turns,
        max_tokens=min(asked.max_output_tokens or settings.chat_max_tokens, settings.chat_max_tokens),
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=asked.top_p,
        json_schema=schema_of(_format(asked)),
        truncate=asked.truncation == "auto",
        stream=bool(asked.stream),
    )


def _format(asked: ResponseRequest) -> ResponseFormat | None:
    format = asked.text.format if asked.text else None
    if format is None:
        return None
    return ResponseFormat(type=format.type, json_schema={"schema": format.schema_})


# --- answers ----------------------------------------------------------------------------------------------------------


def _response(context: Context, asked: ResponseRequest, job: Job) -> Document:
    """A response that has just begun."""
    return {
        "id": f"resp_{job.id.removeprefix('job_')}",
        "object": "response",
        "created_at": int(job.created_at),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "model": chat_model_name(context.settings),
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "text": {"format": asked.text.format.model_dump(by_alias=True, exclude_none=True)}
        if asked.text and asked.text.format
        else {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "truncation": asked.truncation or "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def _message(job: Job, status: str, parts: list[Document]) -> Document:
    id = f"msg_{job.id.removeprefix('job_')}"
    return {"type": "message", "id": id, "status": status, "role": "assistant", "content": parts}


def _part(text: str) -> Document:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _ended(context: Context, asked: ResponseRequest, job: Job) -> Document:
    result = load(context, job)
    cut = result.get("finish_reason") == "length"
    status = "incomplete" if cut else "completed"
    return _response(context, asked, job) | {
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [_message(job, status, [_part(result["reply"])])],
        "usage": _usage(result),
    }


def _usage(result: Document) -> Document | None:
    counted = result.get("usage")
    if not counted:
        return None
    read, written = int(counted["prompt_tokens"]), int(counted["completion_tokens"])
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": int(counted.get("cached_tokens") or 0)},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


async def _events(context: Context, asked: ResponseRequest, steps: Steps, job: Job) -> AsyncIterator[Event]:
    count = 0

    def event(name: str, **fields: Any) -> Event:
        nonlocal count
        count += 1
        return openai_errors.event({"type": name, "sequence_number": count - 1, **fields}, name)

    begun = _response(context, asked, job)
    place = {"output_index": 0, "item_id": _message(job, "", [])["id"], "content_index": 0}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    yield event("response.output_item.added", output_index=0, item=_message(job, "in_progress", []))
    yield event("response.content_part.added", **place, part=_part(""))
    try:
        async for item in new_text(steps):
            if isinstance(item, str):
                yield event("response.output_text.delta", **place, delta=item, logprobs=[])
                continue
            ended = await in_thread(_ended, context, asked, item)
            message = ended["output"][0]
            text = message["content"][0]["text"]
            yield event("response.output_text.done", **place, text=text, logprobs=[])
            yield event("response.content_part.done", **place, part=_part(text))
            yield event("response.output_item.done", output_index=0, item=message)
            yield event(f"response.{ended['status']}", response=ended)
    except MiloError as error:
        yield openai_errors.error_event(error)
