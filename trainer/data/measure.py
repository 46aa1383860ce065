"""How long each recording is, and the hash of its bytes: found once, remembered in `MILO_HOME/datasets/measured`."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from milo.audio import reading
from milo.audio.media import Media, open_media
from milo.errors import MiloError
from milo.models.files import write_durably
from milo.settings import Settings
from trainer.data.row import Row, digest

Audio = npt.NDArray[np.float32]
SAVE_EVERY = 2000


@dataclass(frozen=True)
class Measured:
    duration_s: float
    sha256: str
    """Of the encoded file."""
    fault: str = ""
    """Why it can't be used; empty: it can."""


def decode(source: Path | bytes, max_s: float) -> Audio:
    """Mono float32 at 16 kHz, shape (n,), from anything `milo.audio.reading` reads. Raises `BadMedia` or `TooLarge`."""
    blocks = list(reading.stream(io.BytesIO(source) if isinstance(source, bytes) else source, max_s=max_s))
    samples: Audio = np.concatenate(blocks).astype(np.float32) / np.float32(32768)
    return samples


def measure(row: Row, max_s: float) -> Measured:
    """Length and hash of one row's audio. A length that the header only guesses is counted by decoding."""
    try:
        source = row.open()
        content = source if isinstance(source, bytes) else source.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        with open_media(io.BytesIO(content)) as media:
            claim_s = media.plausible_claim_s
            if claim_s is not None and _is_cut_off(media, claim_s):
                return Measured(0, "", "cut off")
        if claim_s is None:
            claim_s = len(decode(content, max_s)) / reading.SAMPLE_RATE_HZ
        return Measured(round(claim_s, 3), sha256)
    except MiloError as error:
        return Measured(0, "", error.code)
    except OSError as error:
        nothing = isinstance(error, (FileNotFoundError, IsADirectoryError))  # an empty cell is the table's own folder
        return Measured(0, "", "missing" if nothing else str(error.strerror))


def _is_cut_off(media: Media, claim_s: float) -> bool:
    """Whether the packets end well before the length that the header states: such a file was not copied whole, and
    its text says more than is heard. Nothing is decoded."""
    if media.name == "wav":
        return media.lacks_end()
    last_s = 0.0
    with suppress(av.error.FFmpegError):
        for packet in media.container.demux(media.stream):
            if packet.pts is not None and packet.time_base:
                last_s = max(last_s, float(packet.pts * packet.time_base))
    return last_s < claim_s - max(1.0, 0.05 * claim_s)


def measured(
    settings: Settings, source: str, rows: list[Row], report: Callable[[int, int], None] | None = None
) -> Iterator[Measured]:
    """Each row's measure, in order. `report(done, total)` is called after each that had to be measured."""
    place = settings.home / "datasets" / "measured"
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{digest(source)[:16]}.json"
    remembered = _remembered(path)
    missing = [row for row in rows if row.state not in remembered and row.at_s is None]
    fresh = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="measure") as pool:
        for start in range(0, len(missing), SAVE_EVERY):
            part = missing[start : start + SAVE_EVERY]
            for row, one in zip(part, pool.map(lambda row: measure(row, settings.max_audio_s), part), strict=True):
                fresh += 1
                if row.state and not one.fault:
                    remembered[row.state] = (one.duration_s, one.sha256)
                else:
                    remembered.setdefault(row.id, (0, one.fault))
                if report:
                    report(fresh, len(missing))
            write_durably(path, json.dumps({key: pair for key, pair in remembered.items() if pair[0]}))
    for row in rows:
        if row.at_s is not None:
            yield Measured(row.at_s, row.state)
        elif row.state in remembered:
            yield Measured(*remembered[row.state])
        else:
            yield Measured(0, "", remembered[row.id][1])


def _remembered(path: Path) -> dict[str, tuple[float, str]]:
    try:
        return {key: (float(pair[0]), str(pair[1])) for key, pair in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, IndexError, AttributeError):
        return {}
