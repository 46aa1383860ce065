"""eSpeak NG through ctypes: text or phonemes in, 16-bit samples and word times out.

The library and its data come inside the PyPI wheel `espeakng-loader`; no system package is needed. eSpeak NG keeps
its voice, its parameters and its callback in process-global state, so every call here holds one lock.
Function names, flags and structures: `speak_lib.h` of eSpeak NG 1.52.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milo.errors import EngineError, Invalid, ModelUnavailable
from milo.language.malagasy import phonemes

MALAGASY_VOICE = "id"
"""eSpeak NG has no Malagasy voice; Indonesian is the nearest relative with ts, the retroflex s. and z., and aI, aU."""
RATE_WPM = (80, 450)
MAX_TEXT_CHARS = 20_000

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INIT_PHONEME_EVENTS, _INIT_DONT_EXIT = 0x0001, 0x8000
_CHARS_UTF8, _PHONEMES, _ENDPAUSE = 0x0001, 0x0100, 0x1000
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_EVENT_END, _EVENT_WORD = 0, 1
_LONGEST_DATA_PATH = 140  # eSpeak NG keeps the path in a buffer of 160 bytes


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Speech:
    """`samples`: int16 mono, shape (n,). `word_starts_s`: where each spoken word begins, in order."""

    samples: npt.NDArray[np.int16]
    sample_rate: int
    word_starts_s: list[float] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate


class _Library:
    """The one eSpeak NG of this process. Call it with `_lock` held."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ModelUnavailable(
                "eSpeak NG is not installed; `pip install espeakng-loader` brings it", code="espeak_missing"
            ) from error
        self.data = Path(espeakng_loader.get_data_path())
        self.lib: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._libc: Any = ctypes.CDLL(None)
        self.chunks: list[npt.NDArray[np.int16]] = []
        self.word_samples: list[int] = []
        self.spoke = False
        self.voice: str | None = None
        self._callback = _Callback(self._receive)  # kept alive as long as the library may call it
        options = _INIT_PHONEME_EVENTS | _INIT_DONT_EXIT
        path = str(_short_path(self.data)).encode()
        self.sample_rate: int = self.lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, path, options)
        if self.sample_rate <= 0:
            raise ModelUnavailable(f"eSpeak NG did not start with its data in {self.data}", code="espeak_broken")
        self.lib.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self.lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self.chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END:
            if events[index].type == _EVENT_WORD:
                self.word_samples.append(events[index].sample)
            index += 1
        return 0

    def set_voice(self, voice: str) -> None:
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise Invalid(f"eSpeak NG can't load the voice {voice!r}", code="unknown_voice")
        self.voice = voice

    def speak(self, text: str, voice: str, parameters: dict[int, int], flags: int) -> Speech:
        self.chunks.clear()
        self.word_samples.clear()
        self.spoke = True
        self.set_voice(voice)
        for parameter, value in parameters.items():
            self.lib.espeak_SetParameter(parameter, value, 0)
        # its noise sources are seeded with the time of day; its flutter goes on from call to call and can't be reset
        self.lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._libc.srand(1)
        encoded = text.encode("utf-8", "replace") + b"\0"
        status = self.lib.espeak_Synth(encoded, len(encoded), 0, 1, 0, flags, None, None)
        if status != 0:
            raise EngineError(f"eSpeak NG failed with status {status}", code="espeak_failed")
        samples = np.concatenate(self.chunks) if self.chunks else np.zeros(0, dtype=np.int16)
        return Speech(samples, self.sample_rate, [sample / self.sample_rate for sample in self.word_samples])


@lru_cache(maxsize=1)
def _short_path(data: Path) -> Path:
    if len(str(data).encode()) <= _LONGEST_DATA_PATH:
        return data
    link = Path(tempfile.mkdtemp(prefix="milo-espeak-")) / "espeak-ng-data"
    link.symlink_to(data)
    return link


_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_library: _Library | None = None


def _get_library() -> _Library:
    global _library
    if _library is None:
        _library = _Library()
    return _library


def _forget_library() -> None:
    """Unload eSpeak NG, `_lock` held, so that the next call starts in its first state.

    Its pitch flutter and its noise go on from one call to the next (statics of `wavegen.c`, and `rand`), and nothing
    in its interface resets them. Costs 10 ms, and about 2 kB that eSpeak NG never frees.
    """
    global _library
    if _library is not None:
        _library.lib.espeak_Terminate()
        _ctypes.dlclose(_library.lib._handle)
        _library = None
    ctypes.CDLL(None).srand(1)


@lru_cache(maxsize=1)
def _loader() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "espeak")


def _load_anew(voice: str) -> None:
    """In its first state for the next call, which need not wait for it then; with the voice that it is likely to want,
    which is a third of the time that a short text takes."""
    with _lock:
        if _library is None or _library.spoke:
            _forget_library()
            _get_library().set_voice(voice)


def _data() -> Path:
    with _lock:
        return _get_library().data


