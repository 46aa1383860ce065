"""`docs/operations.md` says what the code does: its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import celery_config
from milo.ledger import Ledger
from milo.monitoring import alerts
from milo.monitoring.document import build
from milo.monitoring.fix import command
from milo.monitoring.rules import RULES
from milo.settings import Settings
from tests.milo.monitoring.test_monitor import JQ

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def test_the_watchdogs_table_is_the_codes() -> None:
    rows = [
        [
            *(f"`{rule.name}`", rule.signal, rule.threshold, rule.action),
            *(f"{rule.cooldown_s:.0f} s" if rule.cooldown_s else "none", str(rule.limit or "none"), rule.by),
        ]
        for rule in RULES
    ]
    assert table("The watchdog") == rows


def test_the_table_of_alerts_is_the_codes() -> None:
    rows = [[f"`{one.name}`", one.level, f"`{one.field}`", one.condition.text] for one in alerts.ALERTS]
    assert table("Alerts") == rows


def test_every_tick_of_beat_is_told_of() -> None:
    assert [row[0].strip("`") for row in table("Beat")] == list(celery_config.beat_schedule)
    for name, every, _ in ([cell.strip("`") for cell in row] for row in table("Beat")):
        if not every.startswith("MILO_"):
            assert every == f"{celery_config.beat_schedule[name]['schedule']:.0f} s"


def test_every_field_that_is_told_of_is_there(settings: Settings, ledger: Ledger) -> None:
    document = build(settings, ledger)
    told = [name for row in table("The status document") for name in re.findall(r"`([\w.]+)`", row[0])]
    assert {name.split(".")[0] for name in told if not name.startswith(".")} >= set(document) - {
        *("version", "updated_at", "orchestrator_reason")
    }
    group = ""
    for name in told:
        group = name.split(".")[0] if not name.startswith(".") else group
        leaf = name.rsplit(".", 1)[-1]
        if "." in name and document[group] is not None:
            assert leaf in document[group], name
        elif "." not in name:
            assert name in document, name


def test_the_monitors_line_is_there_to_the_letter() -> None:
    assert f'/status | jq "{JQ}"\'' in PAGE


def test_the_commands_environment_is_told() -> None:
    assert f"`{' '.join(command.ENVIRONMENT)}`" in PAGE
