"""Another sample rate, or another tempo at the same pitch. float32 mono in and out."""

from __future__ import annotations

import av.filter
import numpy as np
import soxr

from milo.protocols import Samples

_ATEMPO_LIMITS = (0.5, 2.0)
"""Within this range ffmpeg's atempo overlaps frames and skips none; further away it is applied twice."""


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """`samples` at another rate (SoX's resampler, high quality); peaks may grow a little. Empty stays empty."""
    if from_hz == to_hz or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, from_hz, to_hz, quality="HQ"), dtype=np.float32)


def change_tempo(samples: Samples, sample_rate_hz: int, factor: float) -> Samples:
    """`samples`, `factor` times as fast, at the same pitch: ffmpeg's atempo (WSOLA). Deterministic."""
    if not len(samples) or abs(factor - 1) < 0.01:
        return samples
    graph = av.filter.Graph()
    source = f"time_base=1/{sample_rate_hz}:sample_rate={sample_rate_hz}:sample_fmt=flt:channel_layout=mono"
    nodes = [graph.add("abuffer", source)]
    low, high = _ATEMPO_LIMITS
    while factor < low or factor > high:
        step = low if factor < low else high
        nodes.append(graph.add("atempo", f"{step:.6f}"))
        factor /= step
    nodes += [graph.add("atempo", f"{factor:.6f}"), graph.add("abuffersink")]
    for one, other in zip(nodes, nodes[1:], strict=False):
        one.link_to(other)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts = sample_rate_hz, 0
    nodes[0].push(frame)
    nodes[0].push(None)
    out = []
    while True:
        try:
            out.append(nodes[-1].pull().to_ndarray().reshape(-1))
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(out).astype(np.float32) if out else np.zeros(0, np.float32)
