"""What all Whisper engines share, driven through a fake backend: batches, fallback, guards, words, lack of memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milo.engines.runtime.memory import is_out_of_memory
from milo.engines.whisper.backend import Hypothesis
from milo.engines.whisper.checkpoint import Checkpoint, load_checkpoint
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.engines.whisper.words import Alignment
from milo.errors import EngineError, Invalid, ModelUnavailable, OutOfMemory
from milo.models import registry
from milo.protocols import DecodeOptions, KeptLanguage, Samples
from milo.settings import Settings
from tests.milo.engines.whisper.whisper_models import make_checkpoint

ONCE = DecodeOptions(language="mg", temperatures=(0.0,), word_timestamps=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    return make_checkpoint(path, milo={"min_window_s": 1.0, "pack_window_s": 8.0})


@pytest.fixture(scope="session")
def checkpoint(folder: Path) -> Checkpoint:
    settings = Settings(home=folder.parent, _env_file=None)
    return load_checkpoint(settings, registry.resolve(settings, str(folder)))


class FakeBackend:
    """Writes each window's length in tenths of a second; `script` overrides what one temperature gives."""

    def __init__(
        self, checkpoint: Checkpoint, memory_frames: float = 1e9, parallel: int = 1, replicas: int = 1
    ) -> None:
        self.checkpoint = checkpoint
        self.parallel = parallel
        self.replicas = replicas
        self.frame_budget = 48_000
        self.weights_bytes = 1
        self.memory_frames = memory_frames
        self.batches: list[tuple[int, int]] = []
        """(windows, padded frames) of each batch that was encoded."""
        self.script: dict[float, Hypothesis] = {}
        self.caps: list[int] = []
        self.generated: list[tuple[float, int]] = []
        """(temperature, rows) of each generate."""
        self.freed = 0
        self.error: Exception = RuntimeError("CUDA failed with error out of memory")
        self.lock = threading.Lock()

    def encode(self, features: Any) -> Any:
        rows, _, frames = features.shape
        if rows * frames > self.memory_frames:
            raise self.error
        with self.lock:
            self.batches.append((rows, frames))
        return features

    def select(self, encoded: Any, rows: list[int]) -> Any:
        return encoded[rows]

    def language_probabilities(self, encoded: Any) -> Any:
        return np.tile(np.array([[0.2, 0.7, 0.1]], np.float32), (len(encoded), 1))

    def generate(
        self, encoded: Any, prompts: list[list[int]], max_tokens: int, beam_size: int, temperature: float
    ) -> list[Hypothesis]:
        assert len(encoded) == len(prompts)
        self.caps.append(max_tokens)
        self.generated.append((temperature, len(prompts)))
        if temperature in self.script:
            return [self.script[temperature]] * len(prompts)
        return [self.said(f" {round(self.seconds(row) * 10)}") for row in encoded]

    def seconds(self, features: Any) -> float:
        """Length of the sound in a window of noise and padding."""
        loud = np.flatnonzero(features.max(axis=0) > features.min() + 0.5)
        return float(loud[-1] + 1) / 100 if len(loud) else 0.0

    def said(self, text: str, logprob: float = -0.1, no_speech: float = 0.0, ended: bool = True) -> Hypothesis:
        tokens = self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        return Hypothesis(tokens, logprob * (len(tokens) + ended), no_speech, ended)

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Alignment]:
        assert len(encoded) == len(texts) == len(frames)
        found = []
        for text, most in zip(texts, frames, strict=True):
            rows = np.arange(len(text) + 1)
            found.append(Alignment(rows, rows * (most // 2) // (len(text) + 1), [0.5] * len(text)))
        return found

    def free(self) -> None:
        self.freed += 1

    def close(self) -> None:
        """Nothing to free."""


def noise(seconds: float, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(round(seconds * 16_000)) * 0.3).astype(np.float32)


def words_of(results: list[Any]) -> list[str]:
    return [result.text for result in results]


# --- batches ---


def test_texts_come_back_in_the_order_of_the_windows(checkpoint: Checkpoint) -> None:
    lengths = [3.0, 0.9, 12.0, 3.2, 29.0, 1.4, 7.7, 0.9]
    engine = WhisperTranscriber(checkpoint, FakeBackend(checkpoint), batch_windows=3)
    heard = [int(text) / 10 for text in words_of(engine.transcribe([noise(s) for s in lengths], ONCE))]
    assert heard == pytest.approx(lengths, abs=0.11)


def test_windows_of_like_length_share_a_batch_and_short_ones_stay_short(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    engine = WhisperTranscriber(checkpoint, backend, batch_windows=16)
    engine.transcribe([noise(s) for s in (0.4, 3.9, 3.6, 3.7, 28.0, 0.9)], ONCE)
    assert backend.batches == [(1, 3000), (3, 400), (2, 100)]


def test_the_padded_length_of_a_window_does_not_depend_on_its_neighbours(checkpoint: Checkpoint) -> None:
    engine = WhisperTranscriber(checkpoint, FakeBackend(checkpoint))
    assert [engine.padded_frames(round(s * 16_000)) for s in (0.01, 1, 1.01, 4.2, 25.5, 30)] == [
        100,
        100,
        150,
        500,
        3000,
        3000,
    ]


def test_a_stock_model_always_gets_30_seconds(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    path = make_checkpoint(tmp_path / "stock")
    stock = load_checkpoint(settings, registry.resolve(settings, str(path)))
    backend = FakeBackend(stock)
    WhisperTranscriber(stock, backend).transcribe([noise(1), noise(9)], ONCE)
    assert backend.batches == [(2, 3000)]


def test_a_batch_holds_no_more_windows_than_the_setting_says(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    WhisperTranscriber(checkpoint, backend, batch_windows=4).transcribe([noise(2)] * 10, ONCE)
    assert [rows for rows, _ in backend.batches] == [4, 3, 3]


def test_a_small_call_stays_one_batch_where_there_is_one_replica(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint, parallel=2)
    engine = WhisperTranscriber(checkpoint, backend)
    engine.transcribe([noise(2)] * 6, ONCE)
    assert backend.batches == [(6, 200)]
    engine.close()


def test_replicas_share_a_small_call(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint, parallel=2, replicas=2)
    engine = WhisperTranscriber(checkpoint, backend)
    assert len(set(words_of(engine.transcribe([noise(2)] * 6, ONCE)))) == 1
    assert sorted(backend.batches) == [(3, 200), (3, 200)]
    engine.close()


def test_no_windows_give_no_texts(checkpoint: Checkpoint) -> None:
    assert WhisperTranscriber(checkpoint, FakeBackend(checkpoint)).transcribe([], ONCE) == []


@pytest.mark.parametrize("window", [np.zeros(0, np.float32), np.zeros(16_000, np.float32)])
def test_digital_silence_is_not_decoded(checkpoint: Checkpoint, window: Samples) -> None:
    backend = FakeBackend(checkpoint)
    (silence,) = WhisperTranscriber(checkpoint, backend).transcribe([window], DecodeOptions())
    assert (silence.text, silence.tokens, silence.words, silence.no_speech_prob) == ("", [], [], 1.0)
    assert backend.batches == []


def test_samples_that_are_no_numbers_do_not_spoil_a_batch(checkpoint: Checkpoint) -> None:
    broken = noise(2)
    broken[100:200] = np.nan
    broken[300] = np.inf
    engine = WhisperTranscriber(checkpoint, FakeBackend(checkpoint))
    assert words_of(engine.transcribe([broken, noise(2)], ONCE)) == ["20", "20"]


def test_a_window_that_is_too_long_is_refused_not_cut(checkpoint: Checkpoint) -> None:
    with pytest.raises(Invalid, match="31.00 s is longer than the 30 s"):
        WhisperTranscriber(checkpoint, FakeBackend(checkpoint)).transcribe([noise(31)], ONCE)


# --- memory ---


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("CUBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_and_keeps_what_is_done(checkpoint: Checkpoint, error: Exception) -> None:
    backend = FakeBackend(checkpoint, memory_frames=5 * 200)
    backend.error = error
    engine = WhisperTranscriber(checkpoint, backend, batch_windows=16)
    lengths = np.linspace(1.6, 1.95, 16)
    heard = [int(text) / 10 for text in words_of(engine.transcribe([noise(s) for s in lengths], ONCE))]
    assert heard == pytest.approx(list(lengths), abs=0.11)
    assert [rows for rows, _ in backend.batches] == [4, 4, 4, 4]
    assert backend.freed == 2  # 16, then 8; the limit is known afterwards


def test_one_window_that_does_not_fit_alone_is_out_of_memory(checkpoint: Checkpoint) -> None:
    engine = WhisperTranscriber(checkpoint, FakeBackend(checkpoint, memory_frames=50))
    with pytest.raises(OutOfMemory, match="one window of 2 s"):
        engine.transcribe([noise(2)] * 2, ONCE)


def test_the_limit_found_is_lifted_again_by_later_calls(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint, memory_frames=4 * 200)
    engine = WhisperTranscriber(checkpoint, backend)
    engine.transcribe([noise(2)] * 8, ONCE)
    backend.memory_frames = 1e9
    for _ in range(8):
        engine.transcribe([noise(2)] * 8, ONCE)
    assert backend.batches[-1] == (8, 200)


def test_another_failure_is_an_engine_error_with_the_reason(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint, memory_frames=0)
    backend.error = RuntimeError("cuDNN failed with status CUDNN_STATUS_EXECUTION_FAILED")
    with pytest.raises(EngineError, match="CUDNN_STATUS_EXECUTION_FAILED") as caught:
        WhisperTranscriber(checkpoint, backend).transcribe([noise(2)] * 4, ONCE)
    assert not isinstance(caught.value, OutOfMemory)
    assert not is_out_of_memory(backend.error)


# --- guards ---


def test_a_doubtful_text_is_tried_again_warmer_and_only_that_one(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" ny vary", logprob=-2), 0.2: backend.said(" ny vary")}
    options = DecodeOptions(language="mg", temperatures=(0.0, 0.2, 0.4), word_timestamps=False)
    (result,) = WhisperTranscriber(checkpoint, backend).transcribe([noise(2)], options)
    assert (result.text, result.temperature) == ("ny vary", 0.2)
    assert backend.generated == [(0.0, 1), (0.2, 1)]


def test_good_windows_are_not_decoded_twice(checkpoint: Checkpoint) -> None:
    class Mixed(FakeBackend):
        def generate(self, encoded: Any, prompts: Any, max_tokens: int, beam: int, temperature: float) -> Any:
            found = super().generate(encoded, prompts, max_tokens, beam, temperature)
            return [self.said(" x", logprob=-3) if temperature == 0 and n == 1 else h for n, h in enumerate(found)]

    backend = Mixed(checkpoint)
    options = DecodeOptions(language="mg", word_timestamps=False)
    results = WhisperTranscriber(checkpoint, backend).transcribe([noise(s) for s in (1.6, 1.7, 1.8)], options)
    assert backend.generated == [(0.0, 3), (0.2, 1)]
    assert [result.temperature for result in results] == [0.0, 0.2, 0.0]


def test_when_no_temperature_helps_the_least_doubtful_text_is_kept(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" one", -3), 0.5: backend.said(" two", -1.5), 1.0: backend.said(" six", -2)}
    options = DecodeOptions(language="mg", temperatures=(0.0, 0.5, 1.0), word_timestamps=False)
    (result,) = WhisperTranscriber(checkpoint, backend).transcribe([noise(2)], options)
    assert (result.text, result.temperature) == ("two", 0.5)


def test_no_speech_and_no_certainty_is_silence(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" misaotra", logprob=-1.5, no_speech=0.9)}
    (result,) = WhisperTranscriber(checkpoint, backend).transcribe([noise(2)], DecodeOptions(language="mg"))
    assert (result.text, result.tokens, result.words) == ("", [], [])
    assert result.no_speech_prob == 0.9
    assert backend.generated == [(0.0, 1)]


def test_a_sure_text_is_kept_whatever_the_no_speech_token_says(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" misaotra", logprob=-0.2, no_speech=0.9)}
    assert words_of(WhisperTranscriber(checkpoint, backend).transcribe([noise(2)], ONCE)) == ["misaotra"]


def test_a_short_loop_is_retried(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" roa" * 8), 0.2: backend.said(" roa amby folo")}
    options = DecodeOptions(language="mg", word_timestamps=False)
    assert words_of(WhisperTranscriber(checkpoint, backend).transcribe([noise(2)], options)) == ["roa amby folo"]


def test_a_loop_that_stays_is_cut_to_one_turn(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" ny vary" + " roa telo" * 9 + " tsara")}
    (result,) = WhisperTranscriber(checkpoint, backend).transcribe([noise(3)], ONCE)
    assert result.text == "ny vary roa telo tsara"
    assert checkpoint.decode(result.tokens).strip() == result.text
    assert result.compression_ratio > 2  # of what the model wrote


def test_a_short_window_can_not_hold_many_tokens(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    engine = WhisperTranscriber(checkpoint, backend)
    engine.transcribe([noise(1)], ONCE)
    engine.transcribe([noise(30)], ONCE)
    assert backend.caps == [32, 224]


def test_a_good_text_that_runs_into_the_limit_gets_more_room(checkpoint: Checkpoint) -> None:
    long = " manao ahoana tompoko, misaotra betsaka, veloma ary mandrapihaona amin'ny sivy ora"

    class Dense(FakeBackend):
        def generate(self, encoded: Any, prompts: Any, max_tokens: int, beam: int, temperature: float) -> Any:
            self.caps.append(max_tokens)
            tokens = self.said(long).tokens
            cut = tokens[:max_tokens]
            return [Hypothesis(cut, -0.1 * len(cut), 0.0, len(cut) == len(tokens))] * len(prompts)

    backend = Dense(checkpoint)
    assert words_of(WhisperTranscriber(checkpoint, backend).transcribe([noise(1)], ONCE)) == [long.strip()]
    assert backend.caps == [32, 224]


# --- options ---


def test_the_language_is_detected_for_each_window_with_its_probability(checkpoint: Checkpoint) -> None:
    engine = WhisperTranscriber(checkpoint, FakeBackend(checkpoint))
    (result,) = engine.transcribe([noise(2)], DecodeOptions(word_timestamps=False))
    assert result.language == engine.languages[1]
    assert result.language_probability == pytest.approx(0.7)


def hearing(checkpoint: Checkpoint, logprob: dict[str, float]) -> tuple[FakeBackend, WhisperTranscriber, list[str]]:
    """An engine that hears fr in everything, and the languages it decodes in: `logprob` tells how its texts sound."""
    backend, decoded = FakeBackend(checkpoint), []
    codes = {token: code for code, token in checkpoint.languages.items()}

    def generate(encoded: Any, prompts: list[list[int]], *_: Any) -> list[Hypothesis]:
        assert len(encoded) == len(prompts)
        mine = [codes[prompt[1]] for prompt in prompts]
        decoded.extend(mine)
        return [backend.said(f" {code}", logprob.get(code, -0.1)) for code in mine]

    backend.generate = generate  # type: ignore[method-assign, assignment]
    return backend, WhisperTranscriber(checkpoint, backend), decoded


AUTO = DecodeOptions(word_timestamps=False)
MG, EN = KeptLanguage("mg", 0.9, -0.4), KeptLanguage("en", 0.9, -0.4)


def test_a_window_of_a_recording_that_keeps_its_language_is_not_asked_for_it(checkpoint: Checkpoint) -> None:
    backend, engine, decoded = hearing(checkpoint, {})
    asked = counted(backend)
    heard = engine.transcribe([noise(2)] * 4, AUTO, [MG, None, MG, None])
    assert [(one.text, one.language, round(one.language_probability, 2)) for one in heard] == [
        ("mg", "mg", 0.9),
        ("fr", "fr", 0.7),
        ("mg", "mg", 0.9),
        ("fr", "fr", 0.7),
    ]
    assert (asked, decoded) == ([2], ["mg", "fr", "mg", "fr"])


def test_one_that_sounds_wrong_is_asked_and_decoded_in_its_own_language(checkpoint: Checkpoint) -> None:
    backend, engine, decoded = hearing(checkpoint, {"mg": -0.6})
    asked = counted(backend)
    heard = engine.transcribe([noise(2)] * 2, AUTO, [MG, EN])
    assert [(one.text, one.language) for one in heard] == [("fr", "fr"), ("en", "en")]
    assert (asked, decoded) == ([1], ["mg", "en", "fr"])


def test_one_that_sounds_wrong_in_its_own_language_is_decoded_once(checkpoint: Checkpoint) -> None:
    backend, engine, decoded = hearing(checkpoint, {"fr": -0.6})
    asked = counted(backend)
    engine.transcribe([noise(2)], AUTO, [KeptLanguage("fr", 0.9, -0.4)])
    assert (asked, decoded) == ([1], ["fr"])


def test_a_given_language_is_never_asked_whatever_the_recording_keeps(checkpoint: Checkpoint) -> None:
    backend, engine, decoded = hearing(checkpoint, {"en": -2.0})
    asked = counted(backend)
    options = DecodeOptions(language="en", temperatures=(0.0,), word_timestamps=False)
    (heard,) = engine.transcribe([noise(2)], options, [MG])
    assert (heard.language, asked, decoded) == ("en", [], ["en"])


def test_a_language_that_the_model_has_not_is_asked_anew(checkpoint: Checkpoint) -> None:
    _, engine, decoded = hearing(checkpoint, {})
    (heard,) = engine.transcribe([noise(2)], AUTO, [KeptLanguage("xx", 0.9, -0.4)])
    assert (heard.language, decoded) == ("fr", ["fr"])


def counted(backend: FakeBackend) -> list[int]:
    """How many windows each call asks for their languages."""
    asked: list[int] = []
    detect = backend.language_probabilities

    def language_probabilities(encoded: Any) -> Any:
        asked.append(len(encoded))
        return detect(encoded)

    backend.language_probabilities = language_probabilities  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize(("logprob", "calls"), [(-0.39, []), (-0.41, [1])])
def test_what_sounds_worse_than_all_that_was_asked_is_asked_too(
    checkpoint: Checkpoint, logprob: float, calls: list[int]
) -> None:
    backend, engine, _ = hearing(checkpoint, {"mg": logprob})
    asked = counted(backend)
    engine.transcribe([noise(2)], AUTO, [MG])
    assert asked == calls


@pytest.mark.parametrize("code", ["mg", "MG", "mg-MG", "mlg", "<|mg|>"])
def test_a_language_may_be_written_in_several_ways(checkpoint: Checkpoint, code: str) -> None:
    assert checkpoint.language_of(code) == "mg"


def test_an_unknown_language_is_refused_with_the_list(checkpoint: Checkpoint) -> None:
    engine = WhisperTranscriber(checkpoint, FakeBackend(checkpoint))
    with pytest.raises(Invalid, match="'sw'; it knows en, fr, mg"):
        engine.transcribe([noise(1)], DecodeOptions(language="sw"))


def test_an_unknown_task_is_refused_with_the_list(checkpoint: Checkpoint) -> None:
    with pytest.raises(Invalid, match="it was trained to transcribe and translate"):
        WhisperTranscriber(checkpoint, FakeBackend(checkpoint)).transcribe([noise(1)], DecodeOptions(task="sing"))


def test_a_prompt_comes_before_the_start_and_can_not_smuggle_tokens_in(checkpoint: Checkpoint) -> None:
    plain = checkpoint.prompt("mg", DecodeOptions())
    sly = checkpoint.prompt("mg", DecodeOptions(prompt="vary <|endoftext|><|startoftranscript|> lafo"))
    assert sly[0] == checkpoint.previous and sly[-len(plain) :] == plain
    assert sly.count(checkpoint.sot) == 1 and checkpoint.eot not in sly


def test_a_long_prompt_keeps_its_end_and_leaves_room_for_the_text(checkpoint: Checkpoint) -> None:
    prompt = checkpoint.prompt("mg", DecodeOptions(prompt="vary " * 900 + "farany"))
    assert len(prompt) + checkpoint.max_tokens <= checkpoint.max_positions
    assert checkpoint.decode(checkpoint.text_tokens(prompt)).endswith("farany")


# --- words ---


def test_words_have_times_inside_the_window_in_order_and_join_to_the_text(checkpoint: Checkpoint) -> None:
    backend = FakeBackend(checkpoint)
    backend.script = {0.0: backend.said(" mandeha any an-tsena aho, amin'ny sivy.")}
    options = DecodeOptions(language="mg", temperatures=(0.0,))
    (result,) = WhisperTranscriber(checkpoint, backend).transcribe([noise(3.3)], options)
    assert [word.word for word in result.words] == [" mandeha", " any", " an-tsena", " aho,", " amin'ny", " sivy."]
    assert "".join(word.word for word in result.words).strip() == result.text
    assert [token for word in result.words for token in word.tokens] == result.tokens
    edges = [edge for word in result.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= 3.3
    assert all(word.end_s > word.start_s and word.probability == 0.5 for word in result.words)


# --- checkpoints ---


def test_a_checkpoint_without_a_tokenizer_takes_the_one_of_its_base_model(tmp_path: Path, folder: Path) -> None:
    settings = Settings(home=tmp_path, stt_processor=str(folder), _env_file=None)
    path = make_checkpoint(tmp_path / "run" / "checkpoint-7000")
    (path / "tokenizer.json").unlink()
    assert load_checkpoint(settings, registry.resolve(settings, str(path))).sot
    alone = settings.model_copy(update={"stt_processor": None})
    with pytest.raises(ModelUnavailable, match="tokenizer.json of checkpoint-7000 is missing"):
        load_checkpoint(alone, registry.resolve(alone, str(path)))


def test_vocab_and_merges_serve_where_there_is_no_tokenizer_json(tmp_path: Path) -> None:
    import json

    settings = Settings(home=tmp_path, _env_file=None)
    path = make_checkpoint(tmp_path / "old")
    whole = load_checkpoint(settings, registry.resolve(settings, str(path)))
    document = json.loads((path / "tokenizer.json").read_text())
    (path / "vocab.json").write_text(json.dumps(document["model"]["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in document["model"]["merges"]]
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    added = {token["content"]: token["id"] for token in document["added_tokens"]}
    (path / "added_tokens.json").write_text(json.dumps(added))
    (path / "tokenizer.json").unlink()
    old = load_checkpoint(settings, registry.resolve(settings, str(path)))
    assert (old.sot, old.eot, old.no_timestamps) == (whole.sot, whole.eot, whole.no_timestamps)
    assert old.token_bytes == whole.token_bytes


def test_a_model_that_is_not_whisper_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    path = make_checkpoint(tmp_path / "m")
    (path / "config.json").write_text('{"model_type": "wav2vec2"}')
    with pytest.raises(ModelUnavailable, match="is a wav2vec2 model"):
        load_checkpoint(settings, registry.resolve(settings, str(path)))
