"""Corrections given to training: consent by transcript, which can be taken back, and the data set made of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.answers.documents import JobDocument, job_document, job_url
from api.http.deps import Ctx, Reader, Writer, in_thread
from api.http.problems import documented, json_response
from api.requests.incoming import Submission
from api.requests.schemas import body_of
from api.routes.jobs import find
from milo.jobs import Job, iso
from milo.kinds.corrections import CorrectionsPayload, Which
from milo.kinds.fields import Closed
from milo.ledger import consents
from milo.ledger.consents import Consent
from milo.training import correction_sets

router = APIRouter(tags=["transcripts"])


class ConsentDocument(BaseModel):
    """Whether a transcript may be used for training."""

    transcript_id: str
    training: bool
    given_by: str | None
    given_at: str | None
    revoked_by: str | None
    revoked_at: str | None
    removed_segments: int | None = None
    """Only in the answer that takes it back: of data sets that were made before."""


class CorrectionsRequest(Closed):
    """Which segments of the given transcripts: those that people have changed, or all of the edited transcripts."""

    segments: Which = "edited"


def _document(job_id: str, consent: Consent | None) -> dict[str, Any]:
    return {
        "transcript_id": job_id,
        "training": consent is not None and consent.holds,
        "given_by": consent.given_by if consent else None,
        "given_at": iso(consent.given_at) if consent else None,
        "revoked_by": consent.revoked_by if consent else None,
        "revoked_at": iso(consent.revoked_at) if consent else None,
    }


@router.get(
    "/transcripts/{job_id}/consent",
    summary="May it be used for training?",
    responses={200: {"model": ConsentDocument}, **documented(404)},
)
async def look(job_id: str, context: Ctx, key: Reader) -> Response:
    """Not, unless somebody has said so."""
    job = await find(context, key, job_id, "stt")
    return json_response(_document(job.id, await in_thread(consents.consent_of, context.ledger, job.id)))


@router.put(
    "/transcripts/{job_id}/consent",
    summary="Give it to training",
    responses={200: {"model": ConsentDocument}, **documented(404)},
)
async def give(job_id: str, context: Ctx, key: Writer) -> Response:
    """The recording and its corrections may be used to train models of this server, until that is taken back."""
    job = await find(context, key, job_id, "stt")
    return json_response(_document(job.id, await in_thread(consents.give, context.ledger, job, key.name)))


@router.delete(
    "/transcripts/{job_id}/consent",
    summary="Take it back",
    responses={200: {"model": ConsentDocument}, **documented(404)},
)
async def revoke(job_id: str, context: Ctx, key: Writer) -> Response:
    """It is removed from the data sets that were made, too, and no later one holds it. A model that was trained on it
    stays as it is. Works also when the job is gone."""
    consent = await in_thread(consents.revoke, context.ledger, job_id, key.name, key.owner)
    removed = await in_thread(correction_sets.forget, context.settings, consent.job_id)
    return json_response(_document(consent.job_id, consent) | {"removed_segments": removed})


@router.post(
    "/corrections",
    summary="Make a data set of corrections",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 413, 415, 422)},
    openapi_extra=body_of(CorrectionsRequest),
)
async def collect(incoming: Submission) -> Response:
    """Of the transcripts that this key has edited and given (of everybody's, for one with the scope `admin`). The job's
    result says where it is: a folder that a recipe takes as `data.source`."""
    asked = await incoming.read_json(CorrectionsRequest)
    payload = CorrectionsPayload(owner=incoming.key.owner, segments=asked.segments)

    def create() -> Job:
        return incoming.create("corrections", lambda: payload, default="background")

    job = await in_thread(create)
    return json_response(job_document(job), 202, {"Location": job_url(job.id)})
