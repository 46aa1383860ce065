"""API keys in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from milo.errors import Conflict, Invalid, NotFound
from milo.ledger import Ledger
from milo.ledger.keys import CACHE_KEYS, CACHE_S, MAX_SECRET, Keys
from milo.ledger.schema import api_keys
from milo.settings import Settings
from milo.webhooks.signing import secrets_of


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(Settings(home=tmp_path, api_key="operators-own", _env_file=None))
    yield opened
    opened.engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(ledger: Ledger, clock: Clock) -> Keys:
    return Keys(ledger.engine, ledger.settings, clock)


def test_a_key_opens_with_its_secret_only(keys: Keys) -> None:
    made = keys.create("bot", ["read"])
    found = keys.verify(made.secret)
    assert found and found.name == "bot" and found.may("read") and not found.may("write")
    assert keys.verify(made.secret + "x") is None
    assert keys.verify("") is None
    assert keys.verify("x" * (MAX_SECRET + 1)) is None


def test_the_secret_is_nowhere_in_the_database(keys: Keys, ledger: Ledger) -> None:
    made = keys.create("bot")
    for path in ledger.settings.home.glob("ledger.sqlite3*"):
        assert made.secret.encode() not in path.read_bytes()
    with ledger.engine.connect() as connection:
        row = connection.execute(select(api_keys)).one()
    assert made.secret not in str(row) and len(row.digest) == 64


def test_the_operators_key_may_do_everything(keys: Keys) -> None:
    operator = keys.verify("operators-own")
    assert operator and operator.owner is None and all(operator.may(scope) for scope in ("read", "write", "admin"))


def test_only_an_administrator_sees_everybodys_jobs(keys: Keys) -> None:
    assert keys.create("bot").key.owner == "bot"
    assert keys.create("boss", ["admin"]).key.owner is None
    assert keys.create("boss-2", ["admin"]).key.may("write")


def test_an_expired_key_is_wrong(keys: Keys, clock: Clock) -> None:
    made = keys.create("guest", expires_at=clock.now + 60)
    assert keys.verify(made.secret)
    clock.now += 61
    assert keys.verify(made.secret) is None


def test_a_revoked_key_is_wrong_at_once_here_and_soon_elsewhere(keys: Keys, ledger: Ledger, clock: Clock) -> None:
    made = keys.create("bot")
    elsewhere = Keys(ledger.engine, ledger.settings, clock)
    assert keys.verify(made.secret) and elsewhere.verify(made.secret)
    revoked = keys.revoke("bot")
    assert revoked.revoked_at == clock.now
    assert keys.verify(made.secret) is None
    clock.now += CACHE_S + 0.1
    assert elsewhere.verify(made.secret) is None


def test_a_key_rotates_with_overlap_and_keeps_its_jobs_and_signatures(keys: Keys, ledger: Ledger) -> None:
    old, new = keys.create("bot"), keys.create("bot")
    assert keys.verify(old.secret) and keys.verify(new.secret)
    assert set(secrets_of(ledger.settings, ledger.engine, "bot")) == {old.webhook_secret, new.webhook_secret}
    with pytest.raises(Conflict, match=old.key.id):
        keys.revoke("bot")
    keys.revoke(old.key.id)
    assert keys.verify(old.secret) is None and keys.verify(new.secret)
    assert secrets_of(ledger.settings, ledger.engine, "bot") == [new.webhook_secret]


def test_revoking_what_is_not_there_says_so(keys: Keys) -> None:
    with pytest.raises(NotFound, match="nobody"):
        keys.revoke("nobody")


@pytest.mark.parametrize("name", ["", "two words", "a\n", "é", "operator", "x" * 65, "../up", "a\0"])
def test_a_name_that_can_not_be_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(Invalid):
        keys.create(name)


def test_scopes_and_expiry_are_checked(keys: Keys, clock: Clock) -> None:
    for scopes in ([], ["root"], ["read", "everything"]):
        with pytest.raises(Invalid, match="read, write, admin"):
            keys.create("bot", scopes)
    with pytest.raises(Invalid, match="expired before"):
        keys.create("bot", expires_at=clock.now - 1)


def test_the_list_shows_every_key_and_no_secret(keys: Keys) -> None:
    made = keys.create("bot")
    keys.create("gone")
    keys.revoke("gone")
    listed = keys.list()
    assert [(key.name, key.revoked_at is None) for key in listed] == [("bot", True), ("gone", False)]
    assert made.secret not in repr(listed) and made.webhook_secret not in repr(listed)
    assert listed[0].document()["scopes"] == ["read", "write"]


def test_the_cache_of_verified_keys_is_bounded(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milo.ledger.keys.CACHE_KEYS", 2)
    assert CACHE_KEYS > 2
    secrets = [keys.create(f"bot-{number}").secret for number in range(3)]
    assert all(keys.verify(secret) for secret in secrets)
    assert [keys.verify_cached(secret) is not None for secret in secrets] == [False, True, True]
