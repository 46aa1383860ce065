"""The synthetic corpus: phrasebook sentences spoken by eSpeak NG, set one after another into windows, and recorded.

Everything follows from a seed. Windows are made on the fly for training (`window`);
`python -m trainer.corpus.corpus` writes the same windows to disk as FLAC with a JSONL manifest. Texts, voices and
recordings depend on the seed alone; eSpeak's flutter also depends on what was spoken before, so samples are equal when
a fresh process makes the same windows.

One base voice and several timbres are never used in training: `HELD_OUT_BASE` with `HELD_OUT_VARIANTS` is the held-out
voice that the model card reports.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from milo.engines.speech import espeak
from trainer.corpus import effects, phrasebook
from trainer.corpus.effects import RATE_HZ, Audio
from trainer.corpus.phrasebook import Sentence, Split

HELD_OUT_BASE = "eo"
HELD_OUT_VARIANTS = ("f4", "m7", "Andrea", "Mario", "linda", "paul")
MG_BASES = ("id", "id", "ms", "es", "es-419", "it", "pt", "ro")
FR_BASES = ("fr", "fr", "fr-BE", "fr-CH")
EN_BASES = ("en", "en-US", "en-US", "en-GB-x-rp", "en-GB-scotland", "en-GB-x-gbcwmd", "en-029")
COMMON_VARIANTS = ("", "", "f1", "f2", "f3", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m8", "klatt", "klatt4", "adam")
FEW_MG_BASES = ("id", "id", "ms", "it", "es")
SEVERAL_MG_BASES = ("id", "id", "ms", "es", "it", "ro")

Kind = Literal["short", "packed", "full"]
VoicePool = Literal["all", "few", "several", "held out"]
ANY_LENGTH = range(1, 10_000)


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker, by eSpeak's options."""

    base: str
    variant: str | None
    rate_wpm: int
    pitch: int
    pitch_range: int
    stretch: float
    """Formants and pitch are this much higher than eSpeak's (a longer or shorter vocal tract)."""


@dataclass
class Segment:
    start_s: float
    end_s: float
    text: str
    words: list[tuple[str, float]] = field(default_factory=list)
    """Each word and where it begins; empty when eSpeak's words are not the text's."""


@dataclass
class Window:
    """One stretch of audio and what is said in it. No segments: nobody speaks."""

    audio: Audio
    language: str
    segments: list[Segment]
    cut: Segment | None = None
    """A last sentence that is cut off by the end of the window: only its first words are there."""

    @property
    def text(self) -> str:
        return " ".join([s.text for s in self.segments] + ([self.cut.text] if self.cut and self.cut.text else []))


@lru_cache(maxsize=1)
def _rare_variants() -> tuple[str, ...]:
    return tuple(v for v in espeak.variants() if v not in HELD_OUT_VARIANTS)


def draw_voice(rng: random.Random, language: str, voices: VoicePool = "all") -> Voice:
    """A voice: base, timbre, speed, pitch, melody and size of the vocal tract.

    all: whatever is not held out; few: some plain ones, to begin training with; several: more of them, varied, to end
    it with; held out: the held-out voice.
    """
    if voices == "several":
        bases = {"mg": SEVERAL_MG_BASES, "fr": FR_BASES[:1], "en": EN_BASES[1:2]}[language]
        base, variant = rng.choice(bases), rng.choice(COMMON_VARIANTS[:12]) or None
        rate_wpm, pitch, pitch_range = rng.randint(125, 200), rng.randint(35, 65), rng.randint(35, 65)
        stretch = rng.uniform(0.93, 1.08) if rng.random() < 0.3 else 1.0
        return Voice(base, variant, rate_wpm, pitch, pitch_range, stretch)
    if voices == "few":
        bases = {"mg": FEW_MG_BASES, "fr": FR_BASES[:1], "en": EN_BASES[1:2]}[language]
        return Voice(rng.choice(bases), rng.choice(COMMON_VARIANTS[:10]) or None, rng.randint(130, 200), 50, 50, 1.0)
    held_out = voices == "held out"
    if held_out:
        base, variant = HELD_OUT_BASE, rng.choice(HELD_OUT_VARIANTS)
    else:
        base = rng.choice({"mg": tuple(MG_BASES), "fr": FR_BASES, "en": EN_BASES}[language])
        variant = rng.choice(COMMON_VARIANTS if rng.random() < 0.9 else _rare_variants()) or None
    stretch = rng.uniform(0.9, 1.12) if rng.random() < 0.4 else 1.0
    rate_wpm = round(min(240, max(110, rng.gauss(160, 22))) / stretch)
    return Voice(base, variant, rate_wpm, rng.randint(25, 75), rng.randint(25, 75), stretch)


