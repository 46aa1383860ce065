"""Which checkpoint is the one to take: all of a run, compared with each other on *watch*.

The score is for show. What is chosen is the oldest of those that are not shown to be worse than the best by more than
`MARGIN`, because later ones were trained on the same data for longer, and are not shown to be better. The best of many
rates is the luckiest, so the chosen one is measured again on *confirm*, which nothing was chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from milo.storage.json_lines import Row
from milo.training.calibration import calibration
from milo.training.families import holm
from milo.training.statistics import Numbers, Units, ratio, ratio_interval
from trainer.autonomy.measures import loss, rate, units_in
from trainer.autonomy.word_confidence import words_of
from trainer.autonomy.world import Found, Judged, World, insufficient

LEVEL = 0.05
MARGIN = 0.01
"""Of word errors: one point."""
WEIGHTS = {"accuracy": 0.6, "loss": 0.2, "ece": 0.2}
"""Of the score: accuracy, 1 / (1 + loss), 1 - ece."""


@dataclass(frozen=True)
class Compared:
    """Errors by checkpoint and cluster on the utterances that all have in common."""

    names: list[str]
    errors: Numbers
    """(checkpoints, clusters)"""
    words: Numbers
    units: Units

    @property
    def best(self) -> int:
        """The lowest rate; of equal ones the oldest."""
        return int(np.argmin(self.errors.sum(1)))

    def difference(self, one: int, other: int) -> tuple[float, float, float]:
        """`one` minus `other`: the value, its two-sided p-value and the upper end of its 95 % interval."""
        found = ratio(self.errors[one] - self.errors[other], self.words)
        return found.value, found.p_value(), found.bounds()[1]


def check(world: World) -> Found:
    fields: Row = {"rankings": [], "best_checkpoint": None, "confirmed": None}
    if len(world.checkpoints) < 2:
        return insufficient("two evaluated checkpoints are the least that can be compared", fields)
    table = _compared(world)
    if table.units.too_few:
        return insufficient(table.units.too_few, fields)
    ranked = _ranks(table)
    chosen = _chosen(table)
    rankings = [_row(one, world, ranked[at], table) for at, one in enumerate(world.checkpoints)]
    rankings.sort(key=lambda row: (-row["score"], row["checkpoint"]))
    name = table.names[chosen]
    told = f"{name} is the oldest that is not shown to be worse than the best ({table.names[table.best]})"
    fields = {"rankings": rankings, "best_checkpoint": name, "confirmed": _confirmed(world, world.checkpoints[chosen])}
    return Found("ok", told, fields, name)


def _compared(world: World) -> Compared:
    rows = [world.rows(one, "watch") for one in world.checkpoints]
    names = sorted(set.intersection(*(set(one) for one in rows)))
    units = units_in(rows[0], names)
    errors = np.array([units.sums([one[name]["errors"] for name in names]) for one in rows])
    words = units.sums([rows[0][name]["ref_words"] for name in names])
    return Compared([one.name for one in world.checkpoints], errors, words, units)


def _ranks(table: Compared) -> list[Row]:
    """For each checkpoint, the ranks that it may have, and with whom it is tied; all pairs are one family."""
    count = len(table.names)
    pairs = [(one, other) for one in range(count) for other in range(one)]
    found = [table.difference(one, other) for one, other in pairs]
    shown = [p < LEVEL for p in holm([p for _, p, _ in found])]
    better, worse = [0] * count, [0] * count
    tied: list[list[str]] = [[] for _ in range(count)]
    for (one, other), (value, _, _), differs in zip(pairs, found, shown, strict=True):
        low, high = (one, other) if value < 0 else (other, one)
        if differs:
            worse[high], better[low] = worse[high] + 1, better[low] + 1
        else:
            tied[one].append(table.names[other])
            tied[other].append(table.names[one])
    return [
        {"rank_interval": [1 + worse[at], count - better[at]], "tied_with": sorted(tied[at])} for at in range(count)
    ]


def _chosen(table: Compared) -> int:
    """The oldest whose upper end against the best lies within the margin; the best itself at the latest."""
    return next(
        at for at in range(len(table.names)) if at == table.best or table.difference(at, table.best)[2] <= MARGIN
    )


def _row(one: Judged, world: World, ranks: Row, table: Compared) -> Row:
    rows = world.rows(one, "watch")
    wer, lost = rate(rows), loss(rows)
    said, right, units = words_of(rows)
    ece = calibration(said, right, units).ece if said else None
    accuracy = 1 - wer if wer is not None else 0.0
    parts = {"accuracy": accuracy, "loss": 1 / (1 + lost) if lost is not None else 0.0, "ece": 1 - (ece or 0.0)}
    return {
        "checkpoint": one.name,
        "score": round(sum(WEIGHTS[name] * value for name, value in parts.items()), 4),
        "accuracy": accuracy,
        "loss": lost,
        "ece": ece,
        "interval": ratio_interval(list(rows.values()), "errors", "ref_words"),
        **ranks,
    }


def _confirmed(world: World, one: Judged) -> Row:
    """The word error rate of the chosen one where nothing was chosen on; `optimism`: how much it was flattered."""
    rows = world.rows(one, "confirm")
    again, before = rate(rows), rate(world.rows(one, "watch"))
    optimism = again - before if again is not None and before is not None else None
    return {
        "wer": again,
        "interval": ratio_interval(list(rows.values()), "errors", "ref_words") if rows else None,
        "optimism": optimism,
        "reason": world.suite.why_empty.get("confirm") if again is None else None,
    }
