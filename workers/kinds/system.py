"""A look of a system that watches trainings, as a job: collect the world, check, write the report down."""

from __future__ import annotations

from collections.abc import Generator

from milo.errors import Conflict, Invalid
from milo.jobs import Progress
from milo.kinds.training import SystemPayload
from milo.monitoring.systems import BY_NAME
from trainer.autonomy.collect import collect
from trainer.autonomy.publish import publish
from trainer.autonomy.systems import SYSTEMS
from trainer.autonomy.watched import watched
from trainer.loop.background import in_background
from workers.work import Finished, RunningJob


def look(running: RunningJob) -> Generator[Progress, None, Finished]:
    """The result is the status document."""
    payload: SystemPayload = running.payload
    system = next((one for one in SYSTEMS if one.name == payload.system), None)
    if system is None:
        raise Invalid(f"there is no system {payload.system!r}; there are {', '.join(one.name for one in SYSTEMS)}")
    settings, engine = running.settings, running.ledger.engine
    found = watched(settings)
    if found is None:
        raise Conflict("there is no training for speech with a checkpoint to look at yet", code="nothing_to_watch")
    world = yield from in_background(
        lambda report: collect(settings, engine, system.name, found, report), "recordings measured"
    )
    return Finished(publish(engine, BY_NAME[system.name], world, system.check(world), running.id))
