"""What the watchdog did: `status/fixes.jsonl` and, for a training, its run's alerts. Limits are counted there."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

from milo.monitoring import store
from milo.monitoring.rules import BY_NAME
from milo.settings import Settings
from milo.storage.json_lines import Row
from milo.training import runs

log = logging.getLogger(__name__)

STOPPED = "stopped"


@dataclass(frozen=True)
class Fix:
    """One thing that was seen, and what was done about it."""

    rule: str
    about: str
    """The job's id; or which card, or the folder."""
    seen: str
    done: str
    action: str
    """`fix`, `alert` (told and nothing else) or `stopped` (the limit was reached)."""
    time: float


def history(settings: Settings, rule: str, about: str) -> list[Row]:
    """What was recorded of a rule for one job, card or folder; oldest first."""
    return [row for row in store.rows(settings, "fixes") if row.get("rule") == rule and row.get("about") == about]


def may_act(settings: Settings, rule: str, about: str, seen: str, now: float | None = None) -> bool:
    """Whether the rule's cool-down is over and its limit not reached. Reaching the limit is recorded, once."""
    past = history(settings, rule, about)
    now = time.time() if now is None else now
    if any(row["action"] == STOPPED for row in past):
        return False
    if past and now - past[-1]["time"] < BY_NAME[rule].cooldown_s:
        return False
    limit = BY_NAME[rule].limit
    if limit is not None and len([row for row in past if row["action"] == "fix"]) >= limit:
        note(settings, rule, about, seen, f"nothing more: this was mended {limit} times already", STOPPED, now)
        return False
    return True


def note(
    settings: Settings, rule: str, about: str, seen: str, done: str, action: str = "fix", now: float | None = None
) -> Fix:
    """Record a fix, also among the alerts of the run if `about` is a training job."""
    fix = Fix(rule, about, seen, done, action, time.time() if now is None else now)
    try:
        store.append(settings, "fixes", asdict(fix))
        run = runs.find(settings, about) if about.startswith("job_") else None
        if run is not None:
            run.alert(rule, seen, done, run.summary().get("step"), action="fix" if action == "fix" else "alert")
    except OSError as error:  # a full disk must not keep a job from being queued again
        log.warning("%s of %s could not be recorded (%s): %s; %s", rule, about, error, seen, done)
    return fix
