"""`milo-tiny-mg` as a network: transformers' own Whisper, with what is added for training only.

An encoder for windows of any length (Whisper's insists on 30 s), a CTC head on it, and the loss of guided attention.
Letters used in shapes: B windows, T log-mel frames (10 ms), L decoder tokens, d the width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from trainer.tiny.whisper_batches import Batch
from trainer.tiny.whisper_targets import CTC_LETTERS, IGNORE

GUIDED_HEADS = ((0, 0), (1, 0), (1, 1))
"""(layer, head) of the decoder's attention to the sound that are told where each word is spoken."""
GUIDE_SLACK = 4
"""Frames of 20 ms by which they may be off."""


class TinyWhisper(nn.Module):
    """Whisper with an encoder for any number of frames and a CTC head."""

    def __init__(self, whisper: Any) -> None:
        super().__init__()
        self.whisper = whisper
        self.ctc = nn.Linear(whisper.config.d_model, len(CTC_LETTERS) + 1)

    def encode(self, mel: torch.Tensor) -> torch.Tensor:
        """(B, 80, T) -> (B, T / 2, d)"""
        encoder = self.whisper.model.encoder
        x = F.gelu(encoder.conv1(mel))  # (B, d, T)
        x = F.gelu(encoder.conv2(x))  # (B, d, T / 2)
        x = x.transpose(1, 2) + encoder.embed_positions.weight[: x.shape[-1]]
        for layer in encoder.layers:
            x = layer(x, None)
        return encoder.layer_norm(x)

    def decode(self, tokens: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """(B, L), (B, T / 2, d) -> logits (B, L, vocabulary)"""
        decoder = self.whisper.model.decoder
        x = decoder(input_ids=tokens, encoder_hidden_states=encoded, use_cache=False).last_hidden_state
        return self.whisper.proj_out(x)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(cross entropy of the labels, CTC loss per letter, -log of the attention that is where it should be)"""
        encoded = self.encode(batch.mel)
        decoder = self.whisper.model.decoder
        out = decoder(input_ids=batch.tokens, encoder_hidden_states=encoded, use_cache=False, output_attentions=True)
        logits = self.whisper.proj_out(out.last_hidden_state).float()
        text = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE)
        log_probs = self.ctc(encoded).float().log_softmax(-1).transpose(0, 1)  # (T / 2, B, letters)
        letters = F.ctc_loss(log_probs, batch.letters, batch.frames, batch.letter_counts, zero_infinity=True)
        return text, letters, _guide_loss(out.cross_attentions, batch.spans)

    @torch.no_grad()
    def transcribe(self, mel: torch.Tensor, prefix: list[int], end: int, longest: int = 120) -> list[list[int]]:
        """Greedy tokens of each window, without any of stock Whisper's rules; (B, 80, T) and the forced prefix."""
        encoded = self.encode(mel)
        tokens = torch.tensor([prefix] * len(mel), device=mel.device)
        done = torch.zeros(len(mel), dtype=torch.bool, device=mel.device)
        while not done.all() and tokens.shape[1] < longest:
            following = self.decode(tokens, encoded)[:, -1].argmax(-1)
            following[done] = end
            done |= following == end
            tokens = torch.cat([tokens, following[:, None]], dim=1)
        return [[t for t in row if t != end] for row in tokens[:, len(prefix) :].tolist()]


def _guide_loss(attentions: tuple[torch.Tensor, ...], spans: torch.Tensor) -> torch.Tensor:
    """Mean of -log(attention within the span) over the guided heads; (B, heads, L, T / 2) a layer, (B, L, 2)."""
    known = spans[..., 0] >= 0
    frames = torch.arange(attentions[0].shape[-1], device=spans.device)
    near = (frames >= spans[..., :1] - GUIDE_SLACK) & (frames <= spans[..., 1:] + GUIDE_SLACK)  # (B, L, T / 2)
    heads = [attentions[layer][:, head] for layer, head in GUIDED_HEADS if layer < len(attentions)]
    within = torch.stack([(head.float() * near).sum(-1)[known] for head in heads])
    return -(within + 1e-4).log().mean() if known.any() else within.sum()
