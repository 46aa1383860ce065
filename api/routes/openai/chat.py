"""OpenAI's /v1/chat/completions, as the `openai` package calls it: a whole conversation in, the next message out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import JSONResponse

from api.answers.accepted import finished
from api.answers.renderings import load
from api.answers.results import headers_of
from api.answers.streaming import LOST, Event, Events, Steps, failure
from api.http import openai_errors
from api.http.deps import Context, in_thread
from api.http.problems import documented_openai
from api.requests.aliases import resolve_model
from api.requests.chat import chat_model_name, check_chat_model
from api.requests.incoming import Submission, submit
from api.requests.schemas import body_of
from milo.chat.message import check_message
from milo.errors import Invalid, MiloError
from milo.jobs import Job
from milo.kinds.chat import ChatPayload, ChatTurn
from milo.kinds.fields import Closed
from milo.kinds.kind import Document
from milo.settings import Settings

router = APIRouter(tags=["as OpenAI"])

MAX_MESSAGES = 1000
MAX_STOPS = 4
TEXT_PARTS = ("text", "input_text", "output_text")
CONVERSATION_MESSAGES = 16
"""A conversation may have as many characters as so many of the longest messages."""
ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "moderation": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
    "store": (False,),
}
"""What Milo can't do, and the values that ask for nothing. Others are refused: nothing is left out in silence."""


class Message(BaseModel):
    """One turn. Content: text, or a list of text parts."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Any] | None = None


class StreamOptions(Closed):
    include_usage: bool = False
    include_obfuscation: bool = False


class ResponseFormat(BaseModel):
    """`json_schema`: with the schema in `json_schema.schema`."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class CompletionRequest(BaseModel):
    """The body of /v1/chat/completions. `metadata`, `user`, `seed` and what only steers OpenAI's servers have no
    effect; what would change the answer and is not known here is refused."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=255)
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: str | list[str] | None = None
    """At most four; the reply ends before the first of them."""
    response_format: ResponseFormat | None = None

    @field_validator("temperature", "stream", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return {"temperature": 1.0, "stream": False}[info.field_name] if value is None else value


IGNORED = frozenset(
    "metadata user seed safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options service_tier "
    "parallel_tool_calls".split()
)


@router.post(
    "/chat/completions",
    summary="Answer a conversation, as OpenAI does",
    responses={200: {"description": "a chat.completion, or its chunks"}, **documented_openai(400, 404, 408, 413)},
    openapi_extra=body_of(CompletionRequest),
)
async def completions(incoming: Submission) -> Response:
    """`gpt-…` means the configured model. `stream` sends chunks, and the usage where `stream_options` ask for it. The
    client keeps the conversation: nothing is remembered."""
    context = incoming.context
    asked = await incoming.read_json(CompletionRequest)
    job = await submit(incoming, "chat", partial(_payload, context, asked))
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    whole = partial(_completion, context)
    return await answer(incoming, job, None if asked.stream else whole, lambda it: _chunks(context, it, job, usage))


async def answer(
    incoming: Submission,
    job: Job,
    whole: Callable[[Job], Document] | None,
    events: Callable[[Steps], AsyncIterator[Event]],
) -> Response:
    """The `whole` reply as one document; None: its `events`, once the job has begun. One that failed is an error."""
    context = incoming.context
    if whole is not None:
        job = await finished(context, incoming.request, job)
        return JSONResponse(await in_thread(whole, job), headers=headers_of(job))
    steps = Steps(context, job.id)
    async with steps.kept():
        first = await steps.peek()
        if isinstance(first, Job) and first.state != "succeeded":
            await steps.leave()
            raise failure(first)
        return Events(events(steps), steps, {"X-Milo-Job-Id": job.id})


def _payload(context: Context, asked: CompletionRequest) -> ChatPayload:
    settings = context.settings
    resolve_model(settings, "chat", asked.model)
    refuse_unknown(asked.model_extra or {}, NEUTRAL, IGNORED)
    check_chat_model(settings)
    if asked.stream_options and not asked.stream:
        raise openai_errors.param_error("stream_options are for stream=true", "stream_options", "invalid_value")
    asked_tokens = asked.max_completion_tokens or asked.max_tokens or settings.chat_max_tokens
    return ChatPayload(
        messages=turns_of(settings, asked.messages),
        max_tokens=min(asked_tokens, settings.chat_max_tokens),
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=_stops(asked.stop),
        json_schema=schema_of(asked.response_format),
        stream=asked.stream,
    )


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    texts = tuple(text for text in ([stop] if isinstance(stop, str) else stop or []) if text)
    if len(texts) > MAX_STOPS:
        raise openai_errors.param_error(f"at most {MAX_STOPS} texts may stop a reply", "stop", "array_above_max_length")
    return texts


def schema_of(format: ResponseFormat | None) -> str | None:
    """The schema that the reply has to follow, as JSON text; None: any text."""
    if format is None or format.type == "text":
        return None
    if format.type == "json_object":
        return json.dumps({"type": "object"})
    schema = (format.json_schema or {}).get("schema")
    if not isinstance(schema, dict):
        where = "response_format/json_schema/schema"
        raise openai_errors.param_error("a JSON schema (an object) is needed here", where, "missing_required_parameter")
    return json.dumps(schema)


def refuse_unknown(extra: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]], ignored: Collection[str]) -> None:
    """Raises for a parameter that is not known, and for one that asks for what Milo can't do."""
    for name, value in extra.items():
        if value is None or name in ignored:
            continue
        if name not in neutral:
            detail = f"Unrecognized request argument supplied: {name[:100]}"
            raise openai_errors.param_error(detail, name[:100], "unknown_parameter")
        if value not in neutral[name]:
            detail = f"{name} is not supported here" + (": n is always 1" if name == "n" else "; leave it out")
            raise openai_errors.param_error(detail, name, "unsupported_parameter")


