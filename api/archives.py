"""The items of a batch: what was named becomes a list of files, folders spread out, each checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from api.deps import Context
from api.submit import BlobId, Closed, Name, SttOptions, Text, check_path
from milo.errors import Forbidden, Invalid, MiloError, TooLarge
from milo.jobs import AudioSource

AUDIO_EXTENSIONS = frozenset(
    "3gp aac ac3 aif aiff alac amr ape au avi caf dsf dts eac3 flac flv gsm m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpc "
    "mpeg mpg oga ogg ogv opus qcp ra rm spx tak tta ts voc w64 wav wave weba webm wma wmv wv".split()
)
"""What counts as audio in a folder. A file that is named by itself may have any extension."""
MAX_SKIPPED = 100

ServerPath = Annotated[Text, Field(min_length=1, max_length=4096)]


class Item(Closed):
    """One recording of a batch: an uploaded blob or a file on the server."""

    blob: BlobId | None = None
    path: ServerPath | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Item:
        if (self.blob is None) == (self.path is None):
            raise ValueError("give exactly one of `blob` and `path`")
        return self


class BatchRequest(Closed):
    """A batch. In a form, `request` holds this without `items`, and each `file` part is an item."""

    kind: Literal["stt"] = "stt"
    items: list[Item] = []
    paths: list[ServerPath] = []
    """Files, or folders whose audio files are all taken, under an allowed root."""
    name: Name | None = None
    options: SttOptions = SttOptions()
    callback_url: Text | None = None


@dataclass
class Listing:
    """What a request came to."""

    sources: list[AudioSource] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    worst: int = 422


def list_sources(context: Context, asked: BatchRequest) -> Listing:
    """Every recording of the request, checked. Raises one error that points at each item that is wrong."""
    most = context.settings.max_batch_items
    if len(asked.items) + len(asked.paths) > most:
        raise _too_many(most)
    listing = Listing()
    stored: dict[str, bool] = {}
    for index, item in enumerate(asked.items):
        try:
            listing.sources.append(_source(context, item, stored))
        except MiloError as error:
            _note(listing, error, f"#/items/{index}/{'blob' if item.blob else 'path'}")
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
    kind = Forbidden if listing.worst == 403 else Invalid
    code = str(first["code"]) if len({error["code"] for error in listing.errors}) == 1 else None
    raise kind(f"{first['pointer']}: {first['detail']}{more}", code=code, errors=listing.errors[:100])


def _source(context: Context, item: Item, stored: dict[str, bool]) -> AudioSource:
    if item.path is not None:
        return AudioSource(path=check_path(context, item.path), name=item.name or os.path.basename(item.path))
    blob = item.blob or ""
    if blob not in stored:
        stored[blob] = context.files.has_blob(blob)
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
    for found in _walk(Path(real)):
        name = found.relative_to(real).as_posix()
        try:
            yield AudioSource(path=check_path(context, str(found)), name=name.encode("utf-8", "replace").decode())
        except MiloError as error:
            if len(listing.skipped) < MAX_SKIPPED:
                listing.skipped.append({"name": name.encode("utf-8", "replace").decode(), "detail": error.detail})


def _walk(folder: Path) -> Iterator[Path]:
    """Audio files below a folder, sorted; hidden ones left out, and linked folders not entered."""
    for current, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and _is_audio(name):
                yield Path(current, name)


def _spread_url(context: Context, url: str) -> Iterator[AudioSource]:
    import fsspec

    allowed = context.files.allowed_path(url)
    fs, root = fsspec.core.url_to_fs(allowed)
    try:
        found = sorted(fs.find(root)) if fs.isdir(root) else None
    except (OSError, ValueError, ImportError) as error:
        raise Invalid(f"{url} can't be listed: {error}", code="unknown_path") from None
    if found is None:
        yield AudioSource(path=allowed, name=url.rsplit("/", 1)[-1] or "audio")
        return
    for path in found:
        if _is_audio(path):
            yield AudioSource(path=fs.unstrip_protocol(path), name=path[len(root) :].lstrip("/"))


def _is_audio(name: str) -> bool:
    return name.rsplit(".", 1)[-1].lower() in AUDIO_EXTENSIONS and "." in name
