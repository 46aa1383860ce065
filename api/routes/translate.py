"""POST /translate: a text, or several, from one language into another."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.answers import renderings
from api.answers.accepted import accept_and_wait
from api.answers.documents import JobDocument
from api.answers.results import headers_of, took_ms
from api.http.deps import Context
from api.http.problems import documented, json_response
from api.requests.incoming import Submission
from api.requests.schemas import body_of
from api.requests.translate import TranslateRequest
from milo.jobs import Job

router = APIRouter(tags=["translation"])


class TranslateAnswer(BaseModel):
    """`translation` for one `text`, `translations` (in order) for `texts`; `cached`: none of them needed the model."""

    translation: str | None = None
    translations: list[str] | None = None
    source: str
    target: str
    cached: bool
    processing_ms: float
    job_id: str


@router.post(
    "/translate",
    summary="Translate",
    responses={
        200: {"model": TranslateAnswer},
        202: {"model": JobDocument, "description": "accepted; Location says where to look"},
        **documented(400, 408, 409, 413, 415, 422),
    },
    openapi_extra=body_of(TranslateRequest),
)
async def translate(incoming: Submission) -> Response:
    """The user's glossary first, then what is remembered, then the model. `Prefer` and `callback_url` as everywhere."""
    asked = await incoming.read_json(TranslateRequest)
    render = partial(_answer, single=asked.text is not None)
    return await accept_and_wait(incoming, "translate", asked, render, priority=asked.priority)


def _answer(context: Context, job: Job, single: bool) -> Response:
    result = renderings.load(context, job)
    texts = [one["text"] for one in result["translations"]]
    document = {"translation": texts[0]} if single else {"translations": texts}
    document |= {
        "source": result["source"],
        "target": result["target"],
        "cached": all(one["cached"] for one in result["translations"]),
        "processing_ms": took_ms(job),
        "job_id": job.id,
    }
    return json_response(document, headers=headers_of(job))
