"""The contract between who writes a status file and who reads it: a field that is renamed in a writer is noticed.

Each field's name is changed in the source of the writers, one at a time; the reader must then name it as lacking.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from milo.ledger import Ledger, reports
from milo.monitoring import store, systems
from milo.monitoring.systems import BY_NAME, ENVELOPE, MONITORED, Monitored
from milo.settings import Settings
from tests.trainer.autonomy.tiny_world import Errors, deploy_job, judged, world_of
from trainer.autonomy import publish
from trainer.autonomy.systems import SYSTEMS, System
from trainer.autonomy.world import Found, World

CHECKS = {one.name: one for one in SYSTEMS}


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, _env_file=None)


def world(settings: Settings) -> World:
    """Two checkpoints and what serves, 30 speakers: every system finds something to say."""
    errors = Errors(300, seed=1)
    checkpoints = [judged(f"checkpoint-{n}", errors.counts(gain), 30) for n, gain in ((1, 0.0), (2, 0.1))]
    serves = judged("milo-tiny-mg@1", errors.counts(), 30)
    return world_of(settings, checkpoints, 30, 300, deployed=serves, deploys=[deploy_job()], marker="m")


def written(settings: Settings, one: Monitored, check: Callable[[World], Found], writer: Any) -> systems.Reading:
    """What the reader makes of what the writer wrote."""
    seen = world(settings)
    earlier = [reports.SystemReport(one.name, 1.0, "ok", "", None, None, None, "m", {})]
    document = writer._finite(writer.envelope(one, seen, check(seen), time.time(), "job_1", earlier))
    store.write(settings, one.file, document)
    return systems.read(settings, one)


def renamed(module: ModuleType, name: str) -> ModuleType | None:
    """The module with a field's name changed in its source; None: it does not write that field."""
    source = Path(str(module.__file__)).read_text("utf-8")
    changed = source.replace(f'"{name}"', f'"{name}_x"')
    if changed == source:
        return None
    made = ModuleType(module.__name__)
    exec(compile(changed, f"{module.__name__} with {name}_x", "exec"), made.__dict__)
    return made


def module_of(system: System) -> ModuleType:
    return sys.modules[system.check.__module__]


def test_every_system_that_is_built_has_a_reader_and_the_other_way_round() -> None:
    assert list(CHECKS) == [one.name for one in MONITORED]


@pytest.mark.parametrize("name", list(CHECKS))
def test_what_a_system_writes_is_whole_for_its_reader(home: Settings, name: str) -> None:
    found = written(home, BY_NAME[name], CHECKS[name].check, publish)
    assert found.problem == "" and found.document is not None and not found.stale
    assert found.document["state"] == "ok" and found.document["system"] == name
    assert (found.document["data"]["speakers"] or name == "deployment") and found.document["history"][-1][
        "state"
    ] == "ok"


@pytest.mark.parametrize(
    ("name", "field"), [(one.name, field) for one in MONITORED for field in (*ENVELOPE, *one.fields)]
)
def test_a_field_that_is_renamed_in_a_writer_is_missed_by_the_reader(home: Settings, name: str, field: str) -> None:
    leaf = field.replace("[]", "").rpartition(".")[2]
    own = field in BY_NAME[name].fields and leaf != "checkpoint"
    system = module_of(CHECKS[name])
    writer = renamed(system if own or leaf not in _envelope_names() else publish, leaf)
    if writer is None:
        writer = renamed(publish if own else system, leaf)
    assert writer is not None, f"nobody writes {field}"
    by_system = hasattr(writer, "check")
    try:
        found = written(
            home, BY_NAME[name], writer.check if by_system else CHECKS[name].check, publish if by_system else writer
        )
    except (KeyError, TypeError):
        return  # it does not even run
    assert field in found.problem or leaf in found.problem, found.problem


def _envelope_names() -> set[str]:
    return {field.replace("[]", "").rpartition(".")[2] for field in ENVELOPE}


def test_a_look_is_a_row_and_a_file_without_what_is_no_number(settings: Settings) -> None:
    ledger = Ledger.open(settings)
    one, seen = BY_NAME["regression"], world(settings)
    found = CHECKS["regression"].check(seen)
    bad = Found(found.state, found.reason, {**found.fields, "mde_90": float("nan")}, found.checkpoint)
    document = publish.publish(ledger.engine, one, seen, bad, "job_1")
    assert document["state"] == "failed" and document["reason"].startswith("mde_90 came out as no number")
    assert document["mde_90"] is None
    path = settings.home / "status" / f"{one.file}.json"
    assert json.loads(path.read_text()) == document and "NaN" not in path.read_text()
    publish.publish(ledger.engine, one, seen, found, "job_2")
    rows = reports.last(ledger.engine, "regression", 5)
    assert [row.state for row in rows] == ["failed", "ok"] and rows[1].document["job_id"] == "job_2"
    assert [row["state"] for row in rows[1].document["history"]] == ["failed", "ok"]
    ledger.engine.dispose()
