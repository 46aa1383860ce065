"""The waveform: exact pairs, blocks of any size, and never more than it may weigh."""

from __future__ import annotations

import numpy as np

from milo.audio.peaks import HEAD, MAX_BYTES, SAMPLES_PER_PEAK, Peaks


def read(content: bytes) -> tuple[tuple[int, ...], np.ndarray]:
    return HEAD.unpack(content[: HEAD.size]), np.frombuffer(content[HEAD.size :], np.int8).reshape(-1, 2)


def test_pairs_are_the_lowest_and_highest_samples_however_the_blocks_are_cut() -> None:
    pcm = np.random.default_rng(1).integers(-32768, 32767, 3 * SAMPLES_PER_PEAK + 100).astype(np.int16)
    made = []
    for size in (7, 320, 1000, 10**6):
        peaks = Peaks()
        for at in range(0, len(pcm), size):
            peaks.add(pcm[at : at + size])
        made.append(peaks.content())
    assert len(set(made)) == 1
    head, pairs = read(made[0])
    assert head == (2, 1, 16_000, SAMPLES_PER_PEAK, 4, 1) and len(pairs) == 4
    assert pairs[0].tolist() == [int(pcm[:320].min()) >> 8, int(pcm[:320].max()) >> 8]


def test_a_recording_of_three_hours_keeps_20_ms_and_a_longer_one_weighs_no_more() -> None:
    for hours, factor in ((3, 1), (9, 3)):
        peaks = Peaks()
        hour = np.zeros(3600 * 16_000, np.int16)
        hour[::32_000] = 20_000
        for _ in range(hours):
            peaks.add(hour)
        content = peaks.content()
        head, pairs = read(content)
        assert len(content) <= MAX_BYTES and head[3] == 320 * factor and head[4] == len(pairs)
        assert int(pairs[:, 1].max()) == 20_000 >> 8 and len(pairs) * head[3] >= hours * 3600 * 16_000


def test_no_samples_are_no_pairs() -> None:
    assert read(Peaks().content())[0][4] == 0
