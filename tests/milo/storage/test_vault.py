"""Secrets in the ledger are of no use to who has the ledger alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from milo.errors import Unavailable
from milo.ledger import Ledger
from milo.ledger.keys import Keys
from milo.settings import Settings
from milo.storage.vault import seal, unseal
from milo.webhooks.signing import secrets_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", api_key="k", _env_file=None)


def test_a_text_is_read_with_its_own_key_and_label_alone(settings: Settings, tmp_path: Path) -> None:
    sealed = seal(settings, "key_1", "whsec_abc")
    assert "abc" not in sealed and unseal(settings, "key_1", sealed) == "whsec_abc"
    assert unseal(settings, "key_1", "whsec_clear") == "whsec_clear", "of an earlier Milo"
    changed = sealed[:5] + ("A" if sealed[5] != "A" else "B") + sealed[6:]
    other = settings.model_copy(update={"home": tmp_path / "other"})
    for one, label, content in ((other, "key_1", sealed), (settings, "key_2", sealed), (settings, "key_1", changed)):
        with pytest.raises(Unavailable, match="MILO_LEDGER_KEY"):
            unseal(one, label, content)
    named = settings.model_copy(update={"ledger_key": "the same on all machines"})
    elsewhere = other.model_copy(update={"ledger_key": "the same on all machines"})
    assert unseal(elsewhere, "key_1", seal(named, "key_1", "whsec_abc")) == "whsec_abc"


def test_no_webhook_secret_lies_in_the_ledger_in_clear_text(settings: Settings) -> None:
    ledger = Ledger.open(settings)
    made = Keys(ledger.engine, settings).create("bot")
    with ledger.engine.begin() as tx:  # as an earlier Milo has left it
        tx.execute(text("update api_keys set webhook_secret = 'whsec_old' where name = 'bot'"))
    ledger.engine.dispose()
    ledger = Ledger.open(settings)
    assert secrets_of(settings, ledger.engine, "bot") == ["whsec_old"]
    made = Keys(ledger.engine, settings).create("other")
    assert secrets_of(settings, ledger.engine, "other") == [made.webhook_secret]
    ledger.engine.dispose()
    with sqlite3.connect(settings.home / "ledger.sqlite3") as raw:
        assert not [row for row in raw.execute("select webhook_secret from api_keys") if "whsec" in row[0]]
