"""The table of metrics is what Prometheus gets, and every row is counted or read somewhere."""

from __future__ import annotations

import ast
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from milo import metrics
from milo.ledger import Ledger
from milo.monitoring import redis_state
from milo.settings import Settings
from tests.api.conftest import KEY
from tests.milo.monitoring.conftest import card, new_training, run_of
from tests.support.servers import ROOT, api_in_thread

UNITS = ("seconds", "bytes", "celsius", "watts", "ratio")
"""Base units of Prometheus: they are part of a metric's name."""


def names_of_rows() -> dict[str, str]:
    """Constant of `milo.metrics` -> name of its metric."""
    rows = {}
    for node in ast.parse(Path(metrics.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            name = node.value.args[0] if node.value.args else None
            if isinstance(name, ast.Constant) and str(name.value).startswith("milo_"):
                rows[node.targets[0].id] = str(name.value)
    return rows


def test_every_row_of_the_table_is_counted_or_read_somewhere() -> None:
    rows = names_of_rows()
    assert list(rows.values()) == list(metrics.TABLE)
    used = set()
    for folder in ("api", "milo", "workers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "metrics":
                    used.add(node.attr)
    assert set(rows) <= used


def test_names_have_their_unit_and_counters_their_ending() -> None:
    for metric in metrics.TABLE.values():
        assert metric.name.startswith("milo_") and metric.help
        assert (metric.type == "counter") == metric.name.endswith("_total")
        stem = metric.name.removesuffix("_total")
        assert metric.unit not in UNITS or stem.endswith(f"_{metric.unit}"), metric
        assert metric.unit in UNITS or not stem.endswith(UNITS), metric


def test_what_is_counted_has_the_labels_of_its_row() -> None:
    for constant, name in names_of_rows().items():
        instrument = getattr(metrics, constant)
        if not isinstance(instrument, metrics.Metric):
            assert instrument._labelnames == metrics.TABLE[name].labels, name


def test_what_prometheus_gets_is_the_table(settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milo.gpu.read", lambda: redis_state.GpuReading((card(60),)))
    keyed = settings.model_copy(update={"api_key": KEY})
    run_of(keyed, new_training(ledger), 20)
    with api_in_thread(keyed) as url:
        httpx.get(f"{url}/status", trust_env=False)
        text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False).text
    assert "milo_gpu_power_watts" in text and "milo_training_step 20.0" in text
    rows = {(row.name.removesuffix("_total"), row.type): row for row in metrics.TABLE.values()}
    exposed = set()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("milo_") or family.name.endswith("_created"):
            continue
        assert (family.name, family.type) in rows, f"{family.name}, a {family.type}, is not in the table"
        row = rows[family.name, family.type]
        assert family.documentation == row.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(row.labels), sample
        exposed.add(row.name)
    read = {
        name for constant, name in names_of_rows().items() if isinstance(getattr(metrics, constant), metrics.Metric)
    }
    assert read - {"milo_webhooks", "milo_beat_age_seconds"} <= exposed  # no webhook waits, and no beat ticks here
