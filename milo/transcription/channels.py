"""The channels of a recording, each as its own speaker: what a call centre's recorder writes.

A microphone hears more than its speaker. What a channel only repeats from a louder one is nobody's second sentence: it
is left out, and two channels that hold the same sound are one speaker. Two people who talk at once both stay.

    channel-0/ channel-1/ …   the speech of each (`decoded_speech`)
    channels.json             which of them are speakers, and what of each is an echo; written last
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from milo.audio.level import GAIN_STEP
from milo.audio.reading import SAMPLE_RATE_HZ, AudioStream
from milo.audio.vad import Span
from milo.errors import BadMedia, NotFound
from milo.transcription.decoded_speech import DecodedSpeech, decode_speech, write_whole

MOST_CHANNELS = 8
PIECE_S = 2.0
"""Speech is compared in pieces of this length."""
LAG_S = 0.2
"""How much later, or earlier, the other channel may say the same."""
ECHO = 0.4
"""Correlation from which on a piece is another channel's sound. Different voices stayed below 0.36, in pieces of 0.5 s
and 1 s of six recordings; an echo 40 dB softer had 0.94 in the median, through a telephone's band 0.72."""
SOFTER_DB = 6.0
"""An echo is softer than its source by this and more."""
SAME, SAME_SHARE, SAME_SPREAD_DB = 0.8, 0.95, 4.0
"""Channels are one where so much of their speech correlates so well, at about the same difference of level."""
_MAP = "channels.json"


@dataclass(frozen=True)
class Channel:
    """One channel of a recording: a speaker."""

    number: int
    """From 0."""
    speech: DecodedSpeech

    @property
    def speaker(self) -> str:
        return chr(ord("A") + self.number)


@dataclass(frozen=True)
class Channels:
    """What `decode_channels` left."""

    speakers: list[Channel]
    warnings: list[str]
    separate: bool = True
    """False: the channels were mixed, and who speaks is not known."""

    @property
    def duration_s(self) -> float:
        return max(one.speech.duration_s for one in self.speakers)

    @property
    def speech_s(self) -> float:
        return sum(one.speech.speech_s for one in self.speakers)


@dataclass(frozen=True)
class _Likeness:
    """A piece of speech of one channel beside the same time of another one."""

    piece: Span
    correlation: float
    louder_db: float
    """By how much the channel is louder than the other."""

    @property
    def is_echo(self) -> bool:
        return self.correlation >= ECHO and self.louder_db <= -SOFTER_DB


@dataclass(frozen=True)
class _Found:
    """What comparing the channels of a recording brings, filled pair by pair."""

    kept: list[int]
    """Channels that are a speaker's."""
    echoes: list[list[Span]]
    """Of each channel."""
    warnings: list[str]


def decode_channels(
    source: BinaryIO, folder: Path, *, max_s: float, open_stream: Callable[..., AudioStream] = AudioStream
) -> Iterator[float]:
    """As `decode_speech`, for each channel in turn; `load_channels` finds them. Yields seconds done, of all together.

    Raises also `BadMedia` with code too_many_channels.
    """
    (folder / _MAP).unlink(missing_ok=True)
    start, done_s = source.tell(), 0.0
    decoded: list[DecodedSpeech] = []
    while not decoded or len(decoded) < decoded[0].source["channels"]:
        source.seek(start)
        number = len(decoded)
        place = folder / f"channel-{number}"
        for at_s in decode_speech(source, place, max_s=max_s, channel=number, open_stream=open_stream):
            yield done_s + at_s
        decoded.append(DecodedSpeech.load(place))
        done_s += decoded[-1].duration_s
        _check_count(int(decoded[0].source["channels"]))
    found = _Found(list(range(len(decoded))), [[] for _ in decoded], [])
    if len(decoded) == 1:
        found.warnings.append("one_channel: the recording has one channel, so all is said by one speaker.")
    for one, other in itertools.combinations(range(len(decoded)), 2):
        for _ in _compare(decoded, one, other, found):
            yield done_s
    speakers = [{"channel": n, "echoes": sorted(found.echoes[n])} for n in found.kept]
    write_whole(folder / _MAP, json.dumps({"speakers": speakers, "warnings": found.warnings}).encode())


def _check_count(count: int) -> None:
    if count > MOST_CHANNELS:
        detail = f"The recording has {count} channels; channels=separate takes up to {MOST_CHANNELS}. Use channels=mix."
        raise BadMedia(detail, code="too_many_channels")


