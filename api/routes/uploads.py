"""Uploads that resume, by the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload): the core, creation,
creation-with-upload, termination, expiration and checksum. What is complete is a blob."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from api.http.bodies import content_type
from api.http.deps import Context, Ctx, Reader, Writer, in_thread
from api.http.problems import UnsupportedType, documented, json_response
from api.requests.owned import OwnBlobs, note_blob
from milo.errors import BadRequest, MiloError
from milo.jobs import iso
from milo.ledger import owners
from milo.ledger.keys import Key
from milo.storage.uploads import CHECKSUMS, Upload, Uploads

router = APIRouter(tags=["blobs"])

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration,checksum"
PIECE = "application/offset+octet-stream"
MAX_METADATA = 4096
MAX_SIZE_DIGITS = 15
BODY: dict[str, Any] = {
    "requestBody": {"content": {PIECE: {"schema": {"type": "string", "format": "binary"}}}},
    "parameters": [
        {"name": name, "in": "header", "schema": {"type": "string"}, "required": required}
        for name, required in (("Tus-Resumable", True), ("Upload-Checksum", False))
    ],
}


class WrongVersion(MiloError):
    code, status, title = "tus_version", 412, "That version of tus is not spoken here"


class UploadDocument(BaseModel):
    """How far an upload is."""

    id: str
    size_bytes: int
    offset: int
    blob: str | None
    """The id of the blob, when everything has arrived."""
    expires_at: str
    url: str


def _uploads(context: Context) -> Uploads:
    return Uploads(context.settings, context.files)


@router.options(
    "/uploads",
    summary="What of tus is spoken here",
    status_code=204,
    responses={
        204: {"description": "Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm"},
        **documented(),
    },
)
async def options(context: Ctx, key: Writer) -> Response:
    headers = {"Tus-Resumable": VERSION, "Tus-Version": VERSION, "Tus-Extension": EXTENSIONS}
    headers |= {"Tus-Checksum-Algorithm": ",".join(CHECKSUMS), "Tus-Max-Size": str(context.settings.max_upload_bytes)}
    return Response(status_code=204, headers=headers)


@router.post(
    "/uploads",
    summary="Begin an upload that can be resumed",
    status_code=201,
    responses={201: {"description": "Location says where to send it"}, **documented(400, 412, 413, 415, 422)},
    openapi_extra=BODY,
)
async def create(request: Request, context: Ctx, key: Writer) -> Response:
    """By tus 1.0.0: `Upload-Length`, and `Upload-Metadata` if you like. A body is its first piece."""
    _check_version(request)
    if "upload-defer-length" in request.headers:
        raise BadRequest("send `Upload-Length`: uploads of unknown length are not taken", code="bad_upload")
    size = _number(request, "upload-length")
    metadata = _metadata(request)
    await in_thread(OwnBlobs(context, key).check_room, size)
    upload = await _owned(context, await in_thread(_uploads(context).create, key.name, size, metadata))
    if content_type(request) == PIECE:
        upload = await _append(request, context, upload, 0)
    await _note(context, upload)
    return Response(status_code=201, headers={"Location": _url(upload), **_headers(upload)})


@router.get(
    "/uploads/{upload_id}",
    summary="How far is it?",
    responses={200: {"model": UploadDocument}, **documented(404)},
)
async def look(upload_id: str, context: Ctx, key: Reader) -> Response:
    """`Upload-Offset` says where to go on; HEAD answers the same without the document."""
    upload = await in_thread(_uploads(context).get, upload_id, key.owner)
    await _note(context, upload)
    headers = _headers(upload) | {"Upload-Length": str(upload.size_bytes), "Cache-Control": "no-store"}
    headers |= {"Upload-Metadata": upload.metadata} if upload.metadata else {}
    document = {"id": upload.id, "size_bytes": upload.size_bytes, "offset": upload.offset, "blob": upload.blob}
    return json_response(document | {"expires_at": iso(upload.expires_at), "url": _url(upload)}, headers=headers)


@router.patch(
    "/uploads/{upload_id}",
    summary="Send a piece",
    status_code=204,
    responses={
        204: {"description": "it is kept; Upload-Offset says where to go on"},
        **documented(400, 404, 409, 413, 415),
    },
    openapi_extra=BODY,
)
async def append(upload_id: str, request: Request, context: Ctx, key: Writer) -> Response:
    """`Upload-Offset` must be where the upload is. The answer to the last piece holds `Milo-Blob`, the blob's id."""
    upload = await _find(request, context, key, upload_id)
    if content_type(request) != PIECE:
        raise UnsupportedType(f"the content type of a piece is {PIECE}")
    upload = await _append(request, context, upload, _number(request, "upload-offset"))
    await _note(context, upload)
    return Response(status_code=204, headers=_headers(upload))