def speak(sentence: Sentence, voice: Voice, *, fresh: bool = False) -> tuple[Audio, Segment]:
    """One sentence, dry, at 16 kHz; the segment's times are relative to it. fresh: whatever was spoken before."""
    options = {
        "fresh": fresh,
        "voice": voice.base,
        "variant": voice.variant,
        "rate_wpm": voice.rate_wpm,
        "pitch": voice.pitch,
        "pitch_range": voice.pitch_range,
    }
    speak_it = espeak.synthesize_malagasy if sentence.language == "mg" else espeak.synthesize
    speech = speak_it(sentence.text, **options)  # type: ignore[arg-type]
    audio = effects.resample(speech.samples, speech.sample_rate * voice.stretch) / np.float32(32768)
    loud = np.flatnonzero(np.abs(audio) > 1e-3)
    audio = audio[: loud[-1] + 1] if len(loud) else audio[:0]
    words = sentence.text.replace("-", " ").split()
    starts = [start / voice.stretch for start in speech.word_starts_s]
    timed = list(zip(words, starts, strict=True)) if len(words) == len(starts) else []
    return audio, Segment(0.0, len(audio) / RATE_HZ, sentence.text, timed)


def _pause_s(rng: random.Random) -> float:
    return min(4.0, rng.lognormvariate(-0.7, 0.6))


def dry_stream(
    rng: random.Random,
    length_s: float,
    language: str,
    split: Split,
    voices: VoicePool = "all",
    first_s: float = 0.0,
    letters: range = ANY_LENGTH,
) -> tuple[list[Audio], list[Segment]]:
    """Pieces of audio (sentences and pauses) of at least `length_s` together, and the sentences with their times.

    `first_s`: silence before the first; `letters`: how long a sentence may be.
    """
    voice = draw_voice(rng, language, voices)
    pieces = [np.zeros(round(first_s * RATE_HZ), dtype=np.float32)]
    segments: list[Segment] = []
    at = len(pieces[0])
    while not segments or at < length_s * RATE_HZ:
        if segments and rng.random() < 0.25:
            voice = draw_voice(rng, language, voices)
        sentence = phrasebook.sentence(rng, language, split)
        if len(sentence.text) not in letters:
            continue
        audio, spoken = speak(sentence, voice)
        if len(audio) < RATE_HZ // 20:
            continue
        start_s = at / RATE_HZ
        words = [(word, start_s + start) for word, start in spoken.words]
        segments.append(Segment(start_s, start_s + spoken.end_s, spoken.text, words))
        level = np.float32(10 ** (rng.uniform(-6, 0) / 20))
        pause = np.zeros(round(_pause_s(rng) * RATE_HZ), dtype=np.float32)
        pieces += [audio * level, pause]
        at += len(audio) + len(pause)
    pieces.pop()
    return pieces, segments


def _cut_off(segments: list[Segment], length_s: float) -> tuple[list[Segment], Segment | None]:
    """The sentences that end before `length_s`, and the beginning of the one that does not."""
    whole = [s for s in segments if s.end_s <= length_s]
    if len(whole) == len(segments) or segments[len(whole)].start_s > length_s - 0.2:
        return whole, None
    broken = segments[len(whole)]
    ends = [start for _, start in broken.words[1:]] + [broken.end_s]
    whole_words = (
        [word for (word, _), end in zip(broken.words, ends, strict=True) if end <= length_s] if broken.words else []
    )
    return whole, Segment(broken.start_s, length_s, " ".join(whole_words))


