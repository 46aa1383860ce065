"""Flower as the stack runs it: its login, what its refusals say, the rules for browsers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flower.api import BaseApiHandler
from flower.app import Flower
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.options import options

from milo.queue.celery import app
from milo.settings import Settings
from milo.stack.flower import say_which_setting, set_login
from milo.stack.ports import free_port
from milo.stack.services import all_services, listens
from milo.stack.supervisor import program
from tests.support.servers import ROOT, environment, wait_until


@pytest.fixture(scope="module")
def flower(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    home = tmp_path_factory.mktemp("flower")
    settings = Settings(home=home, redis_url=redis_url, flower_port=port, _env_file=None)
    service = next(service for service in all_services(settings) if service.name == "flower")
    command = [*program(service.command[0]), *service.command[1:]]
    assert command[0] == sys.executable
    with open(home / "said", "wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(settings), stdout=said, stderr=said)
    try:
        wait_until(lambda: listens("127.0.0.1", port) or process.poll() is not None, "Flower did not start", 60)
        assert process.poll() is None, Path(home / "said").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_flower_answers_to_this_machines_names_alone(flower: str) -> None:
    assert httpx.get(f"{flower}/healthcheck", trust_env=False).status_code == 200
    for path in ("/healthcheck", "/", "/tasks", "/api/workers", "/static/css/flower.css", "/nothing"):
        foreign = httpx.get(f"{flower}{path}", headers={"Host": "evil.example:5556"}, trust_env=False)
        assert foreign.status_code == 421 and "MILO_ALLOWED_HOSTS" in foreign.text, path


def test_a_page_of_another_origin_changes_nothing_in_flower(flower: str) -> None:
    address = f"{flower}/api/worker/shutdown/some-worker"
    foreign = httpx.post(address, headers={"Origin": "https://evil.example"}, trust_env=False)
    assert foreign.status_code == 403 and "MILO_CORS_ORIGINS" in foreign.text
    assert httpx.post(address, trust_env=False).status_code == 401, "Flower's own answer"


@pytest.fixture
def own_prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseApiHandler, "prepare", BaseApiHandler.prepare)
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "")
    monkeypatch.delenv("FLOWER_BASIC_AUTH")


async def ask(path: str) -> httpx.Response:
    server = HTTPServer(Flower(capp=app, options=options))
    (socket,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([socket])
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{socket.getsockname()[1]}{path}")
    server.stop()
    return answer


def test_a_closed_api_names_the_setting_that_opens_it(own_prepare: None) -> None:
    say_which_setting()
    answer = asyncio.run(ask("/api/workers"))
    assert answer.status_code == 401
    assert "MILO_FLOWER_PASSWORD" in answer.text and "FLOWER_UNAUTHENTICATED" not in answer.text


def test_the_password_of_the_settings_is_flowers_login(own_prepare: None) -> None:
    set_login(Settings(_env_file=None))
    assert "FLOWER_BASIC_AUTH" not in os.environ
    set_login(Settings(flower_password="of-flower", _env_file=None))
    assert os.environ["FLOWER_BASIC_AUTH"] == "milo:of-flower"
