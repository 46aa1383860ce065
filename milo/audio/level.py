"""Quiet speech raised to the level of ordinary speech, before it is listened for; everything else stays as it is.

An acoustic model and a voice activity detector know speech at some -30 to -15 dB of full scale. At -60 dB a detector
loses the first word, and a model hears other words. `Leveler` raises stretches of a recording, so that the quiet side
of a call is raised and the loud one is not. What does not go up and down as speech does (silence, hum, the noise of a
room) is not raised, and no noise between the words comes above -48 dB.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]
Levels = npt.NDArray[np.float32]

_RATE_HZ = 16_000
_HOP = _RATE_HZ // 100
"""10 ms: the step at which the level is measured."""
_NODE = 25
GAIN_STEP = _NODE * _HOP
"""Hops, and samples, between two points at which a gain is chosen; between them it runs straight in dB."""
_REACH = 250
"""Hops that are looked at on one side of a point. The louder side of a change must not hide the quieter one."""
_NEAR = 50
"""Hops around a point within which nothing may become too loud."""
_SHORTEST = 35
"""Hops of sound that a reach must have to count as speech."""
_FLOOR_DB = -120.0
_QUIET_DB, _SPEECH_DB, _LOUDEST_DB, _NOISE_DB = -38.0, -26.0, -20.0, -48.0
"""Speech below the first is raised to the second; nothing above the third; no noise above the fourth."""
_MOST_DB = 40.0
_FAINTEST_DB = -86.0
"""Nothing below that is speech: 16 bits have a step or two for it."""
_WEAK_DB, _DAMAGED_DB = -45.0, -68.0
"""Speech that stays below the first is told, and speech below the second, which has lost its detail in 16 bits."""
_DEPTH_DB = 30.0
_NOTHING_DB = -95.0
_MODULATION_DB = 3.5
"""By how much the level of speech changes within 100 ms, in the median: 5 dB and more; of noise it is below 1 dB, of
many who talk at once some 2 dB."""
_PEAK_DB = -1.0
_EXTENT = _REACH + _NEAR + _NODE


class Leveler:
    """Takes a recording at 16 kHz in pieces; gives the same number of samples, some three seconds later."""

    def __init__(self) -> None:
        self.raised_s = 0.0
        """Seconds that were made louder."""
        self.weak_s = 0.0
        """Seconds that go up and down like speech, and are still too quiet to be understood."""
        self.gains_db = bytearray()
        """By how much each quarter of a second was raised, about."""
        self._held = np.zeros(0, np.int16)
        """What was not given yet: from the sample of the first level behind `_past`."""
        self._levels = np.full(_EXTENT, _FLOOR_DB, np.float32)
        """Of the hops from `_EXTENT` before the first one that is held."""
        self._peaks = np.full(_EXTENT, _FLOOR_DB, np.float32)
        """The loudest sample of the same hops: what is too low to be heard may still be too loud to be raised."""
        self._rest = np.zeros(0, np.int16)

    def feed(self, pcm: Pcm) -> Pcm:
        """The next samples that are ready."""
        self._rest = np.concatenate([self._rest, pcm])
        whole = len(self._rest) // _HOP * _HOP
        self._take(self._rest[:whole])
        self._rest = self._rest[whole:].copy()
        ready = (len(self._levels) - 2 * _EXTENT) // _NODE * _NODE
        return self._give(ready) if ready > 0 else np.zeros(0, np.int16)

    def finish(self) -> Pcm:
        """All that is left."""
        tail = self._rest
        self._take(np.concatenate([tail, np.zeros(-len(tail) % _HOP, np.int16)]))
        left = len(self._held) - (-len(tail) % _HOP)
        hops = -(-(len(self._levels) - _EXTENT) // _NODE) * _NODE
        padding = np.full(hops + 2 * _EXTENT - len(self._levels), _FLOOR_DB, np.float32)
        self._levels = np.concatenate([self._levels, padding])
        self._peaks = np.concatenate([self._peaks, padding])
        self._rest = np.zeros(0, np.int16)
        return self._give(hops)[:left] if left > 0 else np.zeros(0, np.int16)

    @property
    def warning(self) -> str:
        """Where raising could not help; empty otherwise."""
        if self.weak_s < 0.5:
            return ""
        return f"too_quiet: {self.weak_s:.1f} s of sound are too quiet to be understood, even raised. Record louder."

    def _take(self, pcm: Pcm) -> None:
        self._held = np.concatenate([self._held, pcm])
        self._levels = np.concatenate([self._levels, _levels_of(pcm)])
        self._peaks = np.concatenate([self._peaks, _peaks_of(pcm)])

    def _give(self, hops: int) -> Pcm:
        """The first `hops` that are held, raised. Levels reach `_EXTENT` beyond them."""
        nodes = hops // _NODE + 1
        gains = self._gains(nodes)
        self.gains_db.extend(np.rint(gains[:-1]).astype(np.uint8).tobytes())
        samples = self._held[: hops * _HOP]
        self._held = self._held[hops * _HOP :].copy()
        self._levels, self._peaks = self._levels[hops:].copy(), self._peaks[hops:].copy()
        return _raised(samples, gains) if gains.any() else samples

    def _gains(self, nodes: int) -> Levels:
        """Gain in dB at each point: as much as one side of it asks for, and its neighbourhood allows."""
        first = _EXTENT - _REACH  # where the reach before the first point begins
        asked = [_wanted_db(self._levels[at : at + _REACH]) for at in self._reaches(first, nodes)]
        sides = asked[:nodes], asked[_REACH // _NODE :][:nodes]
        chosen = [max(pair) for pair in zip(*sides, strict=True)]
        wanted = np.array([gain_db for gain_db, _ in chosen], np.float32)
        near, peak = (_highest_near(values, nodes) for values in (self._levels, self._peaks))
        gains: Levels = np.minimum(wanted, np.maximum(0.0, np.minimum(_LOUDEST_DB - near, _PEAK_DB - peak)))
        step_s = GAIN_STEP / _RATE_HZ
        self.raised_s += step_s * int(np.count_nonzero((gains > 0)[:-1]))
        self.weak_s += step_s * sum(weak for _, weak in chosen[:-1])
        return gains

    def _reaches(self, first: int, nodes: int) -> range:
        lag = _REACH // _NODE
        return range(first, first + _NODE * (nodes + lag), _NODE)


def even_level(pcm: Pcm) -> Pcm:
    """A whole recording, int16 at 16 kHz, with its quiet speech raised."""
    leveler = Leveler()
    return np.concatenate([leveler.feed(pcm), leveler.finish()])


def _levels_of(pcm: Pcm) -> Levels:
    """Level of each hop in dB of full scale, without what is constant in it."""
    hops = pcm.reshape(-1, _HOP).astype(np.float32) * np.float32(1 / 32768)
    levels: Levels = (10 * np.log10(np.maximum(hops.var(axis=1), 10 ** (_FLOOR_DB / 10)))).astype(np.float32)
    return levels


def _peaks_of(pcm: Pcm) -> Levels:
    """The loudest sample of each hop in dB of full scale."""
    highest = np.abs(pcm.reshape(-1, _HOP).astype(np.float32)).max(axis=1) * np.float32(1 / 32768)
    peaks: Levels = (20 * np.log10(np.maximum(highest, 10 ** (_FLOOR_DB / 20)))).astype(np.float32)
    return peaks


def _highest_near(values: Levels, nodes: int) -> Levels:
    """The highest value around each point."""
    starts = _EXTENT - _NEAR + _NODE * np.arange(nodes)
    highest: Levels = values[starts[:, None] + np.arange(2 * _NEAR)].max(axis=1)
    return highest


def _wanted_db(levels: Levels) -> tuple[float, bool]:
    """How much louder the speech within a reach should be (0 where it is loud enough, or where there is none), and
    whether it can't be understood even so."""
    loud = float(np.partition(levels, -_REACH // 20)[-_REACH // 20])
    if not _FAINTEST_DB < loud < _QUIET_DB or not _is_like_speech(levels, loud):
        return 0.0, False
    sounding = levels[levels > _NOTHING_DB]
    noise = float(np.partition(sounding, len(sounding) // 10)[len(sounding) // 10])
    wanted = max(0.0, min(2 * (_QUIET_DB - loud), _SPEECH_DB - loud, _MOST_DB, _NOISE_DB - noise))
    return wanted, loud + wanted < _WEAK_DB or loud < _DAMAGED_DB


def _is_like_speech(levels: Levels, loud: float) -> bool:
    """Whether there is enough sound, and it goes up and down as speech does."""
    active = levels > loud - _DEPTH_DB
    if np.count_nonzero(active) < _SHORTEST:
        return False
    smooth = np.convolve(levels, np.full(3, 1 / 3), "same")
    changes = np.abs(smooth[10:] - smooth[:-10])[active[10:] | active[:-10]]
    return float(np.median(np.minimum(changes, _DEPTH_DB))) >= _MODULATION_DB


def _raised(samples: Pcm, gains: Levels) -> Pcm:
    """`gains` in dB stand at every `_NODE` hops; the last one behind the last sample."""
    step = GAIN_STEP
    ramp = np.arange(step) / step
    gain_db = (gains[:-1, None] + np.diff(gains)[:, None] * ramp).reshape(-1)[: len(samples)]
    raised: Pcm = np.rint(samples * np.power(10.0, gain_db / 20)).clip(-32768, 32767).astype(np.int16)
    return raised
