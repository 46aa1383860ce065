"""Claude through the `anthropic` SDK: optional, quick to give up, so that the local model answers instead.

A call has `first_token_s` from the start (name lookup and TLS included) to the first piece of text. A circuit breaker
remembers a service that is away. Until the first piece every failure is a `ModelUnavailable`: nothing was said yet,
and somebody else may answer. Knows nothing of who does. Protocol: https://platform.claude.com/docs/en/api/messages-streaming
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from milo.chat.cloud_key import usable_key
from milo.engines.chat.breaker import Breaker
from milo.errors import ContextExceeded, EngineError, MiloError, ModelUnavailable, ModelUnusable
from milo.protocols import Message
from milo.settings import Settings

STALL_S = 15.0
"""An answer that has begun and brings nothing for this long is cut."""
OPEN_S = 30.0
KEY_OPEN_S = 600.0
"""After the key, the account or the model's name was refused: that does not mend itself in seconds."""
LONGEST_RETRY_AFTER_S = 300.0

_FINISHED = ("end_turn", "max_tokens", "stop_sequence")
"""Why an answer may end, be it empty."""
_REFUSED = {
    401: "it refused the key: set ANTHROPIC_API_KEY to a valid one, or leave it empty",
    402: "the account has no credit left",
    403: "the key may not use it",
    404: "it has no such model: set MILO_CLAUDE_MODEL to one of its models",
}


class Claude:
    """`ChatModel` over the Messages API. Keep one for a process: its breaker and connections live as long."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `ModelUnavailable` for a placeholder key, or when the SDK is not installed."""
        if not usable_key(settings.anthropic_api_key):
            raise ModelUnusable("Claude is off: ANTHROPIC_API_KEY is empty or a placeholder", code="cloud_off")
        try:
            import anthropic
        except ImportError as error:
            raise ModelUnusable(
                "the package anthropic is not installed: pip install 'milo-voice[chat]'", code="cloud_off"
            ) from error
        self.name = settings.claude_model
        self.breaker = Breaker(open_s=OPEN_S, clock=clock)
        self._first_token_s = settings.first_token_s
        self._client = anthropic.Anthropic(
            api_key=(settings.anthropic_api_key or "").strip(),
            base_url=settings.anthropic_base_url,
            max_retries=0,  # the local model is quicker than a second try
            timeout=anthropic.Timeout(STALL_S, connect=settings.first_token_s),
        )

    def reply(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.7,
        top_p: float | None = None,
        json_schema: str | None = None,
        whole: bool = False,
    ) -> Iterator[str]:
        """Pieces of the answer. Closing the iterator ends the request.

        `temperature`, `top_p` are not sent: the current models take no sampling parameters. `whole`: nothing is ever
        left out. Raises before the first piece `ContextExceeded`, or `ModelUnavailable` (`cloud_open`, `cloud_slow`,
        `cloud_down`, `cloud_refused`); `EngineError` after it.
        """
        if not self.breaker.allow():
            raise ModelUnavailable(
                "Claude failed a moment ago and is left alone for now",
                code="cloud_open",
                retry_after_s=self.breaker.wait_s(),
            )
        if json_schema is not None:
            rule = f"Answer with JSON alone, without a fence around it. Its schema: {json_schema}"
            messages = [*messages, Message("system", rule)]
        call = _Call(self._client, _request(self.name, messages, max_tokens))
        reported = False
        try:
            for piece in call.pieces(self._first_token_s):
                if not reported:
                    reported = True
                    self.breaker.success()
                yield piece
        except _Failure as failure:
            if failure.counts:
                self.breaker.failure(failure.open_s)
                reported = True
            raise failure.error from failure.__cause__
        finally:
            call.stop()
            if not reported:
                self.breaker.release()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _request(model: str, messages: Sequence[Message], max_tokens: int) -> dict[str, object]:
    """The body of a request. System turns move to `system`; blank turns are left out, the API refuses them."""
    system = "\n\n".join(
        message.content for message in messages if message.role == "system" and message.content.strip()
    )
    turns = [message for message in messages if message.role != "system" and message.content.strip()]
    while turns and turns[0].role != "user":
        turns = turns[1:]
    body: dict[str, object] = {
        "model": model,
        "max_tokens": max_tokens,
        "messages": [{"role": turn.role, "content": _utf8(turn.content)} for turn in turns],
        "stream": True,
    }
    if system:
        body["system"] = _utf8(system)
    if "haiku" in model:
        # Haiku thinks unless told not to, and the first word would come too late; larger models may refuse this
        # https://platform.claude.com/docs/en/build-with-claude/thinking
        body["thinking"] = {"type": "disabled"}
    return body


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # half of a surrogate pair can't be sent