def turns_of(settings: Settings, messages: list[Message], field: str = "messages") -> tuple[ChatTurn, ...]:
    """The turns of a conversation, checked; `field`: where they stand in the request."""
    turns = []
    for index, message in enumerate(messages):
        where = f"{field}/{index}"
        if message.role not in ROLES:
            detail = f"the role {message.role[:40]!r} is not supported; one of {', '.join(ROLES)}"
            raise openai_errors.param_error(detail, f"{where}/role")
        if message.tool_calls:
            raise openai_errors.param_error(
                "tool calls are not supported", f"{where}/tool_calls", "unsupported_parameter"
            )
        turns.append(ChatTurn(role=ROLES[message.role], content=_text(message, where)))
    most = settings.chat_max_chars * CONVERSATION_MESSAGES
    if sum(len(turn.content) for turn in turns) > most:
        detail = f"the conversation has more than {most} characters; leave its oldest messages out"
        raise openai_errors.param_error(detail, field, "context_length_exceeded")
    try:
        text = check_message(turns[-1].content, settings)
    except Invalid as error:
        raise openai_errors.param_error(error.detail, f"{field}/{len(turns) - 1}/content", error.code) from None
    return (*turns[:-1], ChatTurn(role=turns[-1].role, content=text))


def _text(message: Message, where: str) -> str:
    """The text of a message, its parts joined."""
    if message.content is None or isinstance(message.content, str):
        text = message.content or ""
    else:
        texts = []
        for number, part in enumerate(message.content):
            if part.get("type") not in TEXT_PARTS or not isinstance(part.get("text"), str):
                detail = f"only text is understood, and this part is {str(part.get('type'))[:40]!r}"
                raise openai_errors.param_error(detail, f"{where}/content/{number}/type")
            texts.append(part["text"])
        text = "\n".join(texts)
    return text.replace("\0", "").encode("utf-8", "replace").decode()


# --- answers ----------------------------------------------------------------------------------------------------------


def _completion(context: Context, job: Job) -> Document:
    result = load(context, job)
    message = {"role": "assistant", "content": result["reply"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(result)}
    head = _head(context, job, "chat.completion")
    return head | {"choices": [choice], "usage": _usage(result), "system_fingerprint": job.models.get("chat")}


def _head(context: Context, job: Job, object_: str) -> Document:
    return {
        "id": f"chatcmpl-{job.id.removeprefix('job_')}",
        "object": object_,
        "created": int(job.created_at),
        "model": chat_model_name(context.settings),
        "service_tier": "default",
    }


def _finish(result: Document) -> str:
    return "length" if result.get("finish_reason") == "length" else "stop"


def _usage(result: Document) -> Document | None:
    """Tokens; None where the model did not count them."""
    counted = result.get("usage")
    if not counted:
        return None
    prompt, reply = int(counted["prompt_tokens"]), int(counted["completion_tokens"])
    details = {"prompt_tokens_details": {"cached_tokens": int(counted.get("cached_tokens") or 0)}}
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply} | details


async def _chunks(context: Context, steps: Steps, job: Job, with_usage: bool) -> AsyncIterator[Event]:
    head = _head(context, job, "chat.completion.chunk") | {"system_fingerprint": None}
    if with_usage:
        head["usage"] = None

    def chunk(delta: dict[str, Any], finish: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return openai_errors.event(head | {"choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    try:
        async for item in new_text(steps):
            if isinstance(item, str):
                yield chunk({"content": item})
                continue
            result = await in_thread(load, context, item)
            yield chunk({}, _finish(result))
            if with_usage:
                yield openai_errors.event(head | {"choices": [], "usage": _usage(result)})
            yield openai_errors.event("[DONE]")
    except MiloError as error:
        yield openai_errors.error_event(error)


async def new_text(steps: Steps) -> AsyncIterator[str | Job]:
    """The pieces of the reply, then the job. What a second attempt says again is passed over; raises when it says
    something else, for what was sent can't be taken back."""
    sent = spoken = ""
    async for item in steps:
        if isinstance(item, Job):
            if item.state != "succeeded":
                raise failure(item)
            if not spoken.startswith(sent):
                raise _broken(steps)
            yield item
        elif item.event == LOST:
            raise _broken(steps)
        elif item.event == "start":
            spoken = ""
        elif item.event == "delta":
            spoken += str(item.data["text"])
            if not sent.startswith(spoken) and not spoken.startswith(sent):
                raise _broken(steps)
            if len(spoken) > len(sent):
                yield spoken[len(sent) :]
                sent = spoken


def _broken(steps: Steps) -> MiloError:
    return MiloError(f"the reply was cut off, and begun anew by another worker (job {steps.job_id})", code="cut_off")
