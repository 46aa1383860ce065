"""Every door: each route of the real router refuses who has no key, a wrong one, or one without the scope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api import web
from api.app import create_app
from milo.ledger import Ledger
from milo.settings import Settings
from tests.api.conftest import KEY, People, problem, raw

OPEN = {*(f"{method} {path}" for method in ("GET", "HEAD") for path in ("/", "/redoc"))} | {
    "GET /api/v1/health",
    "GET /docs",
    "GET /openapi.json",
    "HEAD /openapi.json",
    "MOUNT /docs/assets",
    "POST /api/v1/web/keys",
    *(f"GET {path}" for path in web.ROOT_FILES),
    *(f"GET {folder}{{name}}" for folder in web.FOLDERS),
    *(f"GET {screen}{rest}" for screen in web.SCREENS for rest in ("", "/{rest}")),
}
"""All that a stranger may have: signs of life, documentation and a client that are public with the source, and a key
for a link that counts once (`test_web_link.py`)."""
ADMIN = {
    "POST /api/v1/web/links",
    "GET /api/v1/keys",
    "POST /api/v1/keys",
    "DELETE /api/v1/keys/{which}",
    "GET /api/v1/keys/usage",
}
ADMIN |= {
    "POST /api/v1/systems/{name}/runs",
    "POST /api/v1/models/{name}/deploy",
    "POST /api/v1/models/{name}/rollback",
}
ADMIN |= {
    "GET /api/v1/fix/history",
    "GET /api/v1/fix/{fix_id}",
    "GET /fix/history",
    "GET /fix/{fix_id}",
    "POST /api/v1/fix",
    "POST /fix",
}


class Door(NamedTuple):
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def place(self) -> str:
        """The path with something in the place of each parameter."""
        return re.sub(r"\{[^}]*\}", "some-id", self.path)

    @property
    def scope(self) -> str:
        if str(self) in ADMIN:
            return "admin"
        return "read" if self.method in ("GET", "HEAD") else "write"


def walk(routes: list[Any], prefix: str = "") -> Iterator[Door]:
    """Every route of the router, those of included routers too. A new kind of route fails here."""
    for route in routes:
        if included := getattr(route, "original_router", None):
            yield from walk(included.routes, prefix + route.include_context.prefix)
        elif isinstance(route, Mount):
            yield Door("MOUNT", prefix + route.path)
        elif methods := getattr(route, "methods", None):
            path = prefix + re.sub(r":\w+}", "}", route.path)
            yield from (Door(method, path) for method in sorted(methods))
        else:
            assert type(route).__name__ == "APIWebSocketRoute", route
            yield Door("WS", prefix + route.path)


APP = create_app(Settings(home=Path("/nowhere"), api_key=KEY, _env_file=None))
DOORS = sorted(set(walk(APP.routes)))
CLOSED = [door for door in DOORS if str(door) not in OPEN and door.method != "WS"]
SOCKETS = [door for door in DOORS if door.method == "WS"]


def test_the_walk_finds_what_the_documentation_lists_and_more() -> None:
    documented = {
        Door(method.upper(), path) for path, methods in APP.openapi()["paths"].items() for method in methods
    } - {Door("GET", "/api/v1/conversation")}
    assert documented <= set(DOORS) and len(documented) > 30
    assert {str(door) for door in DOORS} >= OPEN | ADMIN | {"GET /metrics"}
    assert [door.path for door in SOCKETS] == ["/api/v1/conversation"]


@pytest.mark.parametrize("door", CLOSED, ids=str)
def test_a_closed_route_refuses_a_stranger_and_a_wrong_key(door: Door, shared_url: str) -> None:
    with httpx.Client(base_url=shared_url, trust_env=False) as client:
        for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + KEY}):
            answer = client.request(door.method, door.place, headers=sent)
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
        assert client.request(door.method, f"{door.place}?api_key={KEY}").status_code == 401, "a key in a URL is none"


def test_a_closed_route_refuses_a_key_without_its_scope(people: People) -> None:
    looker, writer, both = (people.key(name, *scopes).secret for name, *scopes in LACKING)
    lacks = {"read": writer, "write": looker, "admin": both}
    with httpx.Client(base_url=people.url, trust_env=False) as client:
        for door in CLOSED:
            if str(door) == "GET /api/v1/keys/current":
                continue  # tells any valid key about itself
            headers = {"Authorization": f"Bearer {lacks[door.scope]}"}
            answer = client.request(door.method, door.place, headers=headers)
            assert answer.status_code == 403, f"{door} lets a key in that lacks {door.scope!r}: {answer.text}"
            if not door.path.startswith("/v1/") and door.method != "HEAD":
                assert f"'{door.scope}'" in problem(answer, 403, "missing_scope")["detail"]


LACKING = (("looker", "read"), ("writer", "write"), ("both", "read", "write"))


@pytest.mark.parametrize("door", SOCKETS, ids=str)
def test_a_socket_refuses_a_stranger_a_wrong_key_and_a_missing_scope(door: Door, people: People) -> None:
    url = people.url.replace("http", "ws") + door.place
    looker = people.key("looker", "read").secret
    for sent, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": looker}, 401)):
        assert refused(url, additional_headers=sent) == status
    assert refused(url, additional_headers={"Authorization": f"Bearer {looker}"}) == 403
    assert refused(url, subprotocols=["milo.v1", f"milo.bearer.{looker}"]) == 403
    assert refused(f"{url}?api_key=wrong") == 401 and refused(f"{url}?api_key={looker}") == 403


def refused(url: str, **how: Any) -> int:
    with pytest.raises(InvalidStatus) as caught, connect(url, proxy=None, **how):
        pass
    return caught.value.response.status_code


@pytest.mark.parametrize(
    "path",
    ["/status", "/metrics/", "//metrics", "/API/v1/jobs", "/api", "/v1", "/api/v1/health/x", "/docsx", "/monitors"]
    + ["/api/v1/health/../jobs", "/docs/../metrics", "/docs/assets/../../metrics", "/%61pi/v1/jobs", "/flower"]
    + ["/assets", "/icons/../metrics", "/admin/../metrics", "/assets/../api/v1/jobs", "/web_client/index.html"],
)
def test_a_path_that_nobody_named_is_closed(path: str, shared_url: str) -> None:
    """A route that is added without a thought about keys is closed, and so are odd spellings of a known one."""
    answer = raw(shared_url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 "), answer


def test_two_keys_of_one_name_overlap_while_they_are_rotated(people: People, ledger: Ledger) -> None:
    old = people.key("bot")
    with people.with_secret(old.secret) as before:
        job_id = before.post("/jobs", json={"kind": "ping"}).json()["id"]
        new = people.key("bot")
        with people.with_secret(new.secret) as after:
            assert after.get(f"/jobs/{job_id}").status_code == before.get(f"/jobs/{job_id}").status_code == 200
            people.keys.revoke(old.key.id)
            assert after.get(f"/jobs/{job_id}").json()["owner"] == "bot"
    assert people.keys.verify(old.secret) is None, "the old one is dead at once where it was revoked"
