"""Monitors: each of them alone, whatever becomes of the others; a status file only if it is whole."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from milo.errors import Invalid
from milo.monitoring import systems
from milo.monitoring.monitors import Monitors
from milo.monitoring.systems import BY_NAME, ENVELOPE, MONITORED
from milo.settings import SYSTEMS, Settings

STATUS: Any = {"phase": "idle", "training": {"step": 3}, "checkpoints": ["checkpoint-3"], "gpu": {"temp_c": None}}
REGRESSION = BY_NAME["regression"]


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, _env_file=None)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    end = threading.Event()
    yield end
    end.set()


def whole(**changes: Any) -> dict[str, Any]:
    """A status file that has all fields: null, but for those that a reader needs."""
    document: dict[str, Any] = {}
    for field in (*ENVELOPE, *REGRESSION.fields):
        *path, leaf = field.replace("[]", "").split(".")
        inside = document
        for name in path:
            inside = inside.setdefault(name, {})
        inside.setdefault(leaf, None)
    document["history"] = []
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    return document | {"last_update": now, "stale_after_s": 600, "state": "ok"} | changes


def put(settings: Settings, text: str) -> None:
    (settings.home / "status").mkdir(exist_ok=True)
    (settings.home / "status" / f"{REGRESSION.file}.json").write_text(text)


def test_one_that_hangs_raises_or_returns_no_number_costs_the_others_nothing(
    home: Settings, hanging: threading.Event
) -> None:
    def refuses() -> Any:
        raise Invalid("not today")

    more = {"hangs": hanging.wait, "raises": lambda: 1 / 0, "refuses": refuses, "nan": lambda: {"x": float("nan")}}
    monitors = Monitors(home, lambda: STATUS, {**more, "odd": object, "good": lambda: {"x": 1}}, patience_s=0.3)
    try:
        started = time.monotonic()
        together = monitors.ask("unified")
        assert time.monotonic() - started < 2
        for answers in (together.data, {name: monitors.ask(name).document(time.time()) for name in more}):
            assert "did not answer within 0.3 s" in answers["hangs"]["error"]
            assert "ZeroDivisionError" in answers["raises"]["error"] and answers["refuses"]["error"] == "not today"
            assert {answers[name]["success"] for name in more} == {False}
        assert together.data["good"]["data"] == {"x": 1} and not together.data["odd"]["success"]
        assert together.data["training"]["data"] == {"step": 3, "checkpoints": ["checkpoint-3"]}
        again = monitors.ask("good").document(time.time())
        assert set(again) == {"success", "data", "cached", "timestamp", "plugin", "age_s", "stale"}
        assert monitors.ask("good").cached and again["plugin"] == "good"
        json.dumps(together.data, allow_nan=False)
    finally:
        monitors.close()


def test_a_status_file_is_shown_with_its_age_and_what_is_wrong_with_it_is_said(home: Settings) -> None:
    monitors = Monitors(home, lambda: STATUS, {})
    try:
        assert monitors.ask("regression").error == "regression has not looked yet"
        put(home, json.dumps(whole()))
        assert systems.read(home, REGRESSION).problem == ""
        sources = {row["plugin"]: row for row in Monitors(home, lambda: STATUS, {}).ask("sources").data}
        assert sources["regression"]["state"] == "ok" and sources["regression"]["file"] == "regression_monitoring.json"
        for text, why in (("{", "can't be read"), ('{"a": NaN}', "NaN is no number"), ("[]", "lacks schema")):
            put(home, text)
            found = systems.read(home, REGRESSION)
            assert why in found.problem and found.document is None and found.stale
    finally:
        monitors.close()


def test_older_than_two_periods_is_stale_and_one_that_is_off_says_so(home: Settings) -> None:
    put(home, json.dumps(whole()))
    now = time.time()
    assert not systems.read(home, REGRESSION, now + 590).stale
    late = systems.read(home, REGRESSION, now + 610)
    assert late.stale and late.age_s == pytest.approx(610, abs=2) and late.document is not None
    off = home.model_copy(update={"systems": []})
    assert systems.read(off, REGRESSION).problem.startswith("regression is off")
    assert systems.period_of(home.model_copy(update={"system_periods": {"regression": 60.0}}), REGRESSION) == 60


@pytest.mark.parametrize("field", [*ENVELOPE, *REGRESSION.fields])
def test_a_file_that_lacks_a_field_is_not_taken_for_whole(home: Settings, field: str) -> None:
    document = whole(history=[{"at": "x", "state": "ok", "checkpoint": None}])
    *path, leaf = field.replace("[]", "").split(".")
    inside: Any = document
    for name in path:
        inside = inside[name]
    for one in inside if isinstance(inside, list) else [inside]:
        del one[leaf]
    put(home, json.dumps(document))
    assert systems.read(home, REGRESSION).problem.endswith(f"lacks {field}")


def test_settings_know_the_systems_that_there_are(home: Settings) -> None:
    assert tuple(one.name for one in MONITORED) == SYSTEMS and len({one.path for one in MONITORED}) == len(MONITORED)
    assert home.systems == list(SYSTEMS) and Settings(systems="", _env_file=None).systems == []
    assert Settings(systems="all", _env_file=None).systems == list(SYSTEMS)
    with pytest.raises(ValueError, match="there is no system curriculums"):
        Settings(systems="curriculums", _env_file=None)