class _Failure(Exception):
    """Why a call failed, and what the breaker should know of it."""

    def __init__(self, error: MiloError, *, counts: bool = True, open_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.counts = counts
        self.open_s = open_s


@dataclass(frozen=True)
class _End:
    stop_reason: str | None


class _Call:
    """One request, read by a thread of its own: no single time-out of a socket bounds the time to the first token."""

    def __init__(self, client: Any, body: dict[str, object]) -> None:
        self._client = client
        self._body = body
        self._arrived: queue.SimpleQueue[str | _End | Exception] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._response: Any = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="claude", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        reason = None
        try:
            with self._client.messages.create(**self._body) as events:
                self._response = events.response
                if self._stopped.is_set():
                    return
                for event in events:
                    if event.type == "content_block_delta" and event.delta.type == "text_delta" and event.delta.text:
                        self._arrived.put(event.delta.text)
                    elif event.type == "message_delta":
                        reason = event.delta.stop_reason or reason
                    elif event.type == "message_stop":
                        self._ended = True
                        self._arrived.put(_End(reason))
            if not self._ended:
                self._arrived.put(ConnectionError("the stream ended in the middle"))
        except Exception as error:  # whatever it is, the one who waits must hear of it
            self._arrived.put(error)

    def pieces(self, first_token_s: float) -> Iterator[str]:
        """Text as it arrives. Raises `_Failure`."""
        deadline = time.monotonic() + first_token_s
        said = 0
        while True:
            try:
                item = self._arrived.get(timeout=STALL_S if said else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                if said:
                    raise _Failure(_cut(said, f"nothing came for {STALL_S:g} s")) from None
                slow = f"Claude did not begin to answer within {first_token_s:g} s"
                raise _Failure(ModelUnavailable(slow, code="cloud_slow")) from None
            if isinstance(item, str):
                said += len(item)
                yield item
            elif isinstance(item, _End):
                if not said and item.stop_reason not in _FINISHED:
                    raise _Failure(_nothing(item.stop_reason), counts=False)
                self._thread.join(0.1)  # the connection is back in the pool before the next call
                return
            elif said:
                raise _Failure(_cut(said, str(item))) from item
            else:
                raise _failure(item) from item

    def stop(self) -> None:
        """Hang up, unless the message has ended: a connection that is whole serves the next call."""
        self._stopped.set()
        if self._response is not None and not self._ended:
            stream = self._response.extensions.get("network_stream")
            with contextlib.suppress(OSError, AttributeError):  # it was closed in this very moment
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _cut(said: int, why: str) -> EngineError:
    return EngineError(f"Claude's answer was cut after {said} characters: {why}", code="reply_cut")


def _nothing(stop_reason: str | None) -> ModelUnavailable:
    word = "refused to answer" if stop_reason == "refusal" else f"gave an empty answer ({stop_reason})"
    return ModelUnusable(f"Claude {word}", code="cloud_refused")


def _failure(error: Exception) -> _Failure:
    """What an error before the first piece means."""
    status = getattr(error, "status_code", None)
    if status is None:
        return _Failure(
            ModelUnavailable(f"Claude can't be reached: {error or type(error).__name__}", code="cloud_down")
        )
    words = getattr(error, "api_message", None) or str(error)
    kind = getattr(error, "type", None) or "error"
    if status in _REFUSED:
        problem: ModelUnavailable = ModelUnusable(
            f"Claude: {_REFUSED[status]} ({status} {kind}: {words})", code="cloud_refused"
        )
        return _Failure(problem, open_s=KEY_OPEN_S)
    if status == 413 or (status == 400 and "too long" in words):
        return _Failure(ContextExceeded(f"Claude can't read so much: {words}"), counts=False)
    if status in (400, 422):
        return _Failure(ModelUnusable(f"Claude refused: {status} {kind}: {words}", code="cloud_refused"), counts=False)
    retry_after_s = _retry_after_s(error)
    problem = ModelUnavailable(
        f"Claude answered {status} {kind}: {words}", code="cloud_down", retry_after_s=retry_after_s
    )
    return _Failure(problem, open_s=retry_after_s)


def _retry_after_s(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return min(LONGEST_RETRY_AFTER_S, max(1.0, float(headers["retry-after"])))
    except (KeyError, ValueError):
        return None