@router.delete("/uploads/{upload_id}", summary="Give it up", status_code=204, responses={**documented(404)})
async def delete(upload_id: str, request: Request, context: Ctx, key: Writer) -> Response:
    """A blob that it became stays."""
    upload = await _find(request, context, key, upload_id)
    await in_thread(_uploads(context).delete, upload)
    return Response(status_code=204, headers={"Tus-Resumable": VERSION})


async def _find(request: Request, context: Context, key: Key, upload_id: str) -> Upload:
    upload = await in_thread(_uploads(context).get, upload_id, key.owner)
    _check_version(request)
    return upload


async def _note(context: Context, upload: Upload) -> None:
    """What is complete is its owner's blob. Noted whenever it is asked for, too: the answer may have been the last act
    of a process that was killed."""
    if upload.blob:
        await in_thread(note_blob, context, upload.blob, upload.owner)


async def _append(request: Request, context: Context, upload: Upload, offset: int) -> Upload:
    checksum = _checksum(request)

    async def arriving() -> AsyncIterator[bytes]:
        try:
            async for chunk in request.stream():
                yield chunk
        except ClientDisconnect:
            if checksum:  # of the whole piece, which will not come
                raise

    return await _owned(context, await _uploads(context).append(upload, offset, arriving(), checksum))


async def _owned(context: Context, upload: Upload) -> Upload:
    """A blob that it became belongs to whose upload it was."""
    if upload.blob:
        await in_thread(owners.note, context.ledger.engine, "blob", upload.blob, upload.owner)
    return upload


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise WrongVersion(f"send the header `Tus-Resumable: {VERSION}`")


def _number(request: Request, name: str) -> int:
    value = request.headers.get(name, "")
    if not re.fullmatch(rf"[0-9]{{1,{MAX_SIZE_DIGITS}}}", value):
        raise BadRequest(
            f"the header `{name.title()}` must be a number of bytes, not {value[:40]!r}", code="bad_upload"
        )
    return int(value)


def _metadata(request: Request) -> str:
    """As it was sent: keys, each with a value in base64, separated by commas."""
    value = request.headers.get("upload-metadata", "")
    pairs = [pair.split() for pair in value.split(",")] if value else []
    right = all(1 <= len(pair) <= 2 and _is_base64(pair[1] if len(pair) == 2 else "") for pair in pairs)
    if not right or len(value) > MAX_METADATA or not (value.isascii() and value.isprintable()):
        raise BadRequest("`Upload-Metadata` reads `key base64,key base64`, at most 4096 characters", code="bad_upload")
    return value


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _checksum(request: Request) -> tuple[str, bytes] | None:
    value = request.headers.get("upload-checksum")
    if value is None:
        return None
    algorithm, _, digest = value.partition(" ")
    if algorithm not in CHECKSUMS or not digest or not _is_base64(digest):
        raise BadRequest(f"`Upload-Checksum` is one of {', '.join(CHECKSUMS)}, and base64", code="bad_checksum")
    return algorithm, base64.b64decode(digest)


def _url(upload: Upload) -> str:
    return f"/api/v1/uploads/{upload.id}"


def _headers(upload: Upload) -> dict[str, str]:
    headers = {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": formatdate(upload.expires_at, usegmt=True),
    }
    return headers | ({"Milo-Blob": upload.blob} if upload.blob else {})
