"""Chat sessions over HTTP: one's own are listed, read and forgotten; another's do not exist."""

from __future__ import annotations

import httpx

from milo.chat.sessions import Exchange, Sessions
from milo.settings import Settings
from tests.api.conftest import People, problem


def test_sessions_are_listed_read_and_forgotten(client: httpx.Client, settings: Settings) -> None:
    sessions = Sessions(settings)
    assert client.get("/sessions").json() == {"items": []}
    sessions.open("operator", "first")
    sessions.open("operator", "second")
    sessions.append("operator", "first", Exchange(user="Salama", reply="Salama tompoko", mode="local", language="mg"))
    listed = client.get("/sessions").json()["items"]
    assert {one["id"] for one in listed} == {"first", "second"} and "exchanges" not in listed[0]
    found = client.get("/sessions/first").json()
    assert [(one["user"], one["reply"], one["mode"]) for one in found["exchanges"]] == [
        ("Salama", "Salama tompoko", "local")
    ]
    assert found["expires_at"] > found["updated_at"] >= found["created_at"] and found["exchanges"][0]["at"]
    assert client.delete("/sessions/first").status_code == 204
    problem(client.get("/sessions/first"), 404, "no_session")
    problem(client.delete("/sessions/first"), 404, "no_session")
    problem(client.get("/sessions/no%20id"), 422, "bad_session_id")


def test_another_keys_session_does_not_exist(client: httpx.Client, settings: Settings, people: People) -> None:
    Sessions(settings).open("operator", "mine")
    with people.client("somebody-else") as other:
        assert other.get("/sessions").json() == {"items": []}
        problem(other.get("/sessions/mine"), 404, "no_session")
        problem(other.delete("/sessions/mine"), 404, "no_session")
    with people.client("reader", "read") as reader:
        problem(reader.delete("/sessions/mine"), 403, "missing_scope")
