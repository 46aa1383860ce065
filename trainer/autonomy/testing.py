"""The test report of the newest checkpoint, on *watch*: all of it, by difficulty, by slices, and how it behaves.

How difficult an utterance is, a frozen model says: the first that served while this run was watched. Slices are made by
what is known beforehand (noise, rate, length), never by errors: those on which the frozen model did well by luck would
look like a regression of every other one. Slices and the whole are one family (Holm), and share the alarms of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from milo.storage.json_lines import Row
from milo.training import evaluations
from milo.training.evaluations import Stored
from milo.training.families import holm
from milo.training.looks import Looks
from milo.training.statistics import ratio_interval
from trainer.autonomy import budget
from trainer.autonomy.measures import detectable, difference, is_number, loss, rate
from trainer.autonomy.world import Found, Judged, World, insufficient

LEVELS = ("easy", "medium", "hard")
LEAST = 100
"""Utterances of a level of difficulty; fewer give no figure."""
LOOP, SILENT, LONG, FOREIGN = 2.4, 0.05, 2.0, 0.02
"""A compression ratio above it is a loop; the rest are shares, and how many times as many words as were said."""
Test = Callable[[Row], bool]
SLICES: dict[str, Test] = {
    "SNR below 10 dB": lambda row: row.get("snr_db") is not None and row["snr_db"] < 10,
    "SNR from 20 dB": lambda row: row.get("snr_db") is not None and row["snr_db"] >= 20,
    "slow": lambda row: (row.get("rate") or 9) < 2,
    "fast": lambda row: (row.get("rate") or 0) >= 3,
    "below 2 s": lambda row: row["duration_s"] < 2,
    "from 6 s": lambda row: row["duration_s"] >= 6,
}
BEHAVIOUR: dict[str, tuple[Test, float]] = {
    "loops": (lambda row: (row.get("compression_ratio") or 0) > LOOP, SILENT),
    "silence where there is speech": (lambda row: not row["hyp_scored"], SILENT),
    "far more words than were said": (lambda row: len(row["hyp_scored"].split()) > LONG * row["ref_words"] + 3, SILENT),
    "another script": (lambda row: _is_foreign(row["hyp_scored"]), FOREIGN),
}
"""What must not be seen in more than a share of the utterances."""
NOTHING: Row = {
    "overall_accuracy": None,
    "by_difficulty": dict.fromkeys(LEVELS),
    "regression_detected": False,
    "baseline": None,
    "intervals": {},
    "strata": None,
    "slices": [],
    "behaviour": [],
    "rtf": None,
}


def check(world: World) -> Found:
    looks, seen, last = budget.memory(world)
    fields = NOTHING | {"looks": budget.document(looks, seen)}
    if world.broken:
        name = list(world.broken)[-1]
        told = f"{name} can't be judged: {world.broken[name]}"
        return Found("failed", told, fields | {"regression_detected": True}, name)
    if not world.checkpoints:
        return insufficient("no checkpoint of this run is evaluated yet", fields)
    current = world.checkpoints[-1]
    if current.key in seen:
        kept = {name: last[name] for name in fields if name in last}
        return Found(last["state"], last["reason"], fields | kept, current.name)
    return _tested(world, current, looks, seen, last)


def _tested(world: World, current: Judged, looks: Looks, seen: list[str], last: Row) -> Found:
    rows = world.rows(current, "watch")
    baseline = world.deployed or (world.checkpoints[0] if len(world.checkpoints) > 1 else None)
    slices = _slices(rows, world.rows(baseline, "watch") if baseline else {}, looks.level)
    compared = any(one["p_holm"] is not None for one in slices)
    strata, key = _strata(world, last)
    levels = {name: {at: rows[at] for at in ids if at in rows} for name, ids in strata.items()}
    accuracy = rate(rows)
    fields = {
        "overall_accuracy": None if accuracy is None else 1 - accuracy,
        "by_difficulty": {name: _accuracy(part) if len(part) >= LEAST else None for name, part in levels.items()},
        "regression_detected": any(one["worse"] for one in slices),
        "baseline": baseline.name if baseline else None,
        "intervals": {name: _interval(part) for name, part in {"all": rows, **levels}.items()},
        "strata": {"key": key, "sha256": _hash(strata), "items": {name: len(part) for name, part in levels.items()}},
        "slices": slices,
        "behaviour": _behaviour(rows),
        "rtf": _rtf(current),
        "looks": budget.document(looks.spend(), [*seen, current.key]) if compared else budget.document(looks, seen),
    }
    return _verdict(fields, rows, current, compared)


def _verdict(fields: Row, rows: Mapping[str, Row], current: Judged, compared: bool) -> Found:
    lost = loss(rows)
    if lost is not None and not is_number(lost):
        return Found(
            "failed", f"the loss of {current.name} is {lost}", fields | {"regression_detected": True}, current.name
        )
    wrong = [one["name"] for one in fields["behaviour"] if not one["ok"]]
    worse = [one["slice"] for one in fields["slices"] if one["worse"]]
    told = [f"worse than {fields['baseline']} on {', '.join(worse)}"] if worse else []
    told += [f"too often: {', '.join(wrong)}"] if wrong else []
    if not compared:
        return insufficient("; ".join(told) or "too few speakers, or nothing to compare with", fields, current.name)
    return Found("failed" if wrong else "ok", "; ".join(told) or "nothing is shown to be worse", fields, current.name)


def _slices(rows: Mapping[str, Row], before: Mapping[str, Row], level: float) -> list[Row]:
    """The whole and its slices; `worse` by the difference, in the family of all that can be compared."""
    parts = {"all": dict(rows)} | {
        name: {at: row for at, row in rows.items() if test(row)} for name, test in SLICES.items()
    }
    found = {name: difference({at: before[at] for at in part if at in before}, part)[0] for name, part in parts.items()}
    shown = {name: one for name, one in found.items() if one is not None}
    adjusted = dict(zip(shown, holm([one.p_above() for one in shown.values()]), strict=True))
    return [
        {
            "slice": name,
            "items": len(part),
            "accuracy": _accuracy(part),
            "difference": shown[name].value if name in shown else None,
            "p_holm": adjusted.get(name),
            "worse": name in adjusted and adjusted[name] < level,
            "mde_90": detectable(shown.get(name), level),
        }
        for name, part in parts.items()
        if part
    ]


def _behaviour(rows: Mapping[str, Row]) -> list[Row]:
    found = []
    for name, (test, most) in BEHAVIOUR.items():
        seen = sum(test(row) for row in rows.values())
        found.append({"name": name, "seen": seen, "of": len(rows), "ok": seen <= most * len(rows)})
    return found


def _is_foreign(text: str) -> bool:
    """Most of its letters are not Latin ones."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(ord(letter) > 0x24F for letter in letters) > len(letters) / 2


