"""The key that is kept in MILO_HOME: made once, for the owner alone, and sent to no other machine."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from milo.cli.up import _banner
from milo.client import Milo
from milo.client.client import key_for
from milo.errors import Unauthorized
from milo.ledger import Ledger
from milo.ledger.keys import Keys
from milo.settings import DEVELOPMENT_KEY, Settings
from milo.storage.secrets import API_KEY, known_operator_key, operator_key


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("MILO_API_KEY", "API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Settings(home=tmp_path / "home", _env_file=None)


def test_the_key_of_a_home_is_random_kept_and_private(settings: Settings) -> None:
    assert known_operator_key(settings) == ""
    key = operator_key(settings)
    assert key == operator_key(settings) == known_operator_key(settings)
    assert len(key) > 40 and key != operator_key(settings.model_copy(update={"home": settings.home / "other"}))
    path = settings.secrets_folder / API_KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(settings.home.stat().st_mode) == 0o700


def test_without_a_setting_the_constant_opens_nothing(settings: Settings) -> None:
    keys = Keys(Ledger.open(settings).engine, settings)
    assert keys.verify(DEVELOPMENT_KEY) is None and keys.verify("") is None
    key = keys.verify(operator_key(settings))
    assert key is not None and key.may("admin")


def test_the_key_of_this_home_goes_to_this_machine_alone(settings: Settings) -> None:
    key = operator_key(settings)
    for ours in ("http://localhost:8000", "http://127.0.0.1:9", "http://[::1]:8000"):
        assert key_for(settings, ours) == key
    for theirs in ("https://milo.example.org", "http://localhost.evil.example", "http://192.0.2.7:8000"):
        assert key_for(settings, theirs) == ""
    assert key_for(settings.model_copy(update={"host": "192.0.2.7"}), "http://192.0.2.7:8000") == key
    assert key_for(settings.model_copy(update={"api_key": "k"}), "https://milo.example.org") == "k"


def test_a_client_without_a_key_says_where_to_get_one(redis_url: str, tmp_path: Path) -> None:
    from tests.support.servers import api_in_thread

    with api_in_thread(Settings(home=tmp_path, redis_url=redis_url, _env_file=None)) as url:
        with Milo(url, "", patience_s=0) as client, pytest.raises(Unauthorized, match="MILO_API_KEY"):
            client.models()
        key = (tmp_path / "secrets" / API_KEY).read_text().strip()
        assert httpx.get(f"{url}/api/v1/models", headers={"Authorization": f"Bearer {key}"}, trust_env=False).is_success


def test_the_banner_shows_the_key_the_first_time_only(settings: Settings, redis_url: str) -> None:
    key = operator_key(settings)
    note: dict[str, Any] = {"url": "http://127.0.0.1:8000", "redis_url": redis_url}
    first, later = _banner(note, settings, True), _banner(note, settings, False)
    assert key in first and key not in later and "milo keys show" in later
    assert "http://localhost:8000/#once=" in later
    assert "the one in MILO_API_KEY" in _banner(note, settings.model_copy(update={"api_key": "k"}), True)
