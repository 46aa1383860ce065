"""How long each recording is, and the hash of its bytes: found once, remembered in `MILO_HOME/datasets/measured`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt

from milo.audio import reading
from milo.audio.lasting import LastingDecoder, lasting_of
from milo.audio.media import Media, open_media
from milo.audio.mixdown import Pcm
from milo.audio.parts import Part, find_parts, wrong_length
from milo.errors import BadMedia, MiloError
from milo.models.files import write_durably
from milo.settings import Settings
from milo.storage.opening import sha256_of
from milo.training.data.row import Row, digest

Audio = npt.NDArray[np.float32]
SAVE_EVERY = 2000
RULE = 2
"""Of how a length is found: what another rule found is not remembered."""
CUT_OFF_S, CUT_OFF_SHARE = 0.25, 0.02
"""A WAV that lacks more of what its header claims was not copied whole; less is a header that is wrong."""


@dataclass(frozen=True)
class Measured:
    duration_s: float
    sha256: str
    """Of the encoded file."""
    fault: str = ""
    """Why it can't be used; empty: it can."""
    wrong_length: bool = False
    """Whether the header of a WAV claims another length than is there."""


def decode(file: BinaryIO, max_s: float, decoder: LastingDecoder) -> Audio:
    """Mono float32 at 16 kHz, shape (n,), from anything `milo.audio.reading` reads, decoded in a process apart.
    Raises `MiloError`."""
    return to_float(decoder.decode(file, max_s))


def to_float(pcm: Pcm) -> Audio:
    """int16 -> float32, of the same samples."""
    samples: Audio = pcm.astype(np.float32) / np.float32(32768)
    return samples


def measure(row: Row, max_s: float, decoder: LastingDecoder) -> Measured:
    """Length and hash of one row's audio, found in a process apart."""
    try:
        with row.open() as file:
            sha256 = sha256_of(file)
            file.seek(0)
            _, found = decoder.run(f"{__name__}:length_of", file, max_s, max_s=max_s)
        return Measured(round(found["seconds"], 3), sha256, wrong_length=found["wrong_length"])
    except MiloError as error:
        return Measured(0, "", "missing" if error.code == "no_such_file" else error.code)
    except OSError as error:
        return Measured(0, "", str(error.strerror))


def length_of(file: BinaryIO, max_s: float) -> Generator[Pcm, None, dict[str, Any]]:
    """How long a recording is, with all the parts that the file holds, and whether a WAV's header says otherwise. A
    length that the header only guesses is counted by decoding. Yields nothing; it runs in the process apart.

    Raises `BadMedia` for one that was not copied whole: its text says more than is heard.
    """
    parts = find_parts(file)
    seconds = 0.0
    for part in parts:
        with open_media(file, part=part) as media:
            claim_s = media.plausible_claim_s
            if claim_s is None:
                file.seek(0)
                seconds = sum(map(len, reading.stream(file, max_s=max_s))) / reading.SAMPLE_RATE_HZ
                break
            if _is_cut_off(media, part, claim_s):
                raise BadMedia("The file is shorter than its header claims.", code="cut off")
            seconds += claim_s
    return {"seconds": seconds, "wrong_length": bool(wrong_length(parts))}
    yield  # what makes it a generator


def _is_cut_off(media: Media, part: Part, claim_s: float) -> bool:
    """Whether the audio ends well before the length that the header states. Nothing is decoded."""
    if part.wav:
        return part.missing_s > max(CUT_OFF_S, CUT_OFF_SHARE * (claim_s + part.missing_s))
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
    path = place / f"{digest(RULE, source)[:16]}.json"
    remembered = _remembered(path)
    missing = [row for row in rows if row.state not in remembered and row.at_s is None]
    decoder = lasting_of(settings)
    fresh = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="measure") as pool:
        for start in range(0, len(missing), SAVE_EVERY):
            part = missing[start : start + SAVE_EVERY]
            for row, one in zip(
                part, pool.map(lambda row: measure(row, settings.max_audio_s, decoder), part), strict=True
            ):
                fresh += 1
                if row.state and not one.fault:
                    remembered[row.state] = one
                else:
                    remembered.setdefault(row.id, one)
                if report:
                    report(fresh, len(missing))
            kept = {key: asdict(one) for key, one in remembered.items() if not one.fault}
            write_durably(path, json.dumps(kept))
    for row in rows:
        if row.at_s is not None:
            yield Measured(row.at_s, row.state)
        else:
            yield remembered[row.state if row.state in remembered else row.id]


def _remembered(path: Path) -> dict[str, Measured]:
    try:
        return {key: Measured(**one) for key, one in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
