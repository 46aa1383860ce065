"""Which names a server answers to, and which pages may change anything."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from milo.browsers import BrowserRules, ForeignHost
from milo.errors import Forbidden
from milo.settings import Settings


def rules(bound: str = "127.0.0.1", **values: Any) -> BrowserRules:
    return BrowserRules(Settings(_env_file=None, **values), bound)


def asked_as(host: str, rules: BrowserRules) -> bool:
    try:
        rules.check("GET", {"host": [host]})
    except ForeignHost as error:
        assert "MILO_ALLOWED_HOSTS" in error.detail
        return False
    return True


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST", "localhost.", "milo.localhost:1", "127.0.0.1:8000", "127.9.9.9"]
    + ["[::1]:8000", "[::1]", socket.gethostname(), f"{socket.gethostname()}:8000"],
)
def test_this_machine_answers_to_its_own_names(host: str) -> None:
    assert asked_as(host, rules())


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost", "", "x"]
    + ["192.0.2.7:8000", "[2001:db8::1]:8000", "0x7f.1", "localhost:8000@evil.example", "localhost/evil.example"],
)
def test_a_foreign_name_is_refused(host: str) -> None:
    assert not asked_as(host, rules())


def test_names_of_the_setting_count_and_those_below_only_with_a_star() -> None:
    own = rules(allowed_hosts=["milo.example.org", "*.inside.example"])
    assert asked_as("milo.example.org:443", own) and asked_as("MILO.example.org", own)
    assert asked_as("a.inside.example", own)
    assert not asked_as("inside.example", own) and not asked_as("a.milo.example.org", own)
    assert asked_as("evil.example", rules(allowed_hosts=["*"]))


def test_who_listens_on_all_addresses_is_asked_by_any_address_and_by_no_foreign_name() -> None:
    for bound in ("0.0.0.0", "::"):
        assert asked_as("192.168.1.7:8000", rules(bound)) and asked_as("[2001:db8::1]:8000", rules(bound))
        assert not asked_as("evil.example", rules(bound))
    assert asked_as("192.168.1.7:8000", rules("192.168.1.7")) and not asked_as("192.168.1.8", rules("192.168.1.7"))


def test_of_two_hosts_each_counts() -> None:
    with pytest.raises(ForeignHost):
        rules().check("GET", {"host": ["localhost", "evil.example"]})


def may_change(rules: BrowserRules, method: str | None = "POST", **headers: str) -> bool:
    sent = {"host": ["localhost:8000"]} | {name.replace("_", "-"): [value] for name, value in headers.items()}
    try:
        rules.check(method, sent)
    except Forbidden as error:
        assert error.code == "foreign_origin" and "MILO_CORS_ORIGINS" in error.detail
        return False
    return True


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", None])
def test_only_programs_and_own_pages_change_anything(method: str | None) -> None:
    assert may_change(rules(), method), "no browser sent this"
    assert may_change(rules(), method, origin="http://localhost:8000")
    assert may_change(rules(), method, origin="https://milo.example.org", sec_fetch_site="same-origin"), (
        "behind a proxy"
    )
    for origin in ("https://evil.example", "http://localhost:5173", "http://127.0.0.1:8000", "null", "file://", ""):
        assert not may_change(rules(), method, origin=origin), origin
    for site in ("cross-site", "same-site"):
        assert not may_change(rules(), method, sec_fetch_site=site)


def test_reading_is_left_to_what_browsers_do_about_it() -> None:
    assert all(may_change(rules(), method, origin="https://evil.example") for method in ("GET", "HEAD", "OPTIONS"))


def test_origins_of_the_setting_may_change_things() -> None:
    own = rules(cors_origins=["https://app.example", "null"])
    assert may_change(own, origin="https://app.example", sec_fetch_site="cross-site") and may_change(own, origin="null")
    assert not may_change(own, origin="https://evil.example")
    assert may_change(rules(cors_origins=["*"]), origin="https://evil.example")
    assert may_change(rules(), origin="http://localhost:8000".upper().lower())


def test_a_proxy_that_keeps_the_name_needs_nothing_more() -> None:
    sent = {"host": ["milo.example.org"], "origin": ["https://milo.example.org"]}
    rules(allowed_hosts=["milo.example.org"]).check("POST", sent)
