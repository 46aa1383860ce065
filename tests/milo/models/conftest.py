"""A home, and a hub that speaks the protocol of Hugging Face's on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from milo.settings import Settings
from tests.support.hub_server import Hub, hub_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as server:
        yield server


@pytest.fixture
def online(settings: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return settings.model_copy(update={"hf_endpoint": hub.url})