@lru_cache(maxsize=1)
def voices() -> dict[str, str]:
    """Base voice -> the name of its phoneme table: the one its file names, else that of its first language."""
    phoneme_tables = {}
    for file in sorted((_data() / "lang").rglob("*")):
        if file.is_file():
            lines = [line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
            tables = [words[1] for words in lines if len(words) > 1 and words[0] == "phonemes"]
            languages = [words[1] for words in lines if len(words) > 1 and words[0] == "language"]
            phoneme_tables[file.name] = tables[0] if tables else (languages or [file.name])[0].split("-")[0]
    return phoneme_tables


@lru_cache(maxsize=1)
def variants() -> tuple[str, ...]:
    """The timbres (`f1`, `m3`, …) that any base voice can be spoken with."""
    return tuple(sorted(file.name for file in (_data() / "voices" / "!v").iterdir()))


@lru_cache(maxsize=64)
def phoneme_table(name: str) -> frozenset[str]:
    """The mnemonics of one phoneme table, with those it inherits. Raises `Invalid` for an unknown table.

    `phontab`: a count and three zero bytes, then for each table its size, the number of the table it extends (from 1),
    two bytes, a name of 32 bytes, and entries of 16 bytes that begin with a mnemonic of 4.
    """
    raw = (_data() / "phontab").read_bytes()
    tables: list[frozenset[str]] = []
    position = 4
    for _ in range(raw[0]):
        size, parent = raw[position], raw[position + 1]
        table = raw[position + 4 : position + 36].split(b"\0")[0].decode("latin-1")
        start, position = position + 36, position + 36 + 16 * size
        own = {raw[at : at + 4].rstrip(b"\0").decode("latin-1") for at in range(start, position, 16)}
        tables.append(frozenset(own) | (tables[parent - 1] if parent else frozenset()))
        if table == name:
            return tables[-1]
    raise Invalid(f"eSpeak NG has no phoneme table {name!r}", code="unknown_voice")


def synthesize(
    text: str,
    *,
    voice: str = MALAGASY_VOICE,
    variant: str | None = None,
    rate_wpm: int = 160,
    pitch: int = 50,
    pitch_range: int = 50,
    volume: int = 100,
    word_gap_10ms: int = 0,
    as_phonemes: bool = False,
    fresh: bool = False,
) -> Speech:
    """`text` spoken by eSpeak NG's `voice` in the timbre `variant`.

    as_phonemes: read `[[...]]` in `text` as phoneme mnemonics. pitch, pitch_range: 0-99, 50 is the voice's own;
    volume: 0-200; word_gap_10ms: pause between words. Text without a letter gives no samples or a short silence.
    The flutter of the voice goes on from one call to the next: the same call repeated differs by milliseconds of pitch
    movement, but equal sequences of calls in two processes give equal samples.
    Raises `Invalid` for an unknown voice or variant and for a value out of range, `ModelUnavailable` without eSpeak NG.
    """
    if voice not in voices():
        raise Invalid(f"eSpeak NG has no voice {voice!r}", code="unknown_voice")
    if variant is not None and variant not in variants():
        raise Invalid(f"eSpeak NG has no variant {variant!r}", code="unknown_voice")
    limits = {"rate_wpm": RATE_WPM, "pitch": (0, 99), "pitch_range": (0, 99), "volume": (0, 200)}
    given = {"rate_wpm": rate_wpm, "pitch": pitch, "pitch_range": pitch_range, "volume": volume}
    for name, value in given.items():
        low, high = limits[name]
        if not low <= value <= high:
            raise Invalid(f"{name} is {value}; it must be {low} to {high}", code="out_of_range")
    if len(text) > MAX_TEXT_CHARS:
        raise Invalid(f"the text has {len(text)} characters; at most {MAX_TEXT_CHARS} are spoken", code="text_too_long")
    parameters = {_RATE: rate_wpm, _PITCH: pitch, _RANGE: pitch_range, _VOLUME: volume, _WORD_GAP: word_gap_10ms}
    flags = _CHARS_UTF8 | (_PHONEMES if as_phonemes else 0)
    full_voice = voice if variant is None else f"{voice}+{variant}"
    with _lock:
        if fresh and _library is not None and (_library.spoke or _library.voice not in (None, full_voice)):
            _forget_library()
        speech = _get_library().speak(text.replace("\0", " "), full_voice, parameters, flags)
    if fresh:
        _loader().submit(_load_anew, full_voice)
    return speech


def synthesize_malagasy(text: str, *, voice: str = MALAGASY_VOICE, **options: Any) -> Speech:
    """Malagasy `text` by the sound rules of `milo.language.malagasy`; `options` are those of `synthesize`."""
    if voice not in voices():
        raise Invalid(f"eSpeak NG has no voice {voice!r}", code="unknown_voice")
    return synthesize(phonemes(text, phoneme_table(voices()[voice])), voice=voice, as_phonemes=True, **options)