def _strata(world: World, last: Row) -> tuple[dict[str, list[str]], str | None]:
    """Thirds of *watch* by the errors of the frozen model; equal ones in an order that no model has a hand in."""
    key = (last.get("strata") or {}).get("key") or (world.deployed.key if world.deployed else None)
    if key is None:
        return {}, None
    stored = Stored(evaluations.root(world.settings) / key)
    frozen = Judged("", stored.report() or {}, stored.rows())
    if world.deployed and world.deployed.key == key:
        frozen = world.deployed
    if not frozen.report:
        return {}, None
    rows = world.rows(frozen, "watch")
    order = sorted(
        rows, key=lambda at: (rows[at]["errors"] / rows[at]["ref_words"], hashlib.sha256(at.encode()).digest())
    )
    third = -(-len(order) // 3)
    return {name: order[at * third : (at + 1) * third] for at, name in enumerate(LEVELS)}, key


def _hash(strata: Mapping[str, list[str]]) -> str:
    return hashlib.sha256(repr([sorted(ids) for ids in strata.values()]).encode()).hexdigest()


def _accuracy(rows: Mapping[str, Row]) -> float | None:
    found = rate(rows)
    return None if found is None else 1 - found


def _interval(rows: Mapping[str, Row]) -> Row | None:
    """Of the accuracy."""
    found = ratio_interval(list(rows.values()), "errors", "ref_words") if rows else None
    return None if found is None else {**found, "low": max(0.0, 1 - found["high"]), "high": 1 - found["low"]}


def _rtf(current: Judged) -> float | None:
    compute_s, audio_s = current.report.get("compute_s"), current.report.get("audio_s")
    return compute_s / audio_s if compute_s and audio_s else None