def load_channels(folder: Path) -> Channels:
    """Opens what `decode_channels` wrote. Raises `NotFound` (code not_decoded) where that is not complete."""
    try:
        written = json.loads((folder / _MAP).read_text())
        speakers = [(int(one["channel"]), [(low, high) for low, high in one["echoes"]]) for one in written["speakers"]]
        warnings = [str(warning) for warning in written["warnings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFound("The recording is not decoded, or only in part; decode it again.", code="not_decoded") from error
    return Channels([Channel(n, DecodedSpeech.load(folder / f"channel-{n}").without(e)) for n, e in speakers], warnings)


def _compare(decoded: Sequence[DecodedSpeech], one: int, other: int, found: _Found) -> Iterator[None]:
    """Notes what is an echo of the other channel in either, and which of two that are the same is left out."""
    if one not in found.kept or other not in found.kept:
        return
    sides: list[list[_Likeness]] = [[], []]
    for mine, theirs, likenesses in ((one, other, sides[0]), (other, one, sides[1])):
        for piece in _pieces(decoded[mine].span_samples):
            likenesses.append(_likeness(decoded[mine], decoded[theirs], piece))
            yield
    louder_db = _difference_db(*sides)
    if louder_db is not None:
        found.kept.remove(other if louder_db >= -1.0 else one)
        found.warnings.append(
            f"same_channels: channels {one + 1} and {other + 1} hold the same sound: they are one speaker."
        )
        return
    for mine, likenesses in ((one, sides[0]), (other, sides[1])):
        found.echoes[mine] += [like.piece for like in likenesses if like.is_echo]


def _difference_db(one: Sequence[_Likeness], other: Sequence[_Likeness]) -> float | None:
    """By how much one channel is louder, if they hold the same sound; None if not."""
    likenesses = [*one, *(_Likeness(like.piece, like.correlation, -like.louder_db) for like in other)]
    lengths = np.array([like.piece[1] - like.piece[0] for like in likenesses], float)
    alike = np.array([like.correlation >= SAME for like in likenesses], bool)
    if not alike.any() or lengths[alike].sum() < SAME_SHARE * lengths.sum():
        return None
    differences = np.array([like.louder_db for like in likenesses])[alike]
    low, middle, high = np.percentile(differences, [10, 50, 90])
    return float(middle) if high - low <= SAME_SPREAD_DB else None


def _pieces(spans: Sequence[Span]) -> Iterator[Span]:
    for start, end in spans:
        count = max(1, round((end - start) / (PIECE_S * SAMPLE_RATE_HZ)))
        edges = np.linspace(start, end, count + 1).astype(int).tolist()
        yield from zip(edges[:-1], edges[1:], strict=True)


def _likeness(mine: DecodedSpeech, theirs: DecodedSpeech, piece: Span) -> _Likeness:
    start, end = piece
    lag = round(LAG_S * SAMPLE_RATE_HZ)
    before = min(start, lag)
    mine_pcm, theirs_pcm = mine.slice(start, end), theirs.slice(start - before, end + lag)
    theirs_pcm = np.pad(theirs_pcm, (0, max(0, len(mine_pcm) + 2 * lag - len(theirs_pcm))))
    correlation, at = _correlation(mine_pcm, theirs_pcm)
    theirs_db = _level_db(theirs_pcm[at : at + len(mine_pcm)]) - _gain_db(theirs, start, end)
    return _Likeness(piece, correlation, _level_db(mine_pcm) - _gain_db(mine, start, end) - theirs_db)


def _correlation(short: npt.NDArray[np.float32], long: npt.NDArray[np.float32]) -> tuple[float, int]:
    """The highest normalized correlation of `short` with a stretch of `long`, whatever its sign, and where that begins.

    Of differences from sample to sample: the low tones of two voices are much alike.
    """
    mine, theirs = np.diff(short), np.diff(long)
    size = 1 << (len(mine) + len(theirs)).bit_length()
    products = np.fft.irfft(np.conj(np.fft.rfft(mine, size)) * np.fft.rfft(theirs, size), size)
    sums = np.concatenate([[0.0], np.cumsum(np.square(theirs, dtype=np.float64))])
    energies = sums[len(mine) :] - sums[: -len(mine)]
    scale = np.sqrt(np.maximum(energies * np.square(mine, dtype=np.float64).sum(), 1e-12))
    values = np.abs(products[: len(energies)]) / scale
    at = int(np.argmax(values))
    return float(values[at]), at


def _level_db(samples: npt.NDArray[np.float32]) -> float:
    return float(10 * np.log10(max(1e-12, np.square(samples, dtype=np.float64).mean()))) if len(samples) else -120.0


def _gain_db(speech: DecodedSpeech, start: int, end: int) -> float:
    """By how much the samples were raised, in the mean."""
    gains = speech.gains_db[start // GAIN_STEP : -(-end // GAIN_STEP)]
    return float(gains.mean()) if len(gains) else 0.0
