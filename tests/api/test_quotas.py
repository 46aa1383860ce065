"""What one key may have: each quota answers 429 and says itself; the usage is shown; others have theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner
from sqlalchemy import update
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from milo.cli import cli
from milo.ledger import Ledger
from milo.ledger.database import writing
from milo.ledger.keys import Keys
from milo.ledger.schema import jobs
from milo.queue.places import Places, counts
from milo.quotas import QuotaExceeded
from milo.settings import Settings
from tests.api.conftest import People
from tests.api.test_problems import problem
from tests.support.servers import api_in_thread

FEW = {
    **{"key_sockets": 1, "key_streams": 1, "key_stored_bytes": 1300, "key_queued_audio_s": 60, "key_compute_s": 100},
    **{"key_requests": 12, "key_quotas": {"many": {"sockets": 2, "requests": 0, "stored_bytes": 0}}},
}


@pytest.fixture
def people(settings: Settings, ledger: Ledger) -> Iterator[People]:
    few = settings.model_copy(update=FEW)
    with api_in_thread(few) as base:
        yield People(base, Keys(ledger.engine, few))


def exceeded(answer: httpx.Response, quota: str, limit: float) -> dict[str, Any]:
    """The problem document of a quota, complete."""
    document = problem(answer, 429, "quota_exceeded")
    assert document["quota"] == quota and document["limit"] == limit and document["used"] <= limit
    assert document["frees_at"].endswith("Z") and int(answer.headers["retry-after"]) >= 1
    return document


def used(client: httpx.Client) -> dict[str, float]:
    return {one["quota"]: one["used"] for one in client.get("/usage").json()["quotas"]}


def test_uploads_of_one_key_are_bounded_and_the_same_bytes_count_once(people: People) -> None:
    ana, ben = people.client("ana"), people.client("ben")
    for _ in range(2):
        assert ana.post("/blobs", content=b"a" * 600).status_code == 201
    exceeded(ana.post("/blobs", content=b"b" * 800), "stored_bytes", 1300)
    assert ana.post("/blobs", content=b"c" * 700).status_code == 201
    exceeded(ana.post("/blobs", content=b"d"), "stored_bytes", 1300)
    assert ben.post("/blobs", content=b"b" * 600).status_code == 201
    assert people.client("many").post("/blobs", content=b"e" * 2000).status_code == 201
    assert used(ana)["stored_bytes"] == 1300
    resumable = {"Tus-Resumable": "1.0.0", "Upload-Length": "1301"}
    exceeded(people.client("eva").post("/uploads", headers=resumable), "stored_bytes", 1300)


def test_requests_are_bounded_by_the_minute_and_the_answer_says_when_to_come_again(people: People) -> None:
    ana = people.client("ana")
    answers = [ana.get("/jobs") for _ in range(14 + 12)]  # a minute may end in between
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and exceeded(refused[0], "requests", 12)
    assert people.client("ben").get("/jobs").status_code == 200
    many = people.client("many")
    assert all(many.get("/jobs").status_code == 200 for _ in range(14))


@pytest.mark.parametrize(
    ("column", "state", "quota", "limit"),
    [
        ("audio_s", "queued", "queued_audio_s", 60),
        ("compute_s", "succeeded", "compute_s", 100),
    ],
)
def test_audio_that_waits_and_computing_of_a_day_are_bounded(
    people: People, ledger: Ledger, column: str, state: str, quota: str, limit: float
) -> None:
    ana = people.client("ana")
    job_id = ana.post("/jobs", json={"kind": "ping"}).json()["id"]
    ended = {"finished_at": ledger.clock()} if state == "succeeded" else {}
    with writing(ledger.engine) as tx:
        tx.execute(update(jobs).where(jobs.c.id == job_id).values({column: limit, "state": state, **ended}))
    with api_in_thread(ledger.settings.model_copy(update=FEW)) as other:  # a process that has counted nothing yet
        again = httpx.Client(base_url=f"{other}/api/v1", headers=ana.headers, trust_env=False)
        exceeded(again.post("/jobs", json={"kind": "ping"}), quota, limit)
        assert used(again)[quota] == limit
        ben = httpx.Client(base_url=f"{other}/api/v1", headers=people.client("ben").headers, trust_env=False)
        assert ben.post("/jobs", json={"kind": "ping"}).status_code == 202


def test_sockets_of_one_key_leave_room_for_others(people: People, settings: Settings) -> None:
    ws = people.url.replace("http", "ws") + "/api/v1/conversation"
    heads = {name: {"Authorization": f"Bearer {people.key(name).secret}"} for name in ("ana", "ben", "many")}
    with ExitStack() as opened:

        def dial(name: str) -> None:
            opened.enter_context(connect(ws, additional_headers=heads[name], proxy=None))

        dial("ana")
        with pytest.raises(InvalidStatus) as refused:
            dial("ana")
        assert refused.value.response.status_code == 429 and b"quota_exceeded" in refused.value.response.body
        for name in ("ben", "many", "many"):
            dial(name)
        assert counts(settings, "ana")["sockets"] == 1 and counts(settings, "many")["sockets"] == 2


def test_event_streams_are_counted_while_they_are_open(people: People) -> None:
    ana = people.client("ana")
    job_id = ana.post("/jobs", json={"kind": "ping"}).json()["id"]
    with ana.stream("GET", f"/jobs/{job_id}/events") as stream:
        lines = stream.iter_lines()  # kept: without it the stream is closed
        next(lines)
        exceeded(ana.get(f"/jobs/{job_id}/events"), "streams", 1)
        assert used(ana)["streams"] == 1


def test_the_operator_has_no_quota_and_sees_those_of_all(people: People, settings: Settings) -> None:
    people.client("ana").post("/blobs", content=b"a" * 600)
    operator = people.with_secret(settings.api_key)
    assert all(operator.get("/jobs").status_code == 200 for _ in range(30))
    assert {one["limit"] for one in operator.get("/usage").json()["quotas"]} == {None}
    (ana,) = operator.get("/keys/usage").json()["items"]
    stored = next(one for one in ana["quotas"] if one["quota"] == "stored_bytes")
    assert ana["key"] == "ana" and stored["used"] == 600 and stored["limit"] == 1300
    problem(people.client("ben").get("/keys/usage"), 403)
    env = {"MILO_HOME": str(settings.home), "MILO_REDIS_URL": settings.redis_url}
    shown = CliRunner().invoke(cli, ["keys", "usage", "--json"], env=env)
    assert {one["key"] for one in json.loads(shown.output)} == {"ana", "ben"}


# --- places, over several processes ----------------------------------------------------------------------------------


def together(settings: Settings, work: Callable[[Places, Places], Awaitable[None]]) -> None:
    """Two API processes' places."""

    async def run() -> None:
        first, second = Places(settings), Places(settings)
        try:
            await work(first, second)
        finally:
            await first.stop()
            await second.stop()

    asyncio.run(run())


