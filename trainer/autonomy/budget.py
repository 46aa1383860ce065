"""What the looks of one run have used up of their false alarms, kept in the document that a system wrote last."""

from __future__ import annotations

from milo.storage.json_lines import Row
from milo.training.looks import Looks
from trainer.autonomy.world import World


def memory(world: World) -> tuple[Looks, list[str], Row]:
    """What is left, whom was looked at, and the document of the last look; another run begins anew."""
    before = world.before if world.before.get("run_id") == world.run_id else {}
    looks = before.get("looks") or {}
    kept = Looks(looks["used"], looks["left"]) if looks else Looks()
    return kept, list(looks.get("seen", [])), before


def document(looks: Looks, seen: list[str]) -> Row:
    return {"used": looks.used, "left": looks.left, "seen": seen}
