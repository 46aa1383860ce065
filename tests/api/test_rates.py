"""How often: by key, by address, and for those who guess keys."""

from __future__ import annotations

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api.app import create_app
from api.http.rates import address_of
from milo.errors import Invalid
from milo.ledger import Ledger
from milo.ledger.keys import Keys
from milo.settings import Settings
from tests.api.conftest import KEY, problem
from tests.support.servers import api_in_thread


def from_address(address: str, secret: str | None = KEY) -> dict[str, str]:
    """Headers of a request that comes through a proxy on this machine, which uvicorn believes."""
    return {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {secret}"} if secret else {})


def ask(base: str, address: str, secret: str | None = KEY, path: str = "/api/v1/jobs") -> httpx.Response:
    return httpx.get(base + path, headers=from_address(address, secret), trust_env=False)


def test_an_address_is_limited_whatever_its_key(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"address_rate_limit": "3/minute"})) as base:
        asked = [ask(base, "203.0.113.7", secret) for secret in (KEY, None, "wrong", KEY)]
        assert [answer.status_code for answer in asked] == [200, 401, 401, 429]
        assert "203.0.113.7" in problem(asked[3], 429, "rate_limited")["detail"]
        assert ask(base, "203.0.113.7", None, "/docs").status_code == 429
        assert ask(base, "203.0.113.8").status_code == 200
        assert ask(base, "127.0.0.1").status_code == 200, "this machine is not counted"


def test_an_ipv6_customer_is_one_address(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"address_rate_limit": "1/minute"})) as base:
        assert ask(base, "2001:db8:1:2::1").status_code == 200
        assert ask(base, "2001:db8:1:2:ffff::9").status_code == 429
        assert ask(base, "2001:db8:1:3::1").status_code == 200


def test_who_guesses_keys_is_stopped_and_who_works_there_is_not(settings: Settings, ledger: Ledger) -> None:
    bot, other = (Keys(ledger.engine, settings).create(name).secret for name in ("bot", "other"))
    with api_in_thread(settings.model_copy(update={"wrong_key_limit": "5/minute"})) as base:
        assert ask(base, "203.0.113.7", bot).status_code == 200
        guesses = [ask(base, "203.0.113.7", f"guess-{n}") for n in range(7)]
        assert [answer.status_code for answer in guesses] == [401] * 5 + [429] * 2
        problem(guesses[6], 429, "too_many_wrong_keys")
        assert 1 <= int(guesses[6].headers["retry-after"]) <= 61
        assert ask(base, "203.0.113.7", KEY).status_code == 429, "a right guess would not be told from a wrong one"
        assert ask(base, "203.0.113.7", other).status_code == 429
        assert ask(base, "203.0.113.7", bot).status_code == 200, "it was let in before"
        assert ask(base, "203.0.113.8", other).status_code == 200
        assert ask(base, "203.0.113.7", None, "/api/v1/health").status_code == 200
        url = f"{base.replace('http', 'ws')}/api/v1/conversation"
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(url, proxy=None, additional_headers=from_address("203.0.113.7")),
        ):
            pass
        assert refused.value.response.status_code == 429


def test_a_request_without_a_key_is_no_guess(settings: Settings) -> None:
    with api_in_thread(settings.model_copy(update={"wrong_key_limit": "1/minute"})) as base:
        assert [ask(base, "203.0.113.7", None).status_code for _ in range(3)] == [401] * 3
        assert ask(base, "203.0.113.7").status_code == 200


@pytest.mark.parametrize("name", ["address_rate_limit", "wrong_key_limit"])
def test_a_senseless_limit_is_refused_at_the_start(name: str, settings: Settings) -> None:
    with pytest.raises(Invalid, match=f"MILO_{name.upper()}"):
        create_app(settings.model_copy(update={name: "often"}))


@pytest.mark.parametrize(
    ("client", "whose"),
    [(None, None), (("127.0.0.1", 1), None), (("::1", 1), None), (("::ffff:127.0.0.1", 1), None)]
    + [(("198.51.100.4", 1), "198.51.100.4"), (("::ffff:198.51.100.4", 1), "198.51.100.4")]
    + [(("2001:db8::5", 1), "2001:db8::/64"), (("testclient", 1), "testclient")],
)
def test_whom_a_request_counts_to(client: tuple[str, int] | None, whose: str | None) -> None:
    assert address_of({"type": "http", "client": client}) == whose