def test_processes_count_together_and_a_killed_one_frees_its_places(
    settings: Settings, redis_client: redis.Redis
) -> None:
    def let_leases_end() -> None:
        places = "milo:quota:sockets:ana"
        assert redis_client.zadd(places, dict.fromkeys(redis_client.zrange(places, 0, -1), 1), xx=True, ch=True) == 1
        assert counts(settings, "ana")["sockets"] == 0

    async def work(first: Places, second: Places) -> None:
        killed = first.hold("sockets", "ana")
        await killed.__aenter__()  # and nobody renews it
        with pytest.raises(QuotaExceeded):
            async with second.hold("sockets", "ana"):
                pass
        async with second.hold("sockets", "ben"):
            pass
        let_leases_end()
        await first.renew()
        assert counts(settings, "ana")["sockets"] == 1, "it lives, and its place comes back"
        let_leases_end()
        async with second.hold("sockets", "ana"):
            assert counts(settings, "ana")["sockets"] == 1
        assert counts(settings, "ana")["sockets"] == 0

    together(settings.model_copy(update={"key_sockets": 1}), work)


def test_requests_of_all_processes_are_added_up_without_asking_redis_for_each(settings: Settings) -> None:
    async def work(first: Places, second: Places) -> None:
        for places in (first, second):
            for _ in range(3):
                places.request("ana")
            await places.add_up()
        for _ in range(4):
            second.request("ana")
        with pytest.raises(QuotaExceeded) as refused:
            second.request("ana")
        assert refused.value.used == 10
        second.request("ben")

    together(settings.model_copy(update={"key_requests": 10}), work)


def test_without_redis_each_process_counts_its_own(settings: Settings) -> None:
    async def work(first: Places, _: Places) -> None:
        async with first.hold("streams", "ana"):
            with pytest.raises(QuotaExceeded):
                async with first.hold("streams", "ana"):
                    pass
        async with first.hold("streams", "ana"):
            pass

    together(settings.model_copy(update={"key_streams": 1, "redis_url": "redis://127.0.0.1:9/0"}), work)


def test_a_quota_that_does_not_exist_is_refused_with_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILO_KEY_QUOTAS", '{"ana": {"socket": 1}}')
    with pytest.raises(ValueError, match="there is no quota socket; there are sockets, streams"):
        Settings(_env_file=None)
