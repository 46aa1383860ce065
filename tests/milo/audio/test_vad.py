from __future__ import annotations

import sys
from collections.abc import Iterator
from subprocess import run
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.audio.silero import CONTEXT, FRAME, NumpySilero, OnnxSilero, Silero, load_silero, model_path, zero_state
from milo.audio.vad import Event, Segmenter, StreamingVad, Vad, VadOptions, find_speech, pad_spans
from tests.support.audio_factory import RATE_HZ, blocks, room, say, silence

PHRASE = "Good morning, how are you today? I would like to buy two kilograms of rice."


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Speech at 2 s and, in a noisy room, at about 9 s; digital silence before and after."""
    return np.concatenate(
        [silence(2), say(PHRASE), silence(3), room(1), say("Salama tompoko", "ms"), room(1), silence(2)]
    )


@pytest.fixture(scope="module")
def reference() -> Any:
    """The package's own wrapper of its ONNX file; importing it imports torch."""
    utils = pytest.importorskip("silero_vad.utils_vad")
    return utils


def frames_of(pcm: np.ndarray) -> np.ndarray:
    body = pcm[: len(pcm) // FRAME * FRAME].astype(np.float32).reshape(-1, FRAME) / 32768
    context = np.zeros((len(body), CONTEXT), np.float32)
    context[1:] = body[:-1, -CONTEXT:]
    return np.concatenate([context, body], axis=1)


def test_probabilities_are_those_of_the_package(recording: np.ndarray, reference: Any) -> None:
    torch = pytest.importorskip("torch")
    wrapper = reference.OnnxWrapper(str(model_path().with_name("silero_vad.onnx")), force_onnx_cpu=True)
    sound = torch.from_numpy(recording[: len(recording) // FRAME * FRAME].astype(np.float32) / 32768)
    expected = [float(wrapper(frame, RATE_HZ)) for frame in sound.split(FRAME)]
    np.testing.assert_allclose(Vad().feed(recording)[: len(expected)], expected, atol=1e-3)


def test_the_numpy_network_and_onnx_runtime_agree_in_state_and_output(recording: np.ndarray) -> None:
    noise = (np.random.default_rng(0).standard_normal(RATE_HZ * 5) * 3000).astype(np.int16)
    frames = frames_of(np.concatenate([recording, noise]))
    ours, theirs = load_silero(), OnnxSilero(model_path())
    assert isinstance(ours, NumpySilero)
    ours_state = theirs_state = zero_state()
    for at in range(0, len(frames), 77):
        a, ours_state = ours(frames[at : at + 77], ours_state)
        b, theirs_state = theirs(frames[at : at + 77], theirs_state)
        np.testing.assert_allclose(a, b, atol=2e-4)
        np.testing.assert_allclose(ours_state, theirs_state, atol=2e-2)


@pytest.mark.parametrize("model", [None, OnnxSilero(model_path())])
@pytest.mark.parametrize("size", [1, 100, 511, 513, 4096])
def test_block_sizes_do_not_matter(recording: np.ndarray, size: int, model: Silero | None) -> None:
    pcm = recording[RATE_HZ : RATE_HZ * 3]
    whole, vad = Vad(model).feed(pcm), Vad(model)
    parts = np.concatenate([vad.feed(block) for block in blocks(pcm, size)])
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_minutes_of_digital_silence_change_nothing_behind_them() -> None:
    pcm = np.concatenate([say(PHRASE), silence(280), say(PHRASE)])
    vad = Vad()
    got = np.concatenate([vad.feed(block) for block in blocks(pcm, RATE_HZ * 30)])
    full, _ = OnnxSilero(model_path())(frames_of(pcm), zero_state())
    np.testing.assert_allclose(got, full, atol=1e-3)


def test_a_model_can_be_used_for_another_stream_after_reset(recording: np.ndarray) -> None:
    vad = Vad()
    first = vad.feed(recording)
    vad.reset()
    assert (vad.feed(recording) == first).all()


def test_an_incomplete_frame_counts_as_if_silence_followed() -> None:
    vad = Vad()
    assert len(vad.feed(silence(1)[:700])) == 1
    assert len(vad.finish()) == 1
    assert len(Vad().finish()) == 0


def test_speech_is_found_where_it_is(recording: np.ndarray) -> None:
    length_s = len(say(PHRASE)) / RATE_HZ
    first, second = find_speech(recording)
    assert first[0] / RATE_HZ == pytest.approx(2.0 - 0.2, abs=0.1)
    assert first[1] / RATE_HZ == pytest.approx(2.0 + length_s + 0.2, abs=0.2)
    start_s = 2.0 + length_s + 4.0
    assert second[0] / RATE_HZ == pytest.approx(start_s - 0.2, abs=0.15)


@pytest.mark.parametrize(
    "pcm",
    [
        silence(10),
        room(10, level=30),
        room(10, level=3000),
        np.zeros(0, np.int16),
        np.full(RATE_HZ * 3, 20000, np.int16),
        (8000 * np.sin(np.arange(RATE_HZ * 5) * 2 * np.pi * 50 / RATE_HZ)).astype(np.int16),
    ],
    ids=["silence", "quiet room", "loud noise", "nothing", "constant", "mains hum"],
)
def test_what_is_not_speech_gives_no_spans(pcm: np.ndarray) -> None:
    assert find_speech(pcm) == []


def test_torch_and_onnxruntime_are_not_imported_to_find_speech() -> None:
    code = (
        "import sys, numpy as np; from milo.audio.vad import find_speech; find_speech(np.zeros(16000, np.int16));"
        "assert not {'torch', 'silero_vad', 'onnxruntime'} & set(sys.modules)"
    )
    assert run([sys.executable, "-c", code]).returncode == 0


# --- spans from probabilities ---


def _speechlike(count: int, seed: int) -> np.ndarray:
    """Probabilities that wander as those of speech do."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.random(count // 4 + 1) ** rng.choice([0.3, 1, 3]), 4)[:count]
    return np.clip(steps + rng.normal(0, 0.1, count), 0, 1)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 400), st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.25]), st.sampled_from([0.1, 0.3, 0.5]))
def test_spans_are_those_of_the_package(count: int, seed: int, min_speech_s: float, min_silence_s: float) -> None:
    utils = pytest.importorskip("silero_vad.utils_vad")
    probabilities = _speechlike(count, seed).tolist()
    options = VadOptions(min_speech_s=min_speech_s, min_silence_s=min_silence_s)
    segmenter = Segmenter(options)
    segmenter.feed(probabilities)
    segmenter.finish()
    theirs = utils.get_speech_timestamps_from_probs(
        probabilities,
        threshold=0.5,
        min_speech_duration_ms=round(min_speech_s * 1000),
        min_silence_duration_ms=round(min_silence_s * 1000),
        speech_pad_ms=0,
        audio_length_samples=count * FRAME,
    )
    assert segmenter.spans == [(span["start"], span["end"]) for span in theirs]


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 10**6), st.integers(1, 50))
def test_events_alternate_and_add_up_to_the_spans(count: int, seed: int, size: int) -> None:
    probabilities = _speechlike(count, seed).tolist()
    segmenter = Segmenter()
    events: list[Event] = []
    for at in range(0, count, size):
        events += segmenter.feed(probabilities[at : at + size])
        assert segmenter.speaking == (len(events) % 2 == 1)
    events += segmenter.finish()
    assert [event.kind for event in events] == ["start", "end"] * (len(events) // 2)
    assert [(a.sample, b.sample) for a, b in zip(events[::2], events[1::2], strict=True)] == segmenter.spans


@given(st.lists(st.integers(0, 10_000), max_size=20, unique=True), st.integers(0, 3000))
def test_padded_spans_stay_apart_and_inside(edges: list[int], pad: int) -> None:
    edges.sort()
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    padded = pad_spans(spans, pad, 10_000)
    assert len(padded) == len(spans)
    flat = [edge for span in padded for edge in span]
    assert flat == sorted(flat)
    assert all(0 <= a <= start and end <= b <= 10_000 for (a, b), (start, end) in zip(padded, spans, strict=True))


# --- live ---


def _live(pcm: np.ndarray, size: int) -> Iterator[tuple[int, Event]]:
    vad, fed = StreamingVad(VadOptions(min_silence_s=0.5)), 0
    for block in blocks(pcm, size):
        fed += len(block)
        yield from ((fed, event) for event in vad.feed(block))
    yield from ((fed, event) for event in vad.finish())


@pytest.mark.parametrize("size", [160, 320, 1000])
def test_a_live_stream_tells_starts_and_ends_soon_after_them(recording: np.ndarray, size: int) -> None:
    told = list(_live(recording, size))
    assert [event.kind for _, event in told] == ["start", "end"] * 2
    for fed, event in told:
        limit_s = 0.3 if event.kind == "start" else 0.7
        assert 0 <= fed - event.sample <= limit_s * RATE_HZ


def test_a_live_stream_that_ends_while_somebody_speaks_closes_the_span() -> None:
    told = [event for _, event in _live(np.concatenate([silence(1), say(PHRASE)[: 2 * RATE_HZ]]), 320)]
    assert [event.kind for event in told] == ["start", "end"]
    assert told[-1].sample == 3 * RATE_HZ
