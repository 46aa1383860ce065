"""A look of a system, written down: a row of the ledger, and the status file as its view."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Engine

from milo.ledger import reports
from milo.ledger.reports import SystemReport
from milo.monitoring import store
from milo.monitoring.systems import PERIODS_TO_STALE, Monitored, period_of
from milo.storage.json_lines import Row
from trainer.autonomy.world import Found, Judged, World

SCHEMA = 1
HISTORY = 50


def publish(engine: Engine, one: Monitored, world: World, found: Found, job_id: str | None = None) -> Row:
    """The status file of a look. Whoever reads it sees the one before, or this one, whole."""
    at = time.time()
    bad = sorted(_not_finite(found.fields))
    if bad:
        found = Found(
            "failed", f"{', '.join(bad)} came out as no number; {found.reason}", found.fields, found.checkpoint
        )
    document: Row = _finite(envelope(one, world, found, at, job_id, reports.last(engine, one.name, HISTORY - 1)))
    reports.add(
        engine,
        SystemReport(
            one.name, at, found.state, found.reason, world.run_id, job_id, found.checkpoint, world.marker, document
        ),
    )
    store.write(world.settings, one.file, document)
    return document


def envelope(
    one: Monitored, world: World, found: Found, at: float, job_id: str | None, earlier: list[SystemReport]
) -> Row:
    """The fields that all systems have, and those of its own."""
    looked_at = next((j for j in (*world.checkpoints, *_deployed(world)) if j.name == found.checkpoint), None)
    period_s = period_of(world.settings, one)
    history = [{"at": _iso(e.at), "state": e.state, "checkpoint": e.checkpoint, "reason": e.reason} for e in earlier]
    own = {"at": _iso(at), "state": found.state, "checkpoint": found.checkpoint, "reason": found.reason}
    return {
        **found.fields,
        "schema": SCHEMA,
        "system": one.name,
        "state": found.state,
        "reason": found.reason,
        "last_update": _iso(at),
        "interval_s": period_s,
        "stale_after_s": PERIODS_TO_STALE * period_s,
        "run_id": world.run_id,
        "job_id": job_id,
        "checkpoint": found.checkpoint,
        "inputs": world.marker,
        "data": _data(world, looked_at),
        "normaliser": looked_at.report.get("normaliser") if looked_at else None,
        "seed": world.recipe.training.seed,
        "cost": {
            "gpu_s": looked_at.report.get("compute_s") if looked_at else None,
            "audio_s": looked_at.report.get("audio_s") if looked_at else None,
        },
        "history": [*history, own],
    }


def _data(world: World, looked_at: Judged | None) -> Row:
    rows = world.rows(looked_at, "watch") if looked_at else {}
    return {
        "name": world.recipe.data.source,
        "sha256": world.suite.data_sha256,
        "items": len(rows),
        "speakers": len({row["speaker"] for row in rows.values() if row.get("speaker") is not None}) or None,
        "ref_words": sum(row["ref_words"] for row in rows.values()),
    }


def _deployed(world: World) -> list[Judged]:
    return [world.deployed] if world.deployed else []


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")


def _not_finite(value: Any, name: str = "") -> list[str]:
    """Names of the fields that JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return [name]
    if isinstance(value, dict):
        return [one for key, item in value.items() for one in _not_finite(item, f"{name}.{key}".lstrip("."))]
    if isinstance(value, (list, tuple)):
        return [one for item in value for one in _not_finite(item, f"{name}[]")]
    return []


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
