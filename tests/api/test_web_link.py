"""The link that hands the web page a key: once, soon, and on this machine."""

from __future__ import annotations

import hashlib
import logging

import httpx
import pytest
import redis

from milo.queue import once
from milo.settings import Settings
from tests.api.conftest import People, problem


def exchange(url: str, ticket: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/api/v1/web/keys", json={"once": ticket}, headers=headers, trust_env=False)


def test_a_link_counts_once_and_brings_a_key_that_ends(client: httpx.Client, url: str, people: People) -> None:
    ticket = client.post("/web/links").json()["once"]
    answer = exchange(url, ticket)
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made["name"] == "web" and set(made["scopes"]) == {"read", "write", "admin"} and made["expires_at"]
    problem(exchange(url, ticket), 401, "used_link")
    with people.with_secret(made["secret"]) as page:
        assert page.get("/keys/current").json()["id"] == made["id"]
        assert client.delete(f"/keys/{made['id']}").status_code == 200
        problem(page.get("/jobs"), 401, "wrong_key")


@pytest.mark.parametrize("ticket", ["", "wrong", "a" * 200, "\ud800", "../../x"])
def test_a_wrong_link_brings_nothing(ticket: str, shared_url: str) -> None:
    body = b'{"once": "\\ud800"}' if ticket == "\ud800" else None
    if body:
        sent = httpx.post(
            f"{shared_url}/api/v1/web/keys", content=body, headers={"Content-Type": "application/json"}, trust_env=False
        )
        assert sent.status_code in (400, 401, 422)
        return
    problem(exchange(shared_url, ticket), 401, "used_link")


def test_a_link_is_of_no_use_elsewhere_nor_to_pages_of_others(client: httpx.Client, url: str) -> None:
    ticket = client.post("/web/links").json()["once"]
    # uvicorn believes a proxy on this machine about where a request comes from
    problem(exchange(url, ticket, **{"X-Forwarded-For": "203.0.113.7"}), 403)
    problem(exchange(url, ticket, Origin="https://evil.example"), 403, "foreign_origin")
    problem(exchange(url, ticket, Host="evil.example"), 421, "foreign_host")
    assert exchange(url, ticket).status_code == 201, "none of these has used it up"


def test_only_an_administrator_makes_links(people: People) -> None:
    with people.client("bot", "read", "write") as bot:
        problem(bot.post("/web/links"), 403, "missing_scope")


def test_a_link_ends_by_itself_and_redis_holds_its_digest_alone(settings: Settings, redis_client: redis.Redis) -> None:
    ticket = once.make_ticket(settings)
    name = f"milo:once:{hashlib.sha256(ticket.encode()).hexdigest()}"
    assert 0 < int(redis_client.ttl(name)) <= once.TTL_S
    assert ticket.encode() not in b"".join(redis_client.scan_iter("*"))
    redis_client.delete(name)  # as when its time is over
    assert not once.use_ticket(settings, ticket)


def test_the_ticket_is_in_no_log(client: httpx.Client, url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ticket = client.post("/web/links").json()["once"]
    secret = exchange(url, ticket).json()["secret"]
    written = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpcore"))
    assert ticket not in written and secret not in written
