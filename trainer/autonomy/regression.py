"""Whether the newest checkpoint is worse: on *watch*, against what is deployed and against the best one so far.

The best one gives its place up only to a checkpoint that is shown to be better, so that it is not the luckiest of many.
All looks of a run share 5 % of false alarms (`milo.training.looks`), and a checkpoint is looked at once.
"""

from __future__ import annotations

from milo.storage.json_lines import Row
from milo.training.looks import Looks
from milo.training.statistics import Ratio
from trainer.autonomy import budget
from trainer.autonomy.measures import detectable, difference, is_number, loss, rate
from trainer.autonomy.world import Found, Judged, World, insufficient

LOSS_ALARM = 15.0
"""Percent. A regression with so much more loss is critical."""
NOTHING: Row = {
    "regression_detected": False,
    "baseline_loss": None,
    "current_loss": None,
    "increase_percent": None,
    "alert_level": "none",
    "baseline": None,
    "wer": None,
    "mde_90": None,
}


def check(world: World) -> Found:
    looks, seen, last = budget.memory(world)
    best_name = (last.get("baseline") or {}).get("best")
    fields = NOTHING | {"alpha_left": looks.left, "looks": budget.document(looks, seen)}
    if world.broken:
        name = list(world.broken)[-1]
        alarm = {"regression_detected": True, "alert_level": "critical"}
        return Found("failed", f"{name} can't be judged: {world.broken[name]}", fields | alarm, name)
    if not world.checkpoints:
        return insufficient("no checkpoint of this run is evaluated yet", fields)
    current = world.checkpoints[-1]
    if current.key in seen:  # the same look again costs nothing, and says the same
        kept = {name: world.before[name] for name in fields if name in world.before}
        return Found(world.before["state"], world.before["reason"], fields | kept, current.name)
    best = next((one for one in world.checkpoints[:-1] if one.name == best_name), None)
    best = best or next(iter(world.checkpoints[:-1]), None)
    baselines = [one for one in (world.deployed, best) if one is not None]
    if not baselines:
        return insufficient("there is nothing to compare the first checkpoint with", fields, current.name)
    return _compared(world, current, baselines, looks, [*seen, current.key])


def _compared(world: World, current: Judged, baselines: list[Judged], looks: Looks, seen: list[str]) -> Found:
    """One look: each of the two baselines takes half of its level."""
    level = looks.level / len(baselines)
    now = world.rows(current, "watch")
    compared = [(one, *difference(world.rows(one, "watch"), now)) for one in baselines]
    after = looks.spend()
    told = [(one, found) for one, found, _ in compared if found is not None]
    if not told:
        left = {"alpha_left": looks.left, "looks": budget.document(looks, seen[:-1])}
        return insufficient(compared[0][2], NOTHING | left, current.name)
    baseline, found = min(told, key=lambda pair: pair[1].p_above())
    losses = [loss(world.rows(baseline, "watch")), loss(now)]
    worse = found.p_above() < level
    best = _best(baselines[-1], current, told[-1][1])
    fields = _fields(baseline, found, losses, worse, level, best) | {
        "alpha_left": after.left,
        "looks": budget.document(after, seen),
    }
    fields["wer"] |= {"baseline": rate(world.rows(baseline, "watch")), "current": rate(now)}
    if losses[1] is not None and not is_number(losses[1]):
        alarm = {"regression_detected": True, "alert_level": "critical", "current_loss": None}
        return Found("failed", f"the loss of {current.name} is {losses[1]}", fields | alarm, current.name)
    said = "worse than" if worse else "not shown to be worse than"
    reason = f"{current.name} is {said} {baseline.name}: {found.value:+.2%} errors"
    return Found("ok", reason, fields, current.name)


def _fields(baseline: Judged, found: Ratio, losses: list[float | None], worse: bool, level: float, best: str) -> Row:
    low, high = found.bounds(1 - 2 * level)
    increase = None
    if losses[0] and losses[1] is not None and is_number(losses[0]) and is_number(losses[1]):
        increase = 100 * (losses[1] / losses[0] - 1)
    critical = worse and (increase is None or increase > LOSS_ALARM)
    return {
        "regression_detected": worse,
        "baseline_loss": losses[0],
        "current_loss": losses[1],
        "increase_percent": increase,
        "alert_level": "critical" if critical else "warning" if worse else "none",
        "baseline": {"checkpoint": baseline.name, "best": best},
        "wer": {"difference": found.value, "interval": {"low": low, "high": high, "level": 1 - 2 * level}},
        "mde_90": detectable(found, level),
    }


def _best(best: Judged, current: Judged, found: Ratio) -> str:
    return current.name if found.bounds()[1] < 0 else best.name
