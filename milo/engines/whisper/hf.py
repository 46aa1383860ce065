"""Whisper through transformers: the reference engine. Slower, and every number can be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from milo.engines.whisper.checkpoint import Checkpoint, load_checkpoint
from milo.engines.whisper.transcriber import Hypothesis, WhisperTranscriber, cores
from milo.engines.whisper.words import Alignment, dtw
from milo.errors import Invalid, ModelUnavailable
from milo.models.registry import ResolvedModel
from milo.settings import Settings

COMPUTE_TYPES = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}


class HFBackend:
    """See `Backend`. One batch at a time: torch threads within it."""

    parallel = 1
    replicas = 1

    def __init__(self, model: Any, checkpoint: Checkpoint, frame_budget: int) -> None:
        self.model = model
        self.checkpoint = checkpoint
        self.frame_budget = frame_budget
        self.weights_bytes = sum(p.numel() * p.element_size() for p in model.parameters())

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
        made = out.sequences[:, start.shape[1] :]
        no_speech = self._no_speech(encoded, start)
        logprobs = self._logprobs(encoded, start, made)
        found = []
        for row, tokens in enumerate(made.tolist()):
            ended = self.checkpoint.eot in tokens
            length = tokens.index(self.checkpoint.eot) if ended else len(tokens)
            total = float(logprobs[row, : length + ended].sum())
            found.append(Hypothesis(tokens[:length], total, float(no_speech[row]), ended))
        return found

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

    def _logprobs(self, encoded: Any, start: Any, made: Any) -> Any:
        """Log-probability of each new token, suppressed tokens left out of the sum, temperature 1."""
        import torch

        logits, _ = self._logits(encoded, torch.cat([start, made], dim=1)[:, :-1])
        logits = logits[:, start.shape[1] - 1 :]
        logits[:, :, self.checkpoint.suppress] = -torch.inf
        logits[:, 0, self.checkpoint.suppress_begin] = -torch.inf
        return logits.log_softmax(-1).gather(-1, made[..., None])[..., 0].cpu()

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Alignment]:
        import torch

        head = [*start, self.checkpoint.no_timestamps]
        longest = max(len(text) for text in texts)
        rows = [[*head, *text, *[self.checkpoint.eot] * (longest - len(text) + 1)] for text in texts]
        tokens = torch.tensor(rows, device=encoded.device)
        logits, attentions = self._logits(encoded, tokens, output_attentions=True)
        heads = torch.stack([attentions[layer][:, n] for layer, n in self.checkpoint.alignment_heads], dim=1)
        found = []
        for row, text in enumerate(texts):
            last = len(start) + len(text) + 1
            columns = max(1, min(frames[row] // 2, heads.shape[-1]))
            weights = heads[row, :, : last + 1, :columns].float()
            matrix = self._attention_matrix(weights)[len(start) : last]
            text_indices, time_indices = dtw(-matrix)
            predicted = logits[row, len(start) : last - 1, : self.checkpoint.eot].softmax(-1)
            chosen = predicted[torch.arange(len(text)), torch.tensor(text)]
            found.append(Alignment(text_indices, time_indices, chosen.tolist()))
        return found

    def _attention_matrix(self, weights: Any) -> npt.NDArray[np.float32]:
        """(tokens, frames): mean over heads of attention, normalised over tokens, median-filtered in time."""
        import torch

        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-20)
        std, mean = torch.std_mean(weights, dim=-2, keepdim=True, correction=0)
        weights = (weights - mean) / std.clamp(min=1e-10)
        width = int(self.checkpoint.config.get("median_filter_width", 7))
        side = width // 2
        if weights.shape[-1] > side:
            padded = torch.nn.functional.pad(weights, (side, side), mode="reflect")
            weights = padded.unfold(-1, width, 1).median(-1).values
        return np.asarray(weights.mean(0).cpu().numpy(), np.float32)

    def free(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def close(self) -> None:
        self.model = None
        self.free()


def load(settings: Settings, resolved: ResolvedModel) -> WhisperTranscriber:
    """Load from safetensors. Raises `ModelUnavailable` for files that are missing, `Invalid` for bad settings."""
    import torch
    from transformers import GenerationConfig, WhisperForConditionalGeneration

    checkpoint = load_checkpoint(settings, resolved)
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise Invalid("MILO_DEVICE=cuda, but torch sees no CUDA device")
    default = "float16" if cuda else "float32"
    kind = COMPUTE_TYPES.get(default if settings.stt_compute_type == "default" else settings.stt_compute_type)
    if kind is None:
        raise Invalid(
            f"the transformers engine computes in {', '.join(COMPUTE_TYPES)}; not {settings.stt_compute_type}"
        )
    if not cuda:
        torch.set_num_threads(cores(settings.cpu_threads))
    try:
        model = WhisperForConditionalGeneration.from_pretrained(
            str(resolved.path),
            use_safetensors=True,
            local_files_only=True,
            dtype=getattr(torch, kind),
            attn_implementation="eager",
        )
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"transformers can't load {resolved.label}: {error}") from error
    model.generation_config = GenerationConfig()  # ours says everything; the model's own would be merged into it
    model = model.eval().to("cuda" if cuda else "cpu")
    budget = settings.batch_windows * 3000 if cuda else 8 * 3000
    return WhisperTranscriber(checkpoint, HFBackend(model, checkpoint, budget), settings.batch_windows)
