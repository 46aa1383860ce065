"""Blobs: uploaded audio, named by its content, to be sent once and used in any number of jobs."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.http import bodies
from api.http.deps import Ctx, Reader, Writer, in_thread
from api.http.problems import documented, invalid, json_response
from api.requests.owned import OwnBlobs
from milo.errors import NotFound
from milo.storage.files import Blob

router = APIRouter(tags=["blobs"])


class BlobDocument(BaseModel):
    id: str
    """sha256 of the content, hex."""
    size_bytes: int


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "*/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


@router.post(
    "/blobs",
    summary="Upload audio",
    status_code=201,
    responses={201: {"model": BlobDocument}, **documented(400, 408, 413, 422)},
    openapi_extra=BODY,
)
async def upload(request: Request, context: Ctx, key: Writer) -> Response:
    """The body is the file, of any content type; or a form with one `file`. It goes to disk as it arrives."""
    limit, blobs = context.settings.max_upload_bytes, OwnBlobs(context, key)
    blob: Blob | None = None
    if not bodies.is_multipart(request):
        blob = await blobs.receive(request.stream(), limit)
    else:
        async for part in bodies.Multipart(request, max_parts=8).parts():
            if part.name == "file" and blob is None:
                blob = await blobs.receive(part.chunks(), limit)
        if blob is None:
            raise invalid([{"loc": ("file",), "msg": "the form has no part named `file`", "type": "missing"}])
    document = {"id": blob.id, "size_bytes": blob.size_bytes}
    return json_response(document, 201, {"Location": f"/api/v1/blobs/{blob.id}"})


@router.get("/blobs/{blob_id}", summary="Is it stored?", responses={200: {"model": BlobDocument}, **documented(404)})
async def look(blob_id: str, context: Ctx, key: Reader) -> Response:
    """So that a client need not send the same audio twice. What others have sent is not there."""
    size = await in_thread(OwnBlobs(context, key).size, blob_id) if re.fullmatch("[0-9a-f]{64}", blob_id) else None
    if size is None:
        raise NotFound(f"there is no blob {blob_id!r}; ids are sha256 in lower-case hex", code="unknown_blob")
    return json_response({"id": blob_id, "size_bytes": size})
