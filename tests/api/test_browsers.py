"""A hostile page in the operator's browser: a name of its own for this server, and requests from its origin."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from milo.settings import Settings
from tests.api.conftest import KEY, problem, raw
from tests.milo.monitoring.test_monitor import monitor
from tests.support.servers import api_in_thread

EVIL = "https://evil.example"


@pytest.mark.parametrize(
    "path", ["/api/v1/health", "/api/v1/jobs", "/", "/docs", "/openapi.json", "/metrics", "/nothing"]
)
def test_a_foreign_name_of_the_api_is_refused_whoever_asks(path: str, shared_url: str) -> None:
    headers = {"Host": "evil.example:8000", "Authorization": f"Bearer {KEY}"}
    refused = problem(httpx.get(f"{shared_url}{path}", headers=headers, trust_env=False), 421, "foreign_host")
    assert "MILO_ALLOWED_HOSTS" in refused["detail"] and "'evil.example:8000'" in refused["detail"]


def test_openais_paths_say_it_in_their_own_shape(shared_url: str) -> None:
    answer = httpx.get(f"{shared_url}/v1/models", headers={"Host": "evil.example"}, trust_env=False)
    assert answer.status_code == 421 and "MILO_ALLOWED_HOSTS" in answer.json()["error"]["message"]


def test_a_client_that_names_no_host_is_no_browser(shared_url: str) -> None:
    assert raw(shared_url, b"GET /api/v1/health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_page_of_another_origin_changes_nothing_with_whatever_key(client: httpx.Client) -> None:
    for headers in ({"Origin": EVIL}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        problem(client.post("/jobs", json={"kind": "ping"}, headers=headers), 403, "foreign_origin")
        problem(client.delete("/jobs/some-id", headers=headers), 403, "foreign_origin")
    assert client.get("/jobs").json()["items"] == []
    assert client.post("/jobs", json={"kind": "ping"}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202


def test_a_page_of_an_allowed_origin_changes_what_its_key_may(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"cors_origins": ["https://app.example"]})) as base:
        headers = {"Origin": "https://app.example", "Authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{base}/api/v1/jobs", json={"kind": "ping"}, headers=headers, trust_env=False)
        assert answer.status_code == 202 and answer.headers["access-control-allow-origin"] == "https://app.example"


def refused(url: str, **how: Any) -> int:
    with pytest.raises(InvalidStatus) as caught, connect(url, proxy=None, **how):
        pass
    return caught.value.response.status_code


def test_no_page_of_another_origin_opens_a_conversation(shared_url: str) -> None:
    address = f"{shared_url.replace('http', 'ws')}/api/v1/conversation"
    key = {"subprotocols": ["milo.v1", f"milo.bearer.{KEY}"]}
    assert refused(address, origin=EVIL, **key) == 403
    assert refused(address, origin="null", **key) == 403
    assert refused(address, additional_headers={"Host": "evil.example"}, **key) in (400, 421)
    with connect(address, origin=shared_url, proxy=None, **key) as own:
        assert own.subprotocol == "milo.v1"
    with connect(address, proxy=None, **key) as no_browser:
        assert no_browser.subprotocol == "milo.v1"


def test_the_status_port_has_the_same_rules(settings: Settings) -> None:
    with monitor(settings) as base:
        foreign = httpx.get(f"{base}/status", headers={"Host": "evil.example"}, trust_env=False)
        problem(foreign, 421, "foreign_host")
        headers = {"Origin": EVIL, "Authorization": f"Bearer {KEY}"}
        problem(
            httpx.post(f"{base}/fix", json={"problem": "x"}, headers=headers, trust_env=False), 403, "foreign_origin"
        )
        assert httpx.get(f"{base}/status", trust_env=False).status_code == 200
