"""Writes `seeds/`: `python -m tests.fuzz.make_seeds`. The files are kept, so that a case means the same for ever."""

from __future__ import annotations

from milo.audio.formats import wav_header
from tests.fuzz.mutate import SEEDS
from tests.support.audio_factory import media, tone_at

FORMATS = (
    *(("wav", "pcm_s16le", 8_000), ("flac", "flac", 8_000), ("mp3", "libmp3lame", 16_000), ("ogg", "libopus", 48_000)),
    *(
        ("mp4", "aac", 16_000),
        ("webm", "libopus", 48_000),
        ("matroska", "pcm_s16le", 8_000),
        ("aiff", "pcm_s16be", 8_000),
    ),
    *(("avi", "pcm_s16le", 8_000), ("mpegts", "aac", 16_000), ("caf", "pcm_s16be", 8_000), ("adts", "aac", 16_000)),
)


def main() -> None:
    """Write every seed."""
    SEEDS.mkdir(exist_ok=True)
    for container, codec, rate_hz in FORMATS:
        (SEEDS / f"{container}_{codec}").write_bytes(
            media(container, codec, tone_at(0.02, 0.12, rate_hz, 0.05), rate_hz)
        )
    (SEEDS / "wav_without_samples").write_bytes(wav_header(None, 16_000))


if __name__ == "__main__":
    main()
