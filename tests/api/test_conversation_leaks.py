"""Fifty conversations at once, clients that vanish, that stop reading, that stay silent; and what is left of them."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_sync

from api.conversation import socket as socket_module
from milo.ledger import Ledger
from milo.settings import Settings
from tests.api.conftest import KEY
from tests.support.conversation_worker import Worker, address, calling, silence, speech, without_partials, working
from tests.support.servers import api_in_thread, api_process, wait_until

SOCKETS = 50
HEADERS = {"Authorization": f"Bearer {KEY}"}
UTTERANCE = silence(0.2) + speech(4) + silence(0.9)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return without_partials(settings)


@pytest.fixture
def worker(settings: Settings, ledger: Ledger) -> Iterator[Worker]:
    with working(settings, ledger) as worker:
        yield worker


async def _until(connection: ClientConnection, kind: str) -> None:
    while json.loads(await connection.recv())["type"] != kind:
        pass


async def _open(url: str) -> ClientConnection:
    connection = await connect(address(url), additional_headers=HEADERS, proxy=None, max_size=None)
    await _until(connection, "session")
    return connection


async def _turn(connection: ClientConnection, vanish: bool) -> None:
    for start in range(0, len(UTTERANCE), 3200):
        await connection.send(UTTERANCE[start : start + 3200])
    await _until(connection, "reply_audio")
    if vanish:
        connection.transport.abort()
    else:
        await _until(connection, "turn_end")
        await connection.close()


async def _all(url: str) -> None:
    """A turn in every one of the conversations; every other client vanishes in the middle of the reply."""
    connections = await asyncio.gather(*(_open(url) for _ in range(SOCKETS)))
    await asyncio.gather(*(_turn(one, number % 2 == 1) for number, one in enumerate(connections)))


def _left(ledger: Ledger) -> int:
    return sum(count for states in ledger.counts().values() for count in states.values())


@pytest.mark.timeout(170)
def test_fifty_conversations_leave_no_socket_and_no_memory(
    settings: Settings, worker: Worker, ledger: Ledger, redis_client: redis.Redis
) -> None:
    with api_process(settings) as (url, process):
        server = psutil.Process(process.pid)
        counted: list[dict[str, Any]] = []
        for _ in range(3):
            asyncio.run(_all(url))
            wait_until(lambda: _left(ledger) == 0, "jobs of clients that have gone are still there")
            wait_until(lambda: not _open_sockets(server, url), "sockets are still open")
            counted.append(
                {
                    "files": server.num_fds(),
                    "threads": server.num_threads(),
                    "memory": server.memory_info().rss,
                    "redis": len([one for one in redis_client.client_list() if one["cmd"] != "client|list"]),
                }
            )
    # the first round loads modules and fills pools, which later ones may fill a little more; a hundred conversations
    # that each left one thing behind would show as a hundred
    few = SOCKETS / 2
    assert counted[2]["files"] <= counted[0]["files"] + few, counted
    assert counted[2]["threads"] <= counted[0]["threads"] + few, counted
    assert counted[2]["redis"] <= counted[0]["redis"] + few, counted
    assert counted[2]["memory"] <= counted[0]["memory"] + 30e6, counted
    assert not list(settings.home.glob("incoming/*"))


def _open_sockets(server: psutil.Process, url: str) -> list[Any]:
    port = int(url.rsplit(":", 1)[1])
    return [one for one in server.net_connections() if one.laddr.port == port and one.status == "ESTABLISHED"]


def _tasks() -> list[asyncio.Task[Any]]:
    return [one for one in gc.get_objects() if type(one) is asyncio.Task and not one.done()]


def _waiters(url_settings: Settings) -> int:
    from milo.queue.events import WakeUps

    return sum(len(one._waiters) for one in gc.get_objects() if type(one) is WakeUps)


def test_no_task_outlives_its_conversation(settings: Settings, worker: Worker) -> None:
    with api_in_thread(settings) as url:
        with calling(url, KEY) as caller:
            caller.next()
        wait_until(lambda: not [task for task in _tasks() if "run_asgi" in repr(task)], "the socket's task goes on")
        before = len(_tasks())
        worker.go_on.clear()
        for number in range(6):
            with calling(url, KEY) as caller:
                caller.next()
                caller.say(UTTERANCE)
                caller.until("reply_audio")
                if number % 2:
                    caller.connection.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: len(_tasks()) <= before, "tasks are left behind")
        assert _waiters(settings) == 0


def test_a_client_that_does_not_read_loses_its_socket(
    settings: Settings, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "SEND_STALL_S", 0.5)
    worker.sentence_s = 200
    with api_in_thread(settings) as url:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        with connect_sync(
            address(url), sock=slow, additional_headers=HEADERS, proxy=None, max_size=None, max_queue=1, close_timeout=1
        ) as connection:
            connection.send(json.dumps({"type": "text", "text": "Salama"}))
            wait_until(lambda: not [task for task in _tasks() if "run_asgi" in repr(task)], "the server waits for it")
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    connection.recv(timeout=20)
            assert closed.value.rcvd is None, "it was cut off"


def test_a_conversation_in_which_nothing_is_said_is_closed(settings: Settings) -> None:
    brief = settings.model_copy(update={"conversation_idle_s": 0.5})
    with api_in_thread(brief) as url, calling(url, KEY) as caller:
        caller.next()
        caller.say(silence(20))
        assert caller.closed()[0] == 4408


def test_a_stopping_server_closes_with_1012_and_cancels_what_was_going_on(settings: Settings, worker: Worker) -> None:
    worker.go_on.clear()
    with api_in_thread(settings) as url:
        calls = calling(url, KEY)
        caller = calls.__enter__()
        caller.say(UTTERANCE)
        caller.until("reply_audio")
    assert caller.closed()[0] == 1012
    calls.__exit__(None, None, None)
    assert [job.state for job in worker.done()] == ["cancelled"]


def test_only_so_many_conversations_are_open(settings: Settings, tmp_path: Path) -> None:
    from tests.api.test_conversation import refused

    few = settings.model_copy(update={"conversation_sockets": 2})
    with api_in_thread(few) as url:
        with calling(url, KEY) as one, calling(url, KEY) as two:
            assert one.next()["type"] == two.next()["type"] == "session"
            answer = refused(address(url), additional_headers=HEADERS)
            assert answer.status_code == 503 and answer.json()["code"] == "too_many_conversations"
            assert "Retry-After" in answer.headers

        def accepted() -> bool:
            try:
                with calling(url, KEY) as three:
                    return three.next()["type"] == "session"
            except Exception:
                return False

        wait_until(accepted, "places are not given back")