def window(
    rng: random.Random,
    kind: Kind = "short",
    split: Split = "train",
    *,
    language: str = "mg",
    voices: VoicePool = "all",
    clean: bool = False,
    letters: range = ANY_LENGTH,
    length_s: float | None = None,
) -> Window:
    """One window. short: a sentence; packed: several, 3 to 15 s; full: at most 30 s, some cut off by its end.

    `letters`: how long each sentence may be; `length_s`: about how long the window is, instead of drawing it.
    """
    numbers = np.random.default_rng(rng.getrandbits(64))
    first_s = 0.0 if rng.random() < 0.2 else min(1.0, rng.expovariate(4))
    drawn_s = {"short": 0.0, "packed": rng.uniform(3, 12), "full": rng.choice([rng.uniform(0, 26), 30.0])}[kind]
    target_s = drawn_s if length_s is None else length_s
    limit_s = {"short": 14.0, "packed": 17.0, "full": 30.0}[kind]
    pieces, segments = dry_stream(rng, target_s, language, split, voices, first_s, letters)
    pieces.append(np.zeros(round(min(2.0, rng.expovariate(3)) * RATE_HZ), dtype=np.float32))
    audio = np.concatenate(pieces)
    if rng.random() < 0.15 and first_s == 0:
        audio = audio[int(rng.uniform(0, 0.03) * RATE_HZ) :]
    cut = None
    if len(audio) > limit_s * RATE_HZ:
        audio = audio[: round(limit_s * RATE_HZ)]
        segments, cut = _cut_off(segments, limit_s)
        if cut is not None and (not cut.text or not segments):
            return window(rng, kind, split, language=language, voices=voices, clean=clean)
    return Window(audio if clean else effects.simulate_recording(audio, numbers), language, segments, cut)


def no_speech_window(rng: random.Random, length_s: float) -> Window:
    """A window in which nobody speaks."""
    numbers = np.random.default_rng(rng.getrandbits(64))
    return Window(effects.no_speech(numbers, round(length_s * RATE_HZ)), rng.choice(phrasebook.LANGUAGES), [])


def evaluation_windows(
    seed: int, count: int, *, language: str = "mg", voices: VoicePool = "all", kind: Kind = "short"
) -> list[Window]:
    """`count` windows of held-out sentences, recorded as the training ones are."""
    rng = random.Random(f"evaluation/{seed}/{language}/{voices}/{kind}")
    return [window(rng, kind, "heldout", language=language, voices=voices) for _ in range(count)]


def write(folder: Path, windows: list[Window]) -> Path:
    """`windows` as FLAC files and `manifest.jsonl` (audio, text, language, duration_s, segments), which is returned."""
    import soundfile

    (folder / "audio").mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.jsonl"
    with manifest.open("w", encoding="utf-8") as lines:
        for number, item in enumerate(windows):
            name = f"audio/{number:06}.flac"
            soundfile.write(folder / name, item.audio, RATE_HZ)
            row = {
                "audio": name,
                "text": item.text,
                "language": item.language,
                "duration_s": round(len(item.audio) / RATE_HZ, 3),
                "segments": [[round(s.start_s, 3), round(s.end_s, 3), s.text] for s in item.segments],
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kind", choices=("short", "packed", "full"), default="short")
    parser.add_argument("--language", choices=phrasebook.LANGUAGES, default="mg")
    parser.add_argument("--split", choices=("train", "heldout"), default="train")
    parser.add_argument("--voices", choices=("all", "few", "several", "held out"), default="all")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rng = random.Random(f"{args.split}/{args.seed}/{args.language}")
    windows = [
        window(rng, args.kind, args.split, language=args.language, voices=args.voices) for _ in range(args.count)
    ]
    print(write(args.out, windows))


if __name__ == "__main__":
    main()
