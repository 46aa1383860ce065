"""GET /metrics, in Prometheus' text format."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.http.deps import Ctx, Reader, in_thread
from api.http.observe import exposition
from api.http.problems import documented

router = APIRouter(tags=["operation"])


@router.get("/metrics", summary="Prometheus metrics", responses={**documented()})
async def metrics(context: Ctx, key: Reader) -> Response:
    return Response(await in_thread(exposition, context), headers={"Content-Type": CONTENT_TYPE_LATEST})
