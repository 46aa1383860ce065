"""GET /status, /gpu, /training, /eval: what a monitor polls. The same paths, without a key on this machine: :5555."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.http.deps import Ctx, Reader
from api.http.problems import documented
from api.status import pages

router = APIRouter(tags=["operation"])


@router.get("/status", summary="Everything: phase, training, GPU, queues, alerts", responses={**documented()})
async def status(context: Ctx, key: Reader) -> Response:
    """At most about a second old. Fields of what is not there are null; `gpu.reason` says why."""
    return await pages.answer(context.status_cache, "status")


@router.get("/gpu", summary="The GPU", responses={**documented()})
async def gpu(context: Ctx, key: Reader) -> Response:
    return await pages.answer(context.status_cache, "gpu")


@router.get("/training", summary="How far the training is", responses={**documented()})
async def training(context: Ctx, key: Reader) -> Response:
    """Of the training that runs; of the last one when none does."""
    return await pages.answer(context.status_cache, "training")


@router.get("/eval", summary="The last evaluation", responses={**documented()})
async def evaluation(context: Ctx, key: Reader) -> Response:
    """WER and CER are fractions; `wer_pct` and `cer_pct` are percent."""
    return await pages.answer(context.status_cache, "eval")
