"""The items of a batch, each checked: recordings that were named, folders spread out, or texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from api.http.bodies import validate
from api.http.deps import Context
from api.requests.checks import check
from api.requests.errors import pointed, pointers_below
from api.requests.owned import OwnBlobs
from api.requests.sources import check_name, check_path
from milo.audio.folder import walk_recordings
from milo.audio.formats import RECORDING_SUFFIXES
from milo.errors import Forbidden, Invalid, MiloError, TooLarge
from milo.jobs import AudioSource
from milo.kinds import KINDS, batched
from milo.kinds.fields import BlobId, Closed, Name, PrintableText, ServerPath, Text
from milo.ledger.keys import Key

MAX_SKIPPED = 100


class Item(Closed):
    """One input of a batch: an uploaded blob or a file on the server, or (kinds `tts`, `translate`) a text."""

    blob: BlobId | None = None
    path: ServerPath | None = None
    text: PrintableText | None = None
    name: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_input(self) -> Item:
        if sum(value is not None for value in (self.blob, self.path, self.text)) != 1:
            raise ValueError("give exactly one of `blob`, `path` and `text`")
        return self


def _options_schema(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"$ref": f"#/components/schemas/{one.options.__name__}"} for one in batched().values()]


def _batched_kind(name: str) -> str:
    if name not in batched():
        *others, last = (repr(name) for name in batched())
        raise PydanticCustomError("literal_error", f"Input should be {', '.join(others)} or {last}")
    return name


def _kind_schema(schema: dict[str, Any]) -> None:
    schema["enum"] = list(batched())


class BatchRequest(Closed):
    """A batch. In a form, `request` holds this without `items`, and each `file` part is an item."""

    kind: Annotated[str, AfterValidator(_batched_kind)] = Field("stt", json_schema_extra=_kind_schema)
    items: list[Item] = []
    """Recordings, or for `tts` and `translate` texts: `{text, name}`, or the text alone."""
    paths: list[ServerPath] = []
    """Files, or folders whose audio files are all taken, under an allowed root."""
    name: Name | None = None
    options: dict[str, Any] = Field(default={}, json_schema_extra=_options_schema)
    callback_url: Text | None = None


@dataclass(frozen=True)
class CheckedBatch:
    """What a batch came to: the payload of each job, the options as they were asked for, and what was left out."""

    payloads: list[BaseModel]
    options: dict[str, Any]
    skipped: list[SkippedFile]


def check_batch(context: Context, key: Key, asked: BatchRequest) -> CheckedBatch:
    """The jobs of the request, checked. Raises one error that points at each item that is wrong."""
    row = batched()[asked.kind]
    options = validate(asked.options, row.options, ("options",))
    plain = options.model_dump(exclude_defaults=True)
    if row.items == "texts":
        if asked.paths:
            raise Invalid(f"a {asked.kind} batch is made of texts; it takes no `paths`", code="wrong_items")
        return CheckedBatch(_texts(context, key, asked, options), plain, [])
    listing = list_sources(context, key, asked)
    with pointers_below("options"):
        first = check(context, key, asked.kind, _request(asked.kind, options, source=listing.sources[0]))
    payloads = [first.model_copy(update={"source": source}) for source in listing.sources]
    return CheckedBatch(payloads, plain, listing.skipped)


def _request(kind: str, options: BaseModel, **item: Any) -> BaseModel:
    """What a client would send for one item alone."""
    model = KINDS[kind].request
    assert model is not None, "what comes in batches comes alone, too"
    return model.model_validate(options.model_dump() | item)


def _texts(context: Context, key: Key, asked: BatchRequest, options: BaseModel) -> list[BaseModel]:
    """The payload of each text. What is wrong with the options is found at the first text that is right."""
    if len(asked.items) > context.settings.max_batch_items:
        raise _too_many(context.settings.max_batch_items)
    if not asked.items:
        raise Invalid("the batch is empty: give items", code="empty_batch")
    listing: Listing = Listing()
    payloads: list[BaseModel] = []
    for index, item in enumerate(asked.items):
        try:
            payloads.append(_text_payload(context, key, asked.kind, options, item))
        except MiloError as error:
            pointers = {one.get("pointer") for one in error.errors or ()}
            if not isinstance(error, Invalid) or not pointers <= {"#/text"}:
                with pointers_below("options"):
                    raise
            _note(listing, error, f"#/items/{index}/text")
    _raise_errors(listing)
    return payloads


def _text_payload(context: Context, key: Key, kind: str, options: BaseModel, item: Item) -> BaseModel:
    if item.text is None:
        raise pointed("this kind of batch is made of texts", "text", "wrong_items")
    return check(context, key, kind, _request(kind, options, text=item.text, name=item.name))


class SkippedFile(TypedDict):
    """A file under a folder that was left out, and why."""

    name: str
    detail: str


class ItemError(TypedDict):
    detail: str
    pointer: str
    code: str


@dataclass
class Listing:
    """What a request came to."""

    sources: list[AudioSource] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    errors: list[ItemError] = field(default_factory=list)
    worst: int = 422


def list_sources(context: Context, key: Key, asked: BatchRequest) -> Listing:
    """Every recording of the request, checked. Raises one error that points at each item that is wrong."""
    most = context.settings.max_batch_items
    if len(asked.items) + len(asked.paths) > most:
        raise _too_many(most)
    listing = Listing()
    stored: dict[str, bool] = {}
    for index, item in enumerate(asked.items):
        try:
            listing.sources.append(_source(context, key, item, stored))
        except MiloError as error:
            _note(listing, error, f"#/items/{index}/{'blob' if item.blob else 'path' if item.path else 'text'}")
    for index, path in enumerate(asked.paths):
        try:
            for source in _spread(context, path, listing):
                listing.sources.append(source)
                if len(listing.sources) > most:
                    raise _too_many(most)
        except TooLarge:
            raise
        except MiloError as error:
            _note(listing, error, f"#/paths/{index}")
    _raise_errors(listing)
    if not listing.sources:
        skipped = f" ({len(listing.skipped)} files were left out)" if listing.skipped else ""
        raise Invalid(f"the batch is empty: give items, or paths with audio files in them{skipped}", code="empty_batch")
    return listing


def _too_many(most: int) -> TooLarge:
    return TooLarge(f"a batch has at most {most} items (MILO_MAX_BATCH_ITEMS); send several", code="batch_too_large")


def _note(listing: Listing, error: MiloError, pointer: str) -> None:
    listing.worst = error.status if isinstance(error, Forbidden) else listing.worst
    listing.errors.append({"detail": error.detail, "pointer": pointer, "code": error.code})


def _raise_errors(listing: Listing) -> None:
    if not listing.errors:
        return
    first, count = listing.errors[0], len(listing.errors)
    more = f" (and {count - 1} more)" if count > 1 else ""
    refusal = Forbidden if listing.worst == 403 else Invalid
    code = str(first["code"]) if len({error["code"] for error in listing.errors}) == 1 else None
    raise refusal(
        f"{first['pointer']}: {first['detail']}{more}",
        code=code,
        errors=[dict(error) for error in listing.errors[:100]],
    )


def _source(context: Context, key: Key, item: Item, stored: dict[str, bool]) -> AudioSource:
    if item.text is not None:
        raise Invalid("this batch is made of recordings; texts need `kind` tts or translate", code="wrong_items")
    if item.path is not None:
        return AudioSource(path=check_path(context, item.path), name=item.name or os.path.basename(item.path))
    blob = item.blob or ""
    if blob not in stored:
        stored[blob] = OwnBlobs(context, key).size(blob) is not None
    if not stored[blob]:
        raise Invalid(f"the blob {blob} is not stored here; send it to POST /api/v1/blobs", code="unknown_blob")
    return AudioSource(blob=blob, name=item.name or "audio")


def _spread(context: Context, path: str, listing: Listing) -> Iterator[AudioSource]:
    """The file itself, or the audio files under the folder, named by their path in it, in order."""
    if "://" in path:
        yield from _spread_url(context, path)
        return
    try:
        real = context.files.allowed_path(path)
    except (ValueError, OSError) as error:
        raise Invalid(f"{path!r} can't be a path: {error}", code="unknown_path") from None
    if not os.path.isdir(real):
        yield AudioSource(path=check_path(context, path), name=os.path.basename(path) or "audio")
        return
    for file, left_out in walk_recordings(Path(real)):
        name = os.path.relpath(file, real).encode("utf-8", "replace").decode()
        try:
            context.files.allowed_path(str(file))  # first: what a link leads to outside is nobody's business
            if left_out:
                raise Invalid(left_out)
            check_name(name)
            yield AudioSource(path=check_path(context, str(file)), name=name)
        except MiloError as error:
            if len(listing.skipped) < MAX_SKIPPED:
                listing.skipped.append({"name": name, "detail": error.detail})


def _spread_url(context: Context, url: str) -> Iterator[AudioSource]:
    import fsspec

    allowed = context.files.allowed_path(url)
    fs, root = fsspec.core.url_to_fs(allowed)
    try:
        files = sorted(fs.find(root)) if fs.isdir(root) else None
    except (OSError, ValueError, ImportError) as error:
        raise Invalid(f"{url} can't be listed: {error}", code="unknown_path") from None
    if files is None:
        yield AudioSource(path=allowed, name=url.rsplit("/", 1)[-1] or "audio")
        return
    for path in files:
        if _is_audio(path):
            yield AudioSource(path=fs.unstrip_protocol(path), name=path[len(root) :].lstrip("/"))


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in RECORDING_SUFFIXES
