"""What the last deploy came to: by which gates, what served before, and whether it still serves.

Deploys are jobs and stages of pipelines (`trainer.deploy.gated`); this reads what they left, and deploys nothing.
"""

from __future__ import annotations

from pathlib import Path

from milo.jobs import iso
from milo.models import registry
from milo.storage.json_lines import Row
from trainer.autonomy.world import Found, World, insufficient

NOTHING: Row = {
    "deployed_at": None,
    "attempted_at": None,
    "score": None,
    "success": False,
    "name": None,
    "version": None,
    "previous": None,
    "serving": None,
    "gates": [],
    "rolled_back": False,
}


def check(world: World) -> Found:
    attempts = [found for row in world.deploys if (found := _attempt(row)) is not None]
    if not attempts:
        return insufficient("nothing was deployed yet", NOTHING)
    job, done, refused = attempts[-1]
    name = done.get("name") or job["payload"].get("model")
    version, before = done.get("version"), done.get("before")
    serves = registry.serving(world.settings, name) if name else None
    fields = NOTHING | {
        "deployed_at": iso(job["finished_at"]) if not refused else None,
        "attempted_at": iso(job["finished_at"]),
        "score": _score(done),
        "success": not refused,
        "name": name,
        "version": version,
        "previous": before,
        "serving": serves,
        "gates": _gates(done),
        "rolled_back": not refused and serves != version and serves == (before or ""),
    }
    if refused:
        told = f"not deployed as {name}: {refused}"
    elif fields["rolled_back"]:
        told = f"{name} {version} was deployed and taken back; {serves or 'nothing'} serves"
    elif serves != version:
        told = f"{name} {version} was deployed; {serves or 'nothing'} serves now"
    else:
        told = f"{name} {version} serves"
    return Found("ok", told, fields, _checkpoint(job, done))


def _attempt(job: Row) -> tuple[Row, Row, str] | None:
    """(job, what its gates found, why it was refused) of a job that tried to deploy."""
    error = (job["error"] or {}).get("detail")
    if job["kind"] == "deploy":
        if job["state"] == "cancelled":
            return None
        return job, job["result"] or {}, "" if job["state"] == "succeeded" else str(error or "it failed")
    done = (job["result"] or {}).get("deploy") or {}
    if not done.get("name"):
        return None  # a pipeline that was not to deploy, or did not come so far
    return job, done, "" if done.get("deployed") else str(done.get("reason"))


def _checkpoint(job: Row, done: Row) -> str | None:
    path = job["payload"].get("path")
    return done.get("checkpoint") or (Path(path).name if path else None)


def _score(done: Row) -> float | None:
    """The accuracy, on its own data."""
    after = (done.get("comparison") or {}).get("after") or {}
    return 1 - after["wer"] if after.get("wer") is not None else None


def _gates(done: Row) -> list[Row]:
    """Each gate that was come to, and what it said; `upper`: how much worse it may be at most."""
    comparison, guard = done.get("comparison") or {}, done.get("guard") or {}
    judged = [("its own data", comparison)] if comparison else []
    judged += [(f"guard set {one['name']}", one) for one in guard.get("sets") or []]
    gates: list[Row] = [
        {
            "gate": name,
            "verdict": found.get("verdict"),
            "difference": found.get("difference"),
            "upper": (found.get("interval") or {}).get("high"),
        }
        for name, found in judged
    ]
    if "smoke" in done:
        gates.append({"gate": "smoke decode", "verdict": "passed", "difference": None, "upper": None})
    return gates
