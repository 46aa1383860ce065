"""Claude: streamed, bounded before the first token, and left alone while it is away. The server is a real one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from milo.chat.cloud_key import usable_key
from milo.engines.chat.breaker import Breaker
from milo.engines.chat.claude import KEY_OPEN_S, OPEN_S, Claude
from milo.errors import EngineError, MiloError, ModelUnavailable
from milo.protocols import Message
from milo.settings import Settings
from tests.support.claude_server import KEY, ClaudeServer, Handler, claude_server

HELLO = [Message("system", "You are Milo."), Message("user", "Salama!")]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def server() -> Iterator[ClaudeServer]:
    with claude_server() as running:
        yield running


def claude(server: ClaudeServer, clock: Clock | None = None, **changes: Any) -> Claude:
    given = {"anthropic_api_key": KEY, "anthropic_base_url": server.url, "first_token_s": 20, **changes}
    return Claude(Settings(_env_file=None, **given), **({"clock": clock} if clock else {}))


def ask(model: Claude, messages: list[Message] = HELLO) -> str:
    return "".join(model.reply(messages, max_tokens=64))


def failing_with(model: Claude) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        ask(model)
    return str(caught.value.code)


def test_an_answer_comes_in_the_pieces_that_were_sent(server: ClaudeServer) -> None:
    assert list(claude(server).reply(HELLO, max_tokens=64)) == ["Salama", "!", " Milo", " aho."]


def test_the_request_has_the_system_prompt_apart_and_no_thinking(server: ClaudeServer) -> None:
    ask(claude(server))
    (sent,) = server.requests
    assert sent["model"] == "claude-haiku-5-5"
    assert sent["system"] == "You are Milo."
    assert sent["messages"] == [{"role": "user", "content": "Salama!"}]
    assert sent["thinking"] == {"type": "disabled"}
    assert sent["max_tokens"] == 64
    assert "temperature" not in sent


def test_blank_turns_a_leading_reply_and_half_characters_are_not_sent_as_they_are(server: ClaudeServer) -> None:
    turns = [
        Message("assistant", "earlier"),
        Message("user", "a\ud83d"),
        Message("assistant", " "),
        Message("user", "b"),
    ]
    ask(claude(server), turns)
    assert server.requests[0]["messages"] == [{"role": "user", "content": "a?"}, {"role": "user", "content": "b"}]


def test_the_first_piece_arrives_while_the_rest_is_still_being_written(server: ClaudeServer) -> None:
    def halting(handler: Handler) -> None:
        handler.begin()
        handler.text("Voalohany. ")
        server.release.wait(30)
        handler.text("Faharoa.")
        handler.end()

    server.answer = halting
    pieces = claude(server).reply(HELLO, max_tokens=64)
    assert next(pieces) == "Voalohany. "
    server.release.set()
    assert list(pieces) == ["Faharoa."]


def test_a_slow_first_token_is_given_up_although_the_connection_lives(server: ClaudeServer) -> None:
    def pinging(handler: Handler) -> None:
        handler.begin()
        while not server.release.wait(0.02):
            handler.event("ping")

    server.answer = pinging
    assert failing_with(claude(server, first_token_s=0.3)) == "cloud_slow"
    assert server.client_left.wait(10), "the connection was kept although nobody reads it"


def test_a_finished_answer_leaves_its_connection_to_the_next_one(server: ClaudeServer) -> None:
    ports = []

    def noting(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        handler.say("Eny.")

    server.answer = noting
    model = claude(server)
    assert [ask(model), ask(model)] == ["Eny."] * 2
    assert ports[0] == ports[1]


def test_closing_the_iterator_ends_the_request(server: ClaudeServer) -> None:
    def endless(handler: Handler) -> None:
        handler.begin()
        while not server.release.wait(0.01):
            handler.text("la ")

    server.answer = endless
    pieces = claude(server).reply(HELLO, max_tokens=64)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert server.client_left.wait(10)


@pytest.mark.parametrize("status, kind", [(529, "overloaded_error"), (500, "api_error"), (429, "rate_limit_error")])
def test_a_busy_service_is_unavailable_and_asked_once_only(server: ClaudeServer, status: int, kind: str) -> None:
    server.answer = lambda handler: handler.refuse(status, kind, "not now")
    assert failing_with(claude(server)) == "cloud_down"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "status, kind, words, code, retryable",
    [
        (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000", "context_length_exceeded", False),
        (413, "request_too_large", "Request exceeds the maximum size", "context_length_exceeded", False),
        (400, "invalid_request_error", "temperature: unexpected", "cloud_refused", False),
    ],
)
def test_what_will_be_refused_again_is_not_tried_again_and_opens_no_circuit(
    server: ClaudeServer, status: int, kind: str, words: str, code: str, retryable: bool
) -> None:
    server.answer = lambda handler: handler.refuse(status, kind, words)
    model = claude(server)
    for _ in range(4):
        with pytest.raises(MiloError) as caught:
            ask(model)
        assert (caught.value.code, caught.value.retryable) == (code, retryable) and words in caught.value.detail
    assert model.breaker.state == "closed"


def test_an_error_event_before_the_first_token_is_unavailable(server: ClaudeServer) -> None:
    def overloaded(handler: Handler) -> None:
        handler.begin()
        handler.event("error", error={"type": "overloaded_error", "message": "Overloaded"})

    server.answer = overloaded
    with pytest.raises(ModelUnavailable, match="overloaded_error"):
        ask(claude(server))


def test_an_answer_cut_in_the_middle_says_how_much_was_said(server: ClaudeServer) -> None:
    server.answer = lambda handler: handler.say_and_cut("Sala", "ma")
    pieces = claude(server).reply(HELLO, max_tokens=64)
    assert [next(pieces), next(pieces)] == ["Sala", "ma"]
    with pytest.raises(EngineError, match="after 6 characters") as caught:
        next(pieces)
    assert caught.value.code == "reply_cut"


def test_a_stream_that_ends_politely_without_the_end_of_the_message_is_cut_too(server: ClaudeServer) -> None:
    def polite(handler: Handler) -> None:
        handler.begin()
        handler.text("Salama")
        handler.wfile.write(b"0\r\n\r\n")

    server.answer = polite
    with pytest.raises(EngineError, match="ended in the middle"):
        ask(claude(server))


def test_a_stream_of_rubbish_is_unavailable(server: ClaudeServer) -> None:
    def rubbish(handler: Handler) -> None:
        handler.begin()
        handler.wfile.write(b"1a\r\nevent: message_start\ndata: {\r\n0\r\n\r\n")

    server.answer = rubbish
    assert failing_with(claude(server)) == "cloud_down"


def test_an_empty_answer_is_an_answer(server: ClaudeServer) -> None:
    server.answer = lambda handler: (handler.begin(), handler.end("end_turn"))[1]
    assert ask(claude(server)) == ""


def test_a_refusal_is_not_an_answer_and_not_an_outage(server: ClaudeServer) -> None:
    def refusal(handler: Handler) -> None:
        handler.begin()
        handler.end("refusal")

    server.answer = refusal
    model = claude(server)
    for _ in range(5):
        assert failing_with(model) == "cloud_refused"
    assert model.breaker.state == "closed"


def test_a_wrong_key_is_not_tried_again_for_minutes(server: ClaudeServer) -> None:
    clock = Clock()
    model = claude(server, clock, anthropic_api_key="sk-ant-api03-not-the-key-of-the-server")
    with pytest.raises(ModelUnavailable, match="ANTHROPIC_API_KEY"):
        ask(model)
    clock.now_s = KEY_OPEN_S - 1
    assert failing_with(model) == "cloud_open"
    assert len(server.requests) == 1


def test_no_network_is_unavailable_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        model = Claude(Settings(_env_file=None, anthropic_api_key=KEY, anthropic_base_url=url, first_token_s=20))
        assert failing_with(model) == "cloud_down"


def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    url = "http://no-such-host.invalid"
    model = Claude(Settings(_env_file=None, anthropic_api_key=KEY, anthropic_base_url=url, first_token_s=20))
    assert failing_with(model) == "cloud_down"


def test_three_failures_open_the_circuit_and_one_trial_closes_it(server: ClaudeServer) -> None:
    clock = Clock()
    model = claude(server, clock)
    good = server.answer
    server.answer = lambda handler: handler.refuse(529, "overloaded_error", "Overloaded")
    assert [failing_with(model) for _ in range(4)] == ["cloud_down"] * 3 + ["cloud_open"]
    assert len(server.requests) == 3
    clock.now_s += OPEN_S
    assert model.breaker.state == "half_open"
    assert failing_with(model) == "cloud_down"
    assert failing_with(model) == "cloud_open"
    clock.now_s += OPEN_S
    server.answer = good
    assert ask(model) == "Salama! Milo aho."
    assert model.breaker.state == "closed"


def test_retry_after_is_honoured(server: ClaudeServer) -> None:
    clock = Clock()
    model = claude(server, clock)
    server.answer = lambda handler: handler.refuse(429, "rate_limit_error", "slow down", retry_after="7")
    assert failing_with(model) == "cloud_down"
    clock.now_s = 6.9
    assert failing_with(model) == "cloud_open"
    clock.now_s = 7.0
    assert failing_with(model) == "cloud_down"


@pytest.mark.parametrize(
    "key",
    [None, "", "   ", "sk-ant-xxxxx", "sk-ant-XXXXXXXX", "sk-ant-...", "change-me", "changeme-please", "<your key>"]
    + [
        "your-api-key-here",
        "sk-ant-your_key",
        "none",
        "placeholder",
        "insert-key-here",
        "sk-ant-*****",
        "sk-ant-é12345",
    ],
)
def test_a_placeholder_key_is_never_tried(server: ClaudeServer, key: str | None) -> None:
    assert not usable_key(key)
    with pytest.raises(ModelUnavailable) as caught:
        claude(server, anthropic_api_key=key)
    assert caught.value.code == "cloud_off"
    assert server.requests == []


def test_a_key_that_looks_real_is_used() -> None:
    assert usable_key(KEY)
    assert usable_key(" sk-ant-api03-Ab3_x-Yz09QmTnLrWvKx2 \n")


# --- the breaker alone ----------------------------------------------------------------------------------------------


def test_only_one_trial_goes_through_a_half_open_circuit() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, open_s=10, clock=clock)
    breaker.failure()
    clock.now_s = 10
    assert [breaker.allow(), breaker.allow()] == [True, False]
    breaker.release()
    assert breaker.allow()


def test_a_trial_that_never_reports_does_not_block_the_circuit_for_ever() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, open_s=10, clock=clock)
    breaker.failure()
    clock.now_s = 10
    assert breaker.allow()
    clock.now_s = 20
    assert breaker.allow()


def test_failures_count_only_in_a_row() -> None:
    breaker = Breaker(failures=2, clock=Clock())
    for _ in range(5):
        breaker.failure()
        breaker.success()
    assert breaker.state == "closed"
