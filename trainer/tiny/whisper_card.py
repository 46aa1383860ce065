"""The model card of `milo-tiny-mg`, written from measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(folder: Path, result: dict[str, Any]) -> str:
    """README.md for the model in `folder`; `result` is what `benchmarks/stt_wer.py` measured."""
    megabytes = sum(f.stat().st_size for f in folder.iterdir() if f.name not in ("README.md", "wer.json")) / 1e6
    rows = "\n".join(
        f"| {name} | {row['windows']} | {row['audio_s'] / 60:.1f} | {row['stock_30_s']['wer']:.1%} |"
        f" {row['own_length']['wer']:.1%} | {row['own_length']['cer']:.1%} | {row['language_accuracy']:.1%} |"
        for name, row in result["sets"].items()
    )
    silent = result["no speech"]
    lengths = ", ".join(f"{length} s {wer:.1%}" for length, wer in result["wer by length in s"].items())
    return f"""---
license: agpl-3.0
language: [mg, fr, en]
library_name: transformers
pipeline_tag: automatic-speech-recognition
tags: [whisper, synthetic, demonstration]
---

# milo-tiny-mg

A Whisper of 2.6 million parameters ({megabytes:.1f} MB in fp16) that writes down synthetic Malagasy.
**It is a demonstration, not a Malagasy model**: it lets every part of Milo run on real audio with nothing to download.

- Architecture: `WhisperForConditionalGeneration`, width 160, 4 encoder and 2 decoder layers, a byte-level BPE of 640
  tokens. Any Whisper tool loads it: transformers, CTranslate2, faster-whisper.
- Data: sentences of a phrasebook grammar (`trainer/corpus/phrasebook.py`), spoken by eSpeak NG voices with
  Malagasy
  spelling-to-sound rules, and some French and English; with varied speed, pitch, room, noise, telephone band and coding
  (`trainer/corpus/corpus.py`). No human voice is in it.
- Windows: trained on 1 s to 30 s, padded to 30 s and not; `config.json` says under `milo` how long a window may be
  (`min_window_s`) and up to which length sentences are best packed into one (`pack_window_s`), and the `tasks`.
- Made by `python -m trainer.tiny.whisper --seed 0 --out DIR` from nothing but the seed. The weights here were made in
  four calls, one a cycle, so the optimizer started anew each time; before the last one the numbers from 11 to 19 were
  put right ("ambin'ny folo"), and with them 33 of the tokens changed.

## Measured

`{result["command"]}` (WER and CER after `milo.training.scoring`, version {result["scoring"]}):

| set | windows | minutes | WER, padded to 30 s | WER, own length | CER, own length | language found |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Without speech ({silent["windows"]} windows of silence, noise, hum and knocks): {silent["empty_text"]:.1%} give an empty
text; mean no-speech probability {silent["mean_no_speech_prob"]:.3f}.

WER by the length of windows packed with several sentences (0: one sentence), own length: {lengths}.

The held-out sentences are never spoken in training, the held-out voice (another base voice of eSpeak NG in six timbres)
is never heard there. All sets are recorded as hard as the training is: noise down to 8 dB, rooms, telephone, codecs.

## Limits

- Synthetic voices only. On people's voices it is not usable.
- It knows the phrasebook's few hundred words: numbers, greetings, market, places, times. Other words are spelled by ear
  and mostly wrong. French and English are there so that language tokens and language detection mean something.
- It transcribes; it does not translate.
- Word times come from two decoder layers; `trainer.tiny.align` measured word starts off by 132 ms on average, on
  synthetic speech.
- Several sentences in one window are heard less well than one, so Milo gives it about one sentence at a time
  (`pack_window_s`).
"""
