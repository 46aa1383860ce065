"""Training at toy size, and the exported folder in stock tools."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.corpus import corpus
from trainer.tiny import align, export, whisper, whisper_batches, whisper_targets, whisper_tokens
from trainer.tiny.whisper import Recipe

TOY = Recipe(seed=0, cycles=(20,), align_steps=20, d_model=32, layers=(1, 1), batch_scale=0.15, workers=0)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return whisper_tokens.build(0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("toy")
    whisper.train(TOY, out, "cpu")
    return out


def test_any_text_can_be_encoded_and_comes_back(tokenizer: Any) -> None:
    for text in (" Manao ahoana?", " 漢字 🎉", " ô'à", "\x00\x7f"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_special_tokens_stand_where_stock_tools_expect_them(tokenizer: Any) -> None:
    ids = [tokenizer.convert_tokens_to_ids(t) for t in (*whisper_tokens.SPECIAL, *whisper_tokens.TIMESTAMPS)]
    assert ids == list(range(whisper_tokens.BPE_SIZE, whisper_tokens.BPE_SIZE + 11 + 1501))
    assert tokenizer.all_special_ids[-1] + 1 == tokenizer.convert_tokens_to_ids("<|0.00|>")


def test_no_word_of_the_phrasebook_begins_with_a_lone_space_token(tokenizer: Any) -> None:
    space = tokenizer.convert_tokens_to_ids("Ġ")
    rng = random.Random(0)
    for _ in range(300):
        sentence = corpus.phrasebook.sentence(rng, rng.choice(corpus.phrasebook.LANGUAGES))
        assert space not in tokenizer(f" {sentence.text}", add_special_tokens=False).input_ids


def test_log_mel_is_that_of_the_stock_feature_extractor() -> None:
    from transformers import WhisperFeatureExtractor

    audio = np.random.default_rng(0).standard_normal(16_000 * 30).astype(np.float32) * 0.1
    stock = WhisperFeatureExtractor(feature_size=80)(audio, sampling_rate=16_000, return_tensors="pt").input_features
    assert torch.allclose(whisper_batches.log_mel(torch.from_numpy(audio)[None]), stock, atol=1e-4)


def test_labels_follow_the_tokens_and_mark_windows_without_speech(tokenizer: Any) -> None:
    targets = whisper_targets.Targets(tokenizer)
    rng = random.Random(0)
    spoken, silent = corpus.window(rng), corpus.no_speech_window(rng, 2)
    given, wanted, spans = targets(spoken, rng, False)
    assert len(given) == len(wanted) == len(spans)
    assert max(end for _, end in spans) * whisper_targets.FRAME_S <= len(spoken.audio) / 16_000 + 0.05
    assert wanted[0] == targets.languages["mg"]
    assert wanted[-1] == targets.end
    assert targets(silent, rng, False)[1][0] == targets.no_speech
    given, wanted, _ = targets(spoken, rng, True)
    assert given[0] == targets.prompt
    assert wanted[0] == whisper_targets.IGNORE


def test_a_batch_has_the_same_texts_each_time_it_is_made(tokenizer: Any) -> None:
    first, second = (whisper_batches.TrainingBatches(tokenizer, 7, 10, scale=0.1)[4] for _ in range(2))
    assert torch.equal(first.letters, second.letters)
    assert first.mel.shape[:2] == second.mel.shape[:2]


def test_twenty_steps_lower_the_loss(trained: Path, tokenizer: Any) -> None:
    from safetensors.torch import load_file

    fresh, taught = whisper.build(TOY, tokenizer), whisper.build(TOY, tokenizer)
    taught.load_state_dict(load_file(trained / "last.safetensors"))
    batch = whisper_batches.TrainingBatches(tokenizer, 99, 1, warm_up=1, scale=0.15)[0]
    with torch.no_grad():
        before, after = fresh.loss(batch)[0], taught.loss(batch)[0]
    assert after < before - 0.2


def test_the_schedule_rises_falls_and_starts_again() -> None:
    recipe = Recipe(cycles=(100, 50))
    rates = [whisper.learning_rate(step, recipe) for step in range(150)]
    assert max(rates) == pytest.approx(recipe.peak_rate)
    assert rates[99] < 1e-5 < rates[110]
    assert rates[149] < 1e-5


def test_an_exported_folder_loads_in_the_stock_pipeline(trained: Path) -> None:
    from transformers import pipeline

    recognise = pipeline("automatic-speech-recognition", model=str(trained / "model"), device="cpu")
    said = recognise(
        {"raw": np.zeros(16_000, dtype=np.float32), "sampling_rate": 16_000},
        generate_kwargs={"language": "mg", "max_new_tokens": 4},
    )
    assert isinstance(said["text"], str)
    config = json.loads((trained / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["milo"]["min_window_s"] == export.MIN_WINDOW_S
    assert (trained / "model" / "preprocessor_config.json").exists()


def test_alignment_heads_are_chosen_among_the_decoder_s(trained: Path, tokenizer: Any) -> None:
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(trained / "model", dtype=torch.float32)
    heads, error_s = align.choose_heads(model, tokenizer, count=3)
    assert heads
    assert all(layer == 0 and 0 <= head < 4 for layer, head in heads)
    assert 0 <= error_s <= 1
