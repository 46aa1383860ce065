"""Whatever parses a stranger's bytes leaves the loop, a few at once: the loop turns while it is parsed."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from api.http import bodies, deps
from api.http.deps import in_parser
from api.requests import training
from milo import recipes, yaml_text
from milo.errors import BadRequest, MiloError
from milo.kinds.tts import TtsInput

WAIT_S = 30.0


def request(body: bytes, content_type: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


READERS: tuple[tuple[str, bytes, Callable[[Request], Awaitable[object]], Any, str], ...] = (
    ("application/yaml", b"a: 1:1:1", training.read, recipes, "from_yaml"),
    ("application/json", b'{"a": 1}', training.read, training, "from_json"),
    ("application/json", b'{"text": "a"}', lambda r: bodies.read_json(r, TtsInput), bodies, "parse_json"),
)


@pytest.mark.parametrize(("kind", "body", "read", "module", "parser"), READERS)
def test_the_loop_turns_while_a_body_is_parsed(
    kind: str, body: bytes, read: Any, module: Any, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parser that waits for the loop: on the loop it would wait for ever."""
    turned, real, parsed = threading.Event(), getattr(module, parser), []

    def parse(*args: Any) -> Any:
        parsed.append(turned.wait(WAIT_S))
        return real(*args)

    monkeypatch.setattr(module, parser, parse)

    async def main() -> None:
        async def answer_health() -> None:
            turned.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_health)
            try:
                await read(request(body.ljust(bodies.SMALL_BYTES + 1), kind))
            except MiloError:
                pass

    anyio.run(main)
    assert parsed == [True], "the loop stood still, or nothing was parsed"


def test_only_a_few_are_parsed_at_once_and_threads_are_left_for_others() -> None:
    started: list[int] = []
    full, go = threading.Event(), threading.Event()

    def parse(number: int) -> None:
        started.append(number)
        if len(started) == deps.PARSERS:
            full.set()
        assert go.wait(WAIT_S)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(in_parser, parse, number)
            assert await deps.in_thread(full.wait, WAIT_S)
            assert await deps.in_thread(lambda: "the ledger answers") and len(started) == deps.PARSERS
            go.set()

    anyio.run(main)
    assert len(started) == 20


def test_a_recipe_of_yaml_is_bounded_before_it_is_read() -> None:
    body = b"a: " + b"1:" * yaml_text.MAX_YAML_BYTES
    with pytest.raises(BadRequest, match="bytes is not read"):
        anyio.run(training.read, request(body, "application/yaml"))


@pytest.mark.parametrize("disposition", [b"form-data" + b"; a=b" * 700, b"form-data; name=x" + b" " * 3000])
def test_a_head_of_a_form_is_bounded(disposition: bytes) -> None:
    body = b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\nx\r\n--b--\r\n"

    async def read() -> None:
        async for part in bodies.Multipart(request(body, "multipart/form-data; boundary=b"), 4).parts():
            await part.text()

    with pytest.raises(BadRequest, match="2048"):
        anyio.run(read)
    with pytest.raises(BadRequest, match="2048"):
        bodies.Multipart(request(b"", "multipart/form-data; boundary=b" + "; a=b" * 700), 4)
