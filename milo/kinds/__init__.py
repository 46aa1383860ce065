"""The kinds of jobs, a row each: what a client may send, what the worker reads, the stages, what results come as.

Public: `KINDS`, `Kind` and `queue_for`. How a kind is added: `docs/adding-a-kind.md`.
"""

from __future__ import annotations

from milo.kinds.chat import CHAT, CONVERSE
from milo.kinds.corrections import CORRECTIONS
from milo.kinds.kind import Batches, Kind, ModelUse
from milo.kinds.ping import PING
from milo.kinds.playback import PLAYBACK
from milo.kinds.stt import STT
from milo.kinds.training import DEPLOY, EVALUATION, PIPELINE, SYSTEM, TRAINING
from milo.kinds.translate import TRANSLATE
from milo.kinds.tts import TTS

__all__ = ["KINDS", "Batches", "Kind", "ModelUse", "batched", "model_uses", "queue_for", "submittable"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        STT,
        TTS,
        TRANSLATE,
        CHAT,
        CONVERSE,
        TRAINING,
        EVALUATION,
        PIPELINE,
        DEPLOY,
        SYSTEM,
        PLAYBACK,
        CORRECTIONS,
        PING,
    )
}


def queue_for(kind: str, stage: str, priority: str) -> str:
    """The Celery queue of a stage. Archives are decoded apart (`cpu.batch`), so they never delay a single request."""
    if KINDS[kind].stage(stage).pool == "gpu":
        return f"gpu.{priority}"
    return "cpu" if priority in ("realtime", "interactive") else "cpu.batch"


def submittable() -> dict[str, Kind]:
    """Kinds that POST /jobs takes, by name."""
    return {name: kind for name, kind in KINDS.items() if kind.request}


def batched() -> dict[str, Batches]:
    """Kinds that POST /batches takes, by name."""
    return {name: kind.batches for name, kind in KINDS.items() if kind.batches}


def model_uses() -> dict[str, ModelUse]:
    """What models are used for, by name."""
    return {kind.model.name: kind.model for kind in KINDS.values() if kind.model}
