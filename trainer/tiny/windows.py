"""Runs a Whisper folder over windows, in the two ways it is used: stock (30 s of padding), and as short as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.corpus.effects import RATE_HZ, Audio
from trainer.tiny.whisper_batches import HOP, log_mel
from trainer.tiny.whisper_model import TinyWhisper


@dataclass(frozen=True)
class Transcription:
    text: str
    language: str
    """The likeliest language token."""
    no_speech_prob: float


class Transcriber:
    """A model folder, loaded in float32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self.processor: Any = WhisperProcessor.from_pretrained(folder)
        self.model: Any = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tiny = TinyWhisper(self.model)
        self.ids: dict[str, int] = dict(self.model.generation_config.lang_to_id)

    @torch.no_grad()
    def transcribe(
        self, windows: Sequence[Audio], *, stock: bool, language: str = "mg", batch: int = 16
    ) -> list[Transcription]:
        """Text of each window. stock: transformers' own `generate` on 30 s; else greedy on the windows' own length."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        transcriptions: dict[int, Transcription] = {}
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            for index, result in zip(chosen, self._batch([windows[i] for i in chosen], stock, language), strict=True):
                transcriptions[index] = result
        return [transcriptions[index] for index in range(len(windows))]

    def _batch(self, windows: list[Audio], stock: bool, language: str) -> list[Transcription]:
        longest = max(max(map(len, windows)), RATE_HZ)
        samples = 30 * RATE_HZ if stock else -(-longest // (2 * HOP)) * 2 * HOP
        audio = torch.zeros(len(windows), samples)
        for row, window in zip(audio, windows, strict=True):
            row[: len(window)] = torch.from_numpy(window[:samples])
        mel = log_mel(audio)
        config, tokenizer = self.model.generation_config, self.processor.tokenizer
        start = config.decoder_start_token_id
        first = self.tiny.decode(torch.full((len(windows), 1), start), self.tiny.encode(mel))[:, 0].softmax(-1)
        languages = {code: first[:, token] for code, token in self.ids.items()}
        if stock:
            tokens = self.model.generate(mel, language=language, task="transcribe").tolist()
        else:
            prefix = [start, self.ids[f"<|{language}|>"], config.task_to_id["transcribe"]]
            tokens = self.tiny.transcribe(mel, [*prefix, config.no_timestamps_token_id], config.eos_token_id)
        no_speech = first[:, config.no_timestamps_token_id - 1]
        return [
            Transcription(
                tokenizer.decode(row, skip_special_tokens=True).strip(),
                max(languages, key=lambda code: float(languages[code][index]))[2:-2],
                float(no_speech[index]),
            )
            for index, row in enumerate(tokens)
        ]
