"""What lies between a recording and the STT engine: its speech, decoded once, in a folder.

    speech.pcm    int16 mono 16 kHz, the stretches around speech one after the other (long silences are left out)
    speech.prob   uint8, speech probability x 255 of every 512-sample frame of the recording
    speech.gain   uint8, by how many dB each quarter of a second was raised
    speech.json   where each stretch belongs, the speech spans, what was odd about the file; written last

Positions in the files are samples at 16 kHz on the time line of the original; the interface speaks seconds.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from milo.audio.level import Leveler
from milo.audio.reading import SAMPLE_RATE_HZ, AudioStream
from milo.audio.silero import FRAME
from milo.audio.vad import Segmenter, Span, Vad, VadOptions, pad_spans
from milo.errors import NotFound
from milo.transcription.windows import Window, plan_windows

__all__ = ["DecodedSpeech", "Window", "decode_speech", "plan_windows", "speech_in"]

_VERSION = 2
_MARGIN_S = 1.0
"""Kept on both sides of speech: a pause of up to twice this stays whole."""
_CRUMB_S = 0.2
"""Less of a span is no speech."""
_PCM, _PROB, _GAIN, _MAP = "speech.pcm", "speech.prob", "speech.gain", "speech.json"


@dataclass(frozen=True)
class DecodedSpeech:
    """The speech of one recording, ready for windows to be read from it."""

    samples_n: int
    """Length of the recording in samples at 16 kHz."""
    span_samples: list[Span]
    """Speech, padded; sorted, without overlap."""
    regions: list[tuple[int, int, int]]
    """(first sample, the one behind the last, offset in `pcm`) of each stretch that was kept."""
    pcm: npt.NDArray[np.int16]
    frame_probabilities: npt.NDArray[np.uint8]
    """Speech probability x 255 of each 512-sample frame."""
    gains_db: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """By how much each `GAIN_STEP` of samples was raised."""
    warnings: list[str] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)
    """container, codec, sample_rate_hz, channels, duration_s (as its header says), sha256, faults."""

    @property
    def duration_s(self) -> float:
        return self.samples_n / SAMPLE_RATE_HZ

    @property
    def speech_s(self) -> float:
        return sum(end - start for start, end in self.span_samples) / SAMPLE_RATE_HZ

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Speech as (start_s, end_s)."""
        return [(start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for start, end in self.span_samples]

    def samples(self, start_s: float, end_s: float) -> npt.NDArray[np.float32]:
        """Samples from `start_s` to `end_s`, float32 in [-1, 1]. Silence that was not kept reads as zeros."""
        return self.slice(round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ))

    def slice(self, start: int, end: int) -> npt.NDArray[np.float32]:
        """As `samples`, by sample positions, cut to the length of the recording."""
        start, end = max(0, start), min(end, self.samples_n)
        out = np.zeros(max(0, end - start), np.float32)
        nearest = max(0, bisect_right(self.regions, (start, self.samples_n, 0)) - 1)
        for first, behind, offset in itertools.takewhile(lambda region: region[0] < end, self.regions[nearest:]):
            low, high = max(start, first), min(end, behind)
            if low < high:
                piece = self.pcm[offset + low - first : offset + high - first]
                np.multiply(piece, np.float32(1 / 32768), out=out[low - start : high - start])
        return out

    def without(self, spans: Sequence[Span]) -> DecodedSpeech:
        """The same recording, with nothing said in these of its spans, or in parts of them. In memory only."""
        marks = np.zeros(len(self.frame_probabilities), bool)
        for start, end in spans:
            marks[start // FRAME : -(-end // FRAME)] = True
        left = [piece for span in self.span_samples for piece in _minus(span, spans)]
        probabilities = np.where(marks, np.uint8(0), self.frame_probabilities)
        return replace(self, span_samples=left, frame_probabilities=probabilities)

    @classmethod
    def load(cls, folder: Path) -> DecodedSpeech:
        """Opens what `decode_speech` wrote. Raises `NotFound` (code not_decoded) where that is not complete."""
        try:
            return cls._read(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotFound(
                "The recording is not decoded, or only in part; decode it again.", code="not_decoded"
            ) from error

    @classmethod
    def _read(cls, folder: Path) -> DecodedSpeech:
        written = json.loads((folder / _MAP).read_text())
        pcm = _memory_map(folder / _PCM)
        if written["version"] != _VERSION or len(pcm) != written["pcm_samples"]:
            raise ValueError("another version, or cut off")
        return cls(
            samples_n=written["samples"],
            span_samples=[(start, end) for start, end in written["spans"]],
            regions=[(start, end, offset) for start, end, offset in written["regions"]],
            pcm=pcm,
            frame_probabilities=np.fromfile(folder / _PROB, np.uint8),
            gains_db=np.fromfile(folder / _GAIN, np.uint8),
            warnings=written["warnings"],
            source=written["source"],
        )


def _minus(span: Span, others: Sequence[Span]) -> list[Span]:
    """What is left of a span without others, which are sorted; crumbs are not."""
    start, behind = span
    left = []
    for first, end in others:
        if end > start and first < behind:
            left.append((start, first))
            start = max(start, end)
    left.append((start, behind))
    return [(low, high) for low, high in left if high - low >= _CRUMB_S * SAMPLE_RATE_HZ]


def _memory_map(path: Path) -> npt.NDArray[np.int16]:
    return np.memmap(path, "<i2", "r") if path.stat().st_size else np.zeros(0, np.int16)


class _Keeper:
    """Writes the stretches around speech to a file, as soon as it is known what follows them."""

    def __init__(self, file: BinaryIO, release: float, margin_s: float) -> None:
        self.regions: list[tuple[int, int, int]] = []
        self.written = 0
        self._file, self._release = file, release
        self._margin = round(margin_s * SAMPLE_RATE_HZ / FRAME)
        self._marks = np.zeros(self._margin, bool)
        """Speech or not, of the frames from `margin` before the first undecided one."""
        self._held = np.zeros(0, np.int16)
        self._at = 0

    def feed(self, pcm: npt.NDArray[np.int16], probabilities: npt.NDArray[np.float32]) -> None:
        self._held = np.concatenate([self._held, pcm])
        self._marks = np.concatenate([self._marks, probabilities >= self._release])
        self._decide(len(self._marks) - 2 * self._margin)

    def finish(self) -> None:
        """Nothing follows: decides on all that is left."""
        self._marks = np.concatenate([self._marks, np.zeros(self._margin, bool)])
        self._decide(len(self._marks) - 2 * self._margin)

    def _decide(self, count: int) -> None:
        if count <= 0:
            return
        reach = 2 * self._margin + 1
        keep = np.convolve(self._marks, np.ones(reach, np.int32), "valid") > 0
        edges = np.flatnonzero(np.diff(keep.astype(np.int8), prepend=0, append=0))
        for first, behind in edges.reshape(-1, 2):
            self._write(first * FRAME, min(behind * FRAME, len(self._held)))
        self._marks = self._marks[count:]
        self._held = self._held[count * FRAME :].copy()
        self._at += count * FRAME

    def _write(self, low: int, high: int) -> None:
        start, end = self._at + int(low), self._at + int(high)
        self._file.write(self._held[low:high].astype("<i2", copy=False).tobytes())
        if self.regions and self.regions[-1][1] == start:
            first, _, offset = self.regions[-1]
            self.regions[-1] = (first, end, offset)
        else:
            self.regions.append((start, end, self.written))
        self.written += end - start


class _Listener:
    """Takes decoded blocks; finds the speech in them and has the stretches around it written to `file`."""

    def __init__(self, file: BinaryIO, options: VadOptions) -> None:
        self.taken = 0
        """Samples that were fed; the leveler holds some of them back."""
        self.samples = 0
        self.compact = bytearray()
        """Speech probability x 255 of each frame."""
        self._options = options
        self._leveler = Leveler()
        self._vad, self._segmenter = Vad(), Segmenter(options)
        margin_s = max(_MARGIN_S, options.pad_s + options.min_silence_s + 0.1)
        self._keeper = _Keeper(file, options.release, margin_s)

    @property
    def gains_db(self) -> bytes:
        return bytes(self._leveler.gains_db)

    @property
    def warnings(self) -> list[str]:
        return [self._leveler.warning] if self._leveler.warning else []

    def feed(self, pcm: npt.NDArray[np.int16]) -> None:
        self.taken += len(pcm)
        self._hear(self._leveler.feed(pcm))

    def _hear(self, pcm: npt.NDArray[np.int16]) -> None:
        self.samples += len(pcm)
        self._take(pcm, self._vad.feed(pcm))

    def finish(self) -> dict[str, Any]:
        """The map, but for what only the decoder knows."""
        self._hear(self._leveler.finish())
        self._take(np.zeros(0, np.int16), self._vad.finish())
        self._keeper.finish()
        self._segmenter.finish(self.samples)
        return {
            "version": _VERSION,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "samples": self.samples,
            "pcm_samples": self._keeper.written,
            "spans": pad_spans(self._segmenter.spans, round(self._options.pad_s * SAMPLE_RATE_HZ), self.samples),
            "regions": self._keeper.regions,
            "vad": asdict(self._options),
            "raised_s": self._leveler.raised_s,
        }

    def _take(self, pcm: npt.NDArray[np.int16], probabilities: npt.NDArray[np.float32]) -> None:
        self._segmenter.feed(probabilities.tolist())
        self._keeper.feed(pcm, probabilities)
        self.compact.extend(np.rint(probabilities * 255).astype(np.uint8).tobytes())


def speech_in(pcm: npt.NDArray[np.int16]) -> DecodedSpeech:
    """The speech of a short recording, int16 at 16 kHz, in memory."""
    file = io.BytesIO()
    listener = _Listener(file, VadOptions())
    listener.feed(pcm)
    found = listener.finish()
    kept = np.frombuffer(file.getvalue(), "<i2")
    probabilities = np.frombuffer(bytes(listener.compact), np.uint8)
    return DecodedSpeech(found["samples"], found["spans"], found["regions"], kept, probabilities)


def decode_speech(
    source: Path | BinaryIO,
    folder: Path,
    *,
    max_s: float,
    options: VadOptions | None = None,
    track: int | None = None,
    channel: int | None = None,
    step_s: float = 30.0,
    open_stream: Callable[..., AudioStream] = AudioStream,
) -> Iterator[float]:
    """Decodes a recording into `folder`, where `DecodedSpeech.load` finds it, and yields seconds of it done.

    It yields about every `step_s` of audio, so that the caller can renew a lease, and stop by closing the generator:
    then, as after an error, nothing is left in the folder that was not there. Memory does not grow with the length,
    but for 35 bytes a second. `channel`, from 0: this one alone, as if there were no other. Raises what `audio.stream`
    raises, or `open_stream`, which may decode elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{uuid.uuid4().hex}.part"
    audio = open_stream(source, max_s=max_s, block_s=step_s, track=track, channel=channel)
    try:
        with draft.open("wb") as file:
            listener = _Listener(file, options or VadOptions())
            for block in audio:
                listener.feed(block)
                yield listener.taken / SAMPLE_RATE_HZ
            written = listener.finish()
            written |= {"warnings": audio.warnings + listener.warnings, "source": _describe(audio, source)}
            _sync(file)
        (folder / _MAP).unlink(missing_ok=True)
        draft.replace(folder / _PCM)
        write_whole(folder / _PROB, bytes(listener.compact))
        write_whole(folder / _GAIN, listener.gains_db)
        write_whole(folder / _MAP, json.dumps(written).encode())
    finally:
        audio.close()
        draft.unlink(missing_ok=True)


def _describe(audio: AudioStream, source: Path | BinaryIO) -> dict[str, Any]:
    about: dict[str, Any] = asdict(audio.info) if audio.info else {}
    about["channels"] = audio.channels
    return about | {"faults": asdict(audio.faults), "sha256": _sha256(source) if isinstance(source, Path) else None}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name, then gives it its own."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with draft.open("wb") as file:
            file.write(data)
            _sync(file)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
