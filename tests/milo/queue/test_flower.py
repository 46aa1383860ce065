"""Flower's API: who is not let in learns which of Milo's settings is meant."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest
from flower.api import BaseApiHandler
from flower.app import Flower
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.options import options

from milo.queue.celery import app
from milo.queue.flower import say_which_setting, set_login
from milo.settings import Settings


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_closed_api_names_the_setting_that_opens_it() -> None:
    say_which_setting()
    answer = asyncio.run(ask("/api/workers"))
    assert answer.status_code == 401
    assert "MILO_FLOWER_PASSWORD" in answer.text and "FLOWER_UNAUTHENTICATED" not in answer.text


def test_the_password_of_the_settings_is_flowers_login() -> None:
    set_login(Settings(_env_file=None))
    assert "FLOWER_BASIC_AUTH" not in os.environ
    set_login(Settings(flower_password="of-flower", _env_file=None))
    assert os.environ["FLOWER_BASIC_AUTH"] == "milo:of-flower"
