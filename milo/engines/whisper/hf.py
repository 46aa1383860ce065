"""Whisper through transformers: the reference engine. Slower, and every number can be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from milo.engines.runtime.devices import default_dtype, torch_device
from milo.engines.runtime.torch_model import TorchModel, load_pretrained
from milo.engines.whisper.backend import Hypothesis
from milo.engines.whisper.checkpoint import Checkpoint, load_checkpoint
from milo.engines.whisper.transcriber import WhisperTranscriber
from milo.engines.whisper.words import Alignment, dtw
from milo.errors import Invalid
from milo.models.configuration import require_transformers
from milo.models.registry import ResolvedModel
from milo.settings import Settings

COMPUTE_TYPES = ("float32", "float16", "bfloat16")


class HFBackend(TorchModel):
    """See `Backend`. One batch at a time: torch threads within it."""

    parallel = 1
    replicas = 1

    def __init__(self, model: Any, checkpoint: Checkpoint, frame_budget: int) -> None:
        super().__init__(model)
        self.checkpoint = checkpoint
        self.frame_budget = frame_budget

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        """Encoder output for any even number of frames up to 3000.

        The stock forward insists on 3000 frames; this is the same computation with as many positions as there are.
        """
        import torch

        encoder, functional = self.model.model.encoder, torch.nn.functional
        weight = encoder.conv1.weight
        with torch.no_grad():
            x = torch.from_numpy(features).to(weight.device, weight.dtype)
            x = functional.gelu(encoder.conv1(x))
            x = functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
            x = x + encoder.embed_positions.weight[: x.shape[1]]
            for layer in encoder.layers:
                x = layer(x, None)
            return encoder.layer_norm(x)

    def select(self, encoded: Any, rows: list[int]) -> Any:
        return encoded[rows]

    def _logits(self, encoded: Any, tokens: Any, **options: Any) -> tuple[Any, Any]:
        """(float32 logits, cross-attentions) of the decoder for token rows of equal length."""
        import torch

        with torch.no_grad():
            out = self.model.model.decoder(input_ids=tokens, encoder_hidden_states=encoded, use_cache=False, **options)
            return self.model.proj_out(out.last_hidden_state).float(), out.cross_attentions

    def logits(self, encoded: Any, tokens: Any) -> Any:
        """float32 scores of the next token after each of `tokens` (rows of equal length), shape (rows, length, ids)."""
        return self._logits(encoded, tokens)[0]

    def language_probabilities(self, encoded: Any) -> npt.NDArray[np.float32]:
        import torch

        tokens = torch.full((len(encoded), 1), self.checkpoint.sot, device=encoded.device)
        logits, _ = self._logits(encoded, tokens)
        chosen = logits[:, 0, list(self.checkpoint.languages.values())].softmax(-1)
        return np.asarray(chosen.cpu().numpy(), np.float32)

    def _no_speech(self, encoded: Any, prompts: Any) -> Any:
        import torch

        if self.checkpoint.no_speech is None:
            return torch.zeros(len(prompts))
        position = prompts[0].tolist().index(self.checkpoint.sot)
        logits, _ = self._logits(encoded, prompts[:, : position + 1])
        return logits[:, -1].softmax(-1)[:, self.checkpoint.no_speech].cpu()

    def generate(
        self, encoded: Any, prompts: list[list[int]], max_tokens: int, beam_size: int, temperature: float
    ) -> list[Hypothesis]:
        import torch
        from transformers import GenerationMixin
        from transformers.modeling_outputs import BaseModelOutput

        start = torch.tensor(prompts, device=encoded.device)
        with torch.no_grad():
            out = GenerationMixin.generate(
                self.model,
                generation_config=self._config(start.shape[1], max_tokens, beam_size, temperature),
                encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
                decoder_input_ids=start,
            )
        new = out.sequences[:, start.shape[1] :]
        no_speech = self._no_speech(encoded, start)
        logprobs = self._logprobs(encoded, start, new)
        hypotheses = []
        for row, tokens in enumerate(new.tolist()):
            ended = self.checkpoint.eot in tokens
            length = tokens.index(self.checkpoint.eot) if ended else len(tokens)
            total = float(logprobs[row, : length + ended].sum())
            hypotheses.append(Hypothesis(tokens[:length], total, float(no_speech[row]), ended))
        return hypotheses

    def _config(self, start: int, max_tokens: int, beam_size: int, temperature: float) -> Any:
        from transformers import GenerationConfig

        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {}
        return GenerationConfig(
            max_new_tokens=max_tokens,
            num_beams=beam_size,
            **sampling,
            suppress_tokens=self.checkpoint.suppress or None,
            begin_suppress_tokens=self.checkpoint.suppress_begin or None,
            bos_token_id=self.checkpoint.eot,
            eos_token_id=self.checkpoint.eot,
            pad_token_id=self.checkpoint.eot,
            decoder_start_token_id=self.checkpoint.sot,
            return_dict_in_generate=True,
        )

    def _logprobs(self, encoded: Any, start: Any, new: Any) -> Any:
        """Log-probability of each new token, suppressed tokens left out of the sum, temperature 1."""
        import torch

        logits, _ = self._logits(encoded, torch.cat([start, new], dim=1)[:, :-1])
        logits = logits[:, start.shape[1] - 1 :]
        logits[:, :, self.checkpoint.suppress] = -torch.inf
        logits[:, 0, self.checkpoint.suppress_begin] = -torch.inf
        return logits.log_softmax(-1).gather(-1, new[..., None])[..., 0].cpu()

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Alignment]:
        import torch

        head = [*start, self.checkpoint.no_timestamps]
        longest = max(len(text) for text in texts)
        rows = [[*head, *text, *[self.checkpoint.eot] * (longest - len(text) + 1)] for text in texts]
        tokens = torch.tensor(rows, device=encoded.device)
        logits, attentions = self._logits(encoded, tokens, output_attentions=True)
        heads = torch.stack([attentions[layer][:, n] for layer, n in self.checkpoint.alignment_heads], dim=1)
        alignments = []
        for row, text in enumerate(texts):
            last = len(start) + len(text) + 1
            columns = max(1, min(frames[row] // 2, heads.shape[-1]))
            weights = heads[row, :, : last + 1, :columns].float()
            matrix = self._attention_matrix(weights)[len(start) : last]
            text_indices, time_indices = dtw(-matrix)
            predicted = logits[row, len(start) : last - 1, : self.checkpoint.eot].softmax(-1)
            chosen = predicted[torch.arange(len(text)), torch.tensor(text)]
            alignments.append(Alignment(text_indices, time_indices, chosen.tolist()))
        return alignments

    def _attention_matrix(self, weights: Any) -> npt.NDArray[np.float32]:
        """(tokens, frames): mean over heads of attention, normalised over tokens, median-filtered in time."""
        import torch

        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-20)
        std, mean = torch.std_mean(weights, dim=-2, keepdim=True, correction=0)
        weights = (weights - mean) / std.clamp(min=1e-10)
        width = self.checkpoint.median_filter_width
        side = width // 2
        if weights.shape[-1] > side:
            padded = torch.nn.functional.pad(weights, (side, side), mode="reflect")
            weights = padded.unfold(-1, width, 1).median(-1).values
        return np.asarray(weights.mean(0).cpu().numpy(), np.float32)


def load(settings: Settings, resolved: ResolvedModel) -> WhisperTranscriber:
    """Load from safetensors. Raises `ModelUnavailable` for files that are missing, `Invalid` for bad settings."""
    from transformers import GenerationConfig, WhisperForConditionalGeneration

    require_transformers(resolved.path, resolved.name, "the transformers engine needs")
    checkpoint = load_checkpoint(settings, resolved)
    device = torch_device(settings)
    dtype = default_dtype(device) if settings.stt_compute_type == "default" else settings.stt_compute_type
    if dtype not in COMPUTE_TYPES:
        raise Invalid(f"the transformers engine computes in {', '.join(COMPUTE_TYPES)}; not {dtype}")
    model = load_pretrained(WhisperForConditionalGeneration, resolved, device, dtype, attn_implementation="eager")
    model.generation_config = GenerationConfig()  # ours says everything; the model's own would be merged into it
    budget = (settings.batch_windows if device == "cuda" else 8) * 3000
    backend = HFBackend(model, checkpoint, budget)
    return WhisperTranscriber(checkpoint, backend, settings.batch_windows, settings.stt_min_window_s)
