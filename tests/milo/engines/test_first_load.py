"""The first load of a model that is not Milo's own: apart, once, under limits."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from milo.engines import first_load
from milo.engines.first_load import try_first
from milo.errors import Cancelled, ModelUnavailable, ModelUnusable
from milo.models import registry
from milo.models.apart import as_long_as
from milo.models.store import ResolvedModel, embedded_path
from milo.settings import Settings


@pytest.fixture
def model(settings: Settings, tmp_path: Path) -> ResolvedModel:
    """A copy of the embedded model: somebody's folder."""
    source = embedded_path("milo-tiny-mg")
    assert source
    shutil.copytree(source, tmp_path / "somebodys")
    return registry.resolve(settings, str(tmp_path / "somebodys"))


def again(settings: Settings, model: ResolvedModel) -> ResolvedModel:
    return registry.resolve(settings, str(model.path))


def change(model: ResolvedModel, file: str, **values: object) -> None:
    path = model.path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_is_tried_once_and_again_when_it_changes(
    settings: Settings, model: ResolvedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def counted(*given: object, **more: object) -> first_load.Ended:
        tried.append(given)
        return run(*given, **more)  # type: ignore[arg-type]

    run = first_load.run_apart
    monkeypatch.setattr(first_load, "run_apart", counted)
    for _ in range(2):
        try_first(settings, "stt", "whisper", model)
    assert len(tried) == 1
    change(model, "config.json", encoder_layers=3_000_000)
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="encoder_layers=3000000"):
        try_first(settings, "stt", "whisper", again(settings, model))
    assert len(tried) == 2 and time.monotonic() - started < 60


def test_what_comes_with_milo_is_not_tried(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(first_load, "run_apart")
    try_first(settings, "stt", "whisper", registry.resolve(settings, "milo-tiny-mg"))


def test_a_load_without_end_is_ended_and_refused_for_a_while(
    settings: Settings, model: ResolvedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = settings.model_copy(update={"load_s": 0.2})  # it takes longer than this to import anything
    with pytest.raises(ModelUnusable, match="MILO_LOAD_S"):
        try_first(short, "stt", "whisper", model)
    monkeypatch.delattr(first_load, "run_apart")
    with pytest.raises(ModelUnusable, match="tried again in"):
        try_first(short, "stt", "whisper", model)
    monkeypatch.setattr(first_load, "REFUSED_FOR_S", 0.0)
    with pytest.raises(NameError):
        try_first(short, "stt", "whisper", model)


def test_a_load_that_nobody_wants_is_ended(settings: Settings, model: ResolvedModel) -> None:
    started = time.monotonic()
    with as_long_as(lambda: False), pytest.raises(Cancelled):
        try_first(settings, "stt", "whisper", model)
    assert time.monotonic() - started < 10


def test_the_process_gets_no_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MILO_API_KEY", "HF_TOKEN", "ANTHROPIC_API_KEY", "MILO_REDIS_URL"):
        monkeypatch.setenv(name, "a-secret")
    assert "a-secret" not in first_load._environment(settings).values()
