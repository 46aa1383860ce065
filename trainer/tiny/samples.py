"""Makes `samples/`: short recordings in a dozen formats and one of several minutes, with their reference texts.

    python -m trainer.tiny.samples --seed 0 --out samples

Held-out sentences, several voices, some of them the held-out one. `references.tsv` has one line a file: name, text.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from trainer.corpus import corpus, effects
from trainer.corpus.effects import RATE_HZ, Audio

LONG_S = 240.0
VOICES: tuple[corpus.VoicePool, ...] = ("all", "all", "all", "all", "held out")


@dataclass(frozen=True)
class Format:
    file: str
    codec: str
    rate_hz: int = 48_000
    layout: str = "mono"
    bit_rate: int = 0
    video: str = ""
    sentences: int = 1
    voices: corpus.VoicePool = "all"
    telephone: bool = False
    snr_db: float = 40


FORMATS = (
    Format("01-mono-16k.wav", "pcm_s16le", RATE_HZ),
    Format("02-stereo-44k.flac", "flac", 44_100, "stereo", sentences=2),
    Format("03-podcast.mp3", "libmp3lame", 44_100, bit_rate=64_000, sentences=3),
    Format("04-vorbis.ogg", "vorbis", 44_100, "stereo", voices="held out"),
    Format("05-voice-note.opus", "libopus", 48_000, bit_rate=20_000, sentences=2, snr_db=20),
    Format("06-phone-memo.m4a", "aac", 44_100, bit_rate=64_000, sentences=2),
    Format("07-browser.webm", "libopus", 48_000, bit_rate=32_000, sentences=2, snr_db=25),
    Format("08-video.mp4", "aac", 48_000, "stereo", bit_rate=96_000, video="mpeg4", sentences=2),
    Format("09-video.mkv", "libmp3lame", 48_000, bit_rate=64_000, video="mpeg4", voices="held out"),
    Format("10-telephone-8k.wav", "pcm_mulaw", 8_000, sentences=2, telephone=True, snr_db=25),
    Format("11-stereo-44k.wav", "pcm_s16le", 44_100, "stereo"),
    Format("12-studio-48k-24bit.wav", "pcm_s24le", 48_000),
    Format("13-noisy.mp3", "libmp3lame", 16_000, bit_rate=32_000, sentences=2, snr_db=12),
)
LONG = Format("20-several-minutes.ogg", "libopus", 48_000, bit_rate=24_000, snr_db=30)


def encode(path: Path, audio: Audio, form: Format) -> None:
    """Writes 16 kHz `audio` to `path` as `form` says, with a small moving picture where it wants one."""
    if form.codec == "vorbis":  # libsndfile has the good encoder, FFmpeg only an experimental one
        both = np.repeat(effects.resample(audio, RATE_HZ, form.rate_hz)[:, None], 2, axis=1)
        soundfile.write(path, both, form.rate_hz, format="OGG", subtype="VORBIS")
        return
    with av.open(path, "w", options={"fflags": "+bitexact"}) as out:
        picture = out.add_stream(form.video, rate=10, width=160, height=120, pix_fmt="yuv420p") if form.video else None
        stream = out.add_stream(form.codec, rate=form.rate_hz, layout=form.layout)
        if form.bit_rate:
            stream.bit_rate = form.bit_rate
        stream.time_base = Fraction(1, form.rate_hz)
        if picture is not None:
            for number in range(int(len(audio) / RATE_HZ * 10) + 1):
                image = np.full((120, 160, 3), (number * 5 % 256, 80, 160), dtype=np.uint8)
                out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(picture.encode(None))
        pcm = np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(stream.format, form.layout, form.rate_hz, frame_size=stream.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))


def _with_noise(audio: Audio, snr_db: float, numbers: effects.Rng) -> Audio:
    rms = float(np.sqrt((audio[np.abs(audio) > 1e-3] ** 2).mean()))
    noise = effects.coloured_noise(numbers, len(audio), 1.0) * np.float32(rms * 10 ** (-snr_db / 20))
    noisy: Audio = (audio + noise) * np.float32(0.7 / np.abs(audio).max())
    return noisy


def short_sample(form: Format, rng: random.Random) -> tuple[Audio, str]:
    """Audio and reference of one short sample."""
    pieces: list[Audio] = []
    segments: list[corpus.Segment] = []
    pieces, segments = corpus.dry_stream(rng, 0.0, "mg", "heldout", form.voices, 0.3, letters=range(24, 60))
    while len(segments) < form.sentences:
        more, sentences = corpus.dry_stream(rng, 0.0, "mg", "heldout", form.voices, 0.6, letters=range(24, 60))
        pieces, segments = pieces + more, segments + sentences
    audio = np.concatenate([*pieces, np.zeros(RATE_HZ // 2, dtype=np.float32)])
    numbers = np.random.default_rng(rng.getrandbits(64))
    if form.telephone:
        size = effects.fft_length(len(audio))
        audio = effects.filtered(audio, effects.band(300, 3400, size), size)
    return _with_noise(audio, form.snr_db, numbers), " ".join(s.text for s in segments)


def long_sample(form: Format, rng: random.Random) -> tuple[Audio, str]:
    """Several minutes of several speakers, with pauses between turns of up to ten seconds."""
    pieces: list[Audio] = []
    texts: list[str] = []
    while sum(map(len, pieces)) < LONG_S * RATE_HZ:
        turn, sentences = corpus.dry_stream(rng, rng.uniform(4, 20), "mg", "heldout", rng.choice(VOICES), 0.2)
        pause = np.zeros(int(rng.choice([rng.uniform(0.8, 2), rng.uniform(3, 10)]) * RATE_HZ), dtype=np.float32)
        pieces += [*turn, pause]
        texts += [s.text for s in sentences]
    audio = _with_noise(np.concatenate(pieces), form.snr_db, np.random.default_rng(rng.getrandbits(64)))
    return audio, " ".join(texts)


def write(folder: Path, seed: int) -> None:
    """All samples and `references.tsv`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for form in (*FORMATS, LONG):
        rng = random.Random(f"samples/{seed}/{form.file}")
        audio, text = long_sample(form, rng) if form is LONG else short_sample(form, rng)
        encode(folder / form.file, audio, form)
        lines.append(f"{form.file}\t{text}\n")
    (folder / "references.tsv").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("samples"))
    args = parser.parse_args()
    write(args.out, args.seed)


if __name__ == "__main__":
    main()
