"""Makes the suite of a recipe: its held-out utterances in three parts without a speaker or a recording in common.

Speakers (recordings, where not all rows name one) are dealt out in the order of the mean length of their utterances, so
that each part has short and long ones. Below three times `MIN_UNITS` speakers some parts stay empty, and say why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from milo.recipes import Recipe
from milo.settings import Settings
from milo.training import guard, suites
from milo.training.statistics import MIN_UNITS
from milo.training.suites import PARTS, GuardOf, Member, PartName, Suite
from trainer.data.load import ReportProgress
from trainer.evaluation.evaluate import method_of

SHARES: Mapping[PartName, float] = {"watch": 0.5, "calibrate": 0.2, "confirm": 0.3}


def suite_of(settings: Settings, recipe: Recipe, report: ReportProgress | None = None) -> Suite:
    """The suite of a recipe for speech, made when it is not there yet: reads the audio once, to hash it."""
    key = suites.key_of(recipe.task, recipe.data, recipe.evaluation)
    kept = suites.read(settings, key)
    if kept is not None:
        return kept
    items = method_of(recipe.task).load(settings, recipe.data, recipe.evaluation, report)
    made = make(recipe, key, items.items, items.sha256, _guard_of(settings, recipe))
    suites.keep(settings, made)
    return made


def make(recipe: Recipe, key: str, items: Sequence[Any], sha256: str, guard: Sequence[GuardOf] = ()) -> Suite:
    """`items` have `id, text, speaker, duration_s, sha256, recording_sha256` (`trainer.data.load.Item`)."""
    readable = [item for item in items if item.sha256]
    groups = groups_of(readable)
    counts = sizes(len(groups))
    over = "speakers" if readable and all(item.speaker is not None for item in readable) else "recordings"
    parts = deal([sum(item.duration_s for item in group) / len(group) for group in groups], counts)
    members = [
        Member(
            id=str(item.id),
            part=part,
            audio=item.sha256,
            recording=item.recording_sha256,
            text=suites.text_hash(item.text, recipe.data.language),
            speaker=item.speaker,
        )
        for group, part in zip(groups, parts, strict=True)
        for item in group
    ]
    why = {name: f"there are {len(groups)} {over}, too few for this part" for name in PARTS if not counts[name]}
    return suites.new(key, recipe.task, recipe.data, recipe.evaluation, sha256, members, guard, why)


def groups_of(items: Sequence[Any]) -> list[list[Any]]:
    """Items that must stay together: of one speaker, where all rows name one, or of one recording."""
    by_speaker = all(item.speaker is not None for item in items)
    of: dict[str, int] = {}
    groups: dict[int, list[Any]] = defaultdict(list)
    for item in items:
        keys = [f"audio {item.sha256}", f"recording {item.recording_sha256 or item.sha256}"]
        keys += [f"speaker {item.speaker}"] if by_speaker else []
        known = sorted({of[key] for key in keys if key in of})
        target = known[0] if known else len(of)
        for other in known[1:]:  # this item brings two groups together
            groups[target] += groups.pop(other)
            of.update({key: target for key, at in of.items() if at == other})
        of.update(dict.fromkeys(keys, target))
        groups[target].append(item)
    return list(groups.values())


def sizes(count: int) -> dict[PartName, int]:
    """How many of `count` groups each part gets: none, or at least `MIN_UNITS`; *watch* goes first, then *confirm*."""
    confirm = max(MIN_UNITS, round(count * SHARES["confirm"])) if count >= 2 * MIN_UNITS else 0
    calibrate = max(MIN_UNITS, round(count * SHARES["calibrate"])) if count >= 3 * MIN_UNITS else 0
    confirm = min(confirm, count - calibrate - MIN_UNITS) if confirm else 0
    return {"watch": count - confirm - calibrate, "calibrate": calibrate, "confirm": confirm}


def deal(lengths: Sequence[float], counts: Mapping[PartName, int]) -> list[PartName]:
    """The part of each group. In the order of their lengths, each goes to the part that lacks most by then."""
    order = sorted(range(len(lengths)), key=lambda at: lengths[at])
    given = dict.fromkeys(PARTS, 0)
    parts: list[PartName] = ["watch"] * len(lengths)
    for turn, at in enumerate(order, 1):
        name = max(PARTS, key=lambda one: counts[one] * turn / len(lengths) - given[one])
        parts[at], given[name] = name, given[name] + 1
    return parts


def _guard_of(settings: Settings, recipe: Recipe) -> list[GuardOf]:
    names = dict.fromkeys([recipe.model, *([recipe.deploy.name] if recipe.deploy else [])])
    return [
        GuardOf(name=name, set=one.name, sha256=one.sha256)
        for name in names
        for one in guard.read(settings, name).sets
        if one.task == recipe.task
    ]
