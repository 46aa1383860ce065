"""A message keeps its place in the line of its session until its job has ended, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import pytest

from milo.chat.sessions import Sessions
from milo.errors import EngineError
from milo.jobs import Job, NewJob
from milo.kinds.chat import ChatPayload
from milo.ledger import Ledger
from milo.protocols import Message
from milo.settings import Settings
from milo.storage.files import Files
from workers import engines
from workers.parked import PARKED_JOBS
from workers.runner import Runner


class Parrot:
    """A chat model that says the message again, and stumbles as often as it is told to."""

    name = "parrot@1"

    def __init__(self, stumbles: int = 0) -> None:
        self.stumbles = stumbles

    def reply(self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.7) -> Iterator[str]:
        yield messages[-1].content
        if self.stumbles:
            self.stumbles -= 1
            raise EngineError("stumbled")
        yield "!"


@pytest.fixture
def house(settings: Settings) -> Settings:
    return settings.model_copy(update={"slice_s": 0.0})


@pytest.fixture
def ledger(house: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(house)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def runner(house: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Runner:
    with_model(monkeypatch, Parrot())
    return Runner(house, ledger, Files(house), "gpu/0")


def with_model(monkeypatch: pytest.MonkeyPatch, model: Parrot) -> None:
    monkeypatch.setattr(engines, "chat_sources", lambda settings: {"local": lambda: nullcontext(model)})


def message(ledger: Ledger, session_id: str | None = None) -> Job:
    sessions = Sessions(ledger.settings)
    session_id = sessions.open("ana", session_id).id
    payload = ChatPayload(message="Salama", session_id=session_id, ticket=sessions.take("ana", session_id))
    return ledger.create(NewJob(kind="chat", payload=payload.model_dump(), owner="ana", priority="interactive"))


def run_to_its_end(runner: Runner, ledger: Ledger, job: Job) -> Job:
    for _ in range(20):
        if (now := ledger.get(job.id)).final:
            return now
        ledger.clock = lambda due_at=now.due_at or 0.0: max(due_at, now.created_at)
        runner.run(job.id)
    raise AssertionError("it does not end")


def test_more_messages_than_can_be_parked_give_way_and_all_are_answered(runner: Runner, ledger: Ledger) -> None:
    jobs = [message(ledger) for _ in range(PARKED_JOBS + 3)]
    for job in jobs:
        assert runner.run(job.id) == "slice ended"
    for job in jobs:
        ended = run_to_its_end(runner, ledger, job)
        assert (ended.state, (ended.result or {}).get("reply")) == ("succeeded", "Salama!"), ended.error
        assert len(Sessions(ledger.settings).get("ana", str(job.payload["session_id"])).exchanges) == 1


def test_a_message_whose_model_stumbled_is_answered_at_the_second_try(
    runner: Runner, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model(monkeypatch, Parrot(stumbles=1))
    ended = run_to_its_end(runner, ledger, message(ledger))
    assert (ended.state, ended.attempt) == ("succeeded", 2), ended.error


def test_a_message_that_fails_for_good_lets_the_next_one_through(
    runner: Runner, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model(monkeypatch, Parrot(stumbles=3))
    failed = message(ledger)
    following = message(ledger, str(failed.payload["session_id"]))
    assert run_to_its_end(runner, ledger, failed).state == "failed"
    assert is_first(ledger, following)


def test_a_message_that_is_cancelled_while_it_is_answered_lets_the_next_one_through(
    runner: Runner, house: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = message(ledger)
    following = message(ledger, str(cancelled.payload["session_id"]))

    class Endless(Parrot):
        def reply(self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.7) -> Iterator[str]:
            ledger.cancel(cancelled.id)
            while True:
                yield "a"

    with_model(monkeypatch, Endless())
    runner.settings = house.model_copy(update={"slice_s": 60.0})
    runner.run(cancelled.id)
    assert ledger.get(cancelled.id).state == "cancelled" and is_first(ledger, following)


def is_first(ledger: Ledger, job: Job) -> bool:
    return Sessions(ledger.settings).renew("ana", str(job.payload["session_id"]), int(job.payload["ticket"]))
