"""Speech by VITS (https://arxiv.org/abs/2106.06103), such as MMS-TTS, through transformers' `VitsModel`.

The weights are read here and not by `from_pretrained`: weight norm, in any of the three layouts in which checkpoints
keep it, is folded into plain weights (faster, and a fine-tuned checkpoint that still has it loads too), and a weight
that is missing is an error, where `from_pretrained` would go on with random numbers. Tokens are made here as well, as
`VitsTokenizer` defines them: MMS vocabularies name a real letter as their padding (id 0), and a tokenizer that looks
for special tokens in the text would cut it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from milo.audio.resample import change_tempo
from milo.engines.whisper.transcriber import cores, is_out_of_memory
from milo.errors import EngineError, Invalid, MiloError, ModelUnavailable, OutOfMemory
from milo.models.files import read_json, weight_files
from milo.models.registry import ResolvedModel, base_name, resolve
from milo.protocols import Samples
from milo.settings import Settings
from milo.synthesis.normalization import fit
from milo.synthesis.voices import speaker_names, vits_language

SEED = 555
"""Of the noise in every sentence: the same sentence sounds the same, whatever was spoken before it."""
SPEEDS = (0.25, 4.0)
MODEL_SPEEDS = (0.5, 2.0)
"""What the model itself is asked for; beyond it the tempo of its audio is changed."""
MAX_CHARS = 1000
SECONDS_PER_CHAR, SECONDS_SPARE = 1.0, 5.0
"""A sentence that would take longer than this at speed 1 is a broken prediction, and would fill the memory."""
_TRAINING_ONLY = ("posterior_encoder.", "discriminator.", "mel_", "spec_")


@dataclass(frozen=True)
class Tokens:
    """A model's alphabet: characters to ids, and whether id 0 stands before, between and after them."""

    ids: Mapping[str, int]
    add_blank: bool

    @property
    def alphabet(self) -> frozenset[str]:
        return frozenset(token for token in self.ids if len(token) == 1)

    def encode(self, text: str) -> list[int]:
        """The ids of a text in `alphabet`."""
        ids = [self.ids[c] for c in text]
        return [0, *(i for found in ids for i in (found, 0))] if self.add_blank else ids


class VitsSynthesizer:
    """A `Synthesizer`; see `milo.protocols`."""

    def __init__(self, name: str, model: Any, tokens: Tokens, languages: Sequence[str]) -> None:
        self.name = name
        self.model = model
        self.tokens = tokens
        self.languages: Sequence[str] = tuple(languages)
        self.sample_rate_hz = int(model.config.sampling_rate)
        self.voices: Sequence[str] = speaker_names(model.config.num_speakers)
        self.size_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
        self._alphabet = tokens.alphabet
        self._hop = math.prod(model.config.upsample_rates)
        self._natural_frames = 0.0
        self._most_frames = 0.0
        self._hook = model.duration_predictor.register_forward_hook(self._check_durations)

    def synthesize(self, text: str, *, language: str, voice: str | None = None, speed: float = 1.0) -> Samples:
        """See `Synthesizer.synthesize`. Letters that the model was not trained on become the nearest ones.

        Empty for text without any. Raises `EngineError` when the model gives no audio, or numbers that are none.
        """
        self._check(text, language, speed)
        speaker = self._speaker(voice)
        ready = fit(text, self._alphabet)
        if not any(c.isalnum() for c in ready):
            return np.zeros(0, np.float32)
        self._most_frames = (SECONDS_SPARE + SECONDS_PER_CHAR * len(ready)) * self.sample_rate_hz / self._hop
        rate = min(max(speed, MODEL_SPEEDS[0]), MODEL_SPEEDS[1])
        try:
            samples = self._run(ready, speaker, rate * float(self.model.config.speaking_rate))
        except MiloError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemory(f"no memory to speak {len(ready)} characters with {self.name}") from error
            raise EngineError(f"{self.name} failed on {ready[:60]!r}: {error}") from error
        reached = self._natural_frames * self._hop / len(samples)
        return change_tempo(samples, self.sample_rate_hz, speed / reached)

    def _run(self, text: str, speaker: int | None, rate: float) -> Samples:
        import torch

        device = self.model.device
        ids = torch.tensor([self.tokens.encode(text)], device=device)
        cards = [device] if device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=cards):
            torch.manual_seed(SEED)
            wave = self.model(ids, torch.ones_like(ids), speaker_id=speaker, speaking_rate=rate).waveform[0]
        samples = np.asarray(wave.float().cpu().numpy(), dtype=np.float32)
        if not len(samples) or not np.isfinite(samples).all():
            raise EngineError(f"{self.name} gave no audio for {text[:60]!r}", code="no_audio")
        return samples

    def _check_durations(self, module: Any, arguments: Any, log_durations: Any) -> None:
        """Called with the predicted log of each token's frames, (1, 1, tokens), before any audio is made."""
        frames = float((log_durations.float().exp() / float(self.model.config.speaking_rate)).ceil().sum())
        if not math.isfinite(frames) or frames > self._most_frames:
            raise EngineError(
                f"{self.name} predicted {frames:g} frames where at most {self._most_frames:.0f} make sense: "
                "its weights are damaged, or its training diverged",
                code="no_audio",
            )
        self._natural_frames = max(1.0, frames)

    def _check(self, text: str, language: str, speed: float) -> None:
        if language not in self.languages:
            raise Invalid(
                f"{self.name} does not speak {language!r}; it speaks {', '.join(self.languages)}",
                code="unknown_language",
            )
        low, high = SPEEDS
        if not low <= speed <= high:
            raise Invalid(f"the speed is {speed}; it must be {low} to {high}", code="bad_speed")
        if len(text) > MAX_CHARS:
            raise Invalid(f"a sentence of {len(text)} characters; {self.name} takes {MAX_CHARS}", code="text_too_long")

    def _speaker(self, voice: str | None) -> int | None:
        if voice is not None and voice not in self.voices:
            raise Invalid(f"{self.name} has no voice {voice!r}; it has {', '.join(self.voices)}", code="unknown_voice")
        return None if len(self.voices) == 1 else self.voices.index(voice or self.voices[0])

    def close(self) -> None:
        """Let go of the model. Nothing may be called afterwards."""
        import torch

        self._hook.remove()
        on_gpu = self.model.device.type == "cuda"
        self.model = None
        if on_gpu:
            torch.cuda.empty_cache()


def load(settings: Settings, resolved: ResolvedModel) -> VitsSynthesizer:
    """Load from safetensors. Raises `ModelUnavailable` for what is missing or can't be used, with the way out."""
    import torch

    config = read_json(resolved.path / "config.json")
    if config.get("model_type") != "vits":
        raise ModelUnavailable(f"{resolved.name} is a {config.get('model_type')} model; speech needs a VITS model")
    tokens, tokenizer_config, folder = read_tokens(settings, resolved)
    model = _read_model(resolved, config)
    highest = max(tokens.ids.values())
    if highest >= model.config.vocab_size:
        raise ModelUnavailable(
            f"{folder / 'vocab.json'} has a token {highest}, but the model knows {model.config.vocab_size}:"
            " they do not belong together"
        )
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise Invalid("MILO_DEVICE=cuda, but torch sees no CUDA device")
    if not cuda:
        torch.set_num_threads(cores(settings.cpu_threads))
    languages = (vits_language(resolved, tokenizer_config),)
    return VitsSynthesizer(resolved.label, model.to("cuda" if cuda else "cpu").eval(), tokens, languages)


def read_tokens(settings: Settings, resolved: ResolvedModel) -> tuple[Tokens, dict[str, Any], Path]:
    """A model's tokens, its tokenizer_config.json, and the folder in which both files are.

    Raises `ModelUnavailable` for what is missing, or asks for a program that Milo does not run.
    """
    folder = _tokenizer_folder(settings, resolved)
    tokenizer_config = read_json(folder / "tokenizer_config.json")
    _refuse_scripts(resolved.name, tokenizer_config)
    return Tokens(_read_vocabulary(folder), bool(tokenizer_config.get("add_blank", True))), tokenizer_config, folder


def _read_vocabulary(folder: Path) -> dict[str, int]:
    vocabulary = read_json(folder / "vocab.json")
    ids = {token: n for token, n in vocabulary.items() if isinstance(n, int) and n >= 0}
    if not any(len(token) == 1 and token.isalpha() for token in ids):
        raise ModelUnavailable(f"{folder / 'vocab.json'} has no letters: not the vocabulary of a VITS model")
    return ids


def _refuse_scripts(name: str, tokenizer_config: dict[str, Any]) -> None:
    if tokenizer_config.get("is_uroman"):
        raise ModelUnavailable(
            f"{name} reads only text that the program uroman put into Latin letters, which Milo does not run;"
            " choose a model with is_uroman=false"
        )
    if tokenizer_config.get("phonemize", True):
        raise ModelUnavailable(
            f"{name} reads phonemes of the package phonemizer, which Milo does not run; choose a model that reads"
            " letters (phonemize=false), such as the MMS-TTS models"
        )


def _tokenizer_folder(settings: Settings, resolved: ResolvedModel) -> Path:
    """Where vocab.json and tokenizer_config.json are: in the model's folder, its run's, or its base model's."""
    names = ("vocab.json", "tokenizer_config.json")
    folders = [resolved.path, *([resolved.path.parent] if resolved.kind == "folder" else [])]
    base = base_name(resolved)
    if base:
        try:
            folders.append(resolve(settings, base).path)
        except MiloError:
            pass
    for folder in folders:
        if all((folder / name).is_file() for name in names):
            return folder
    missing = next((name for name in names if not (resolved.path / name).is_file()), names[0])
    how = f" or `milo models pull {base}`" if base and "/" in base else ""
    raise ModelUnavailable(
        f"{missing} of {resolved.name} is missing: looked in {', '.join(map(str, folders))}."
        f" Copy it there from the model it was trained from{how}"
    )


def _read_model(resolved: ResolvedModel, config: dict[str, Any]) -> Any:
    import torch
    from transformers import VitsConfig, VitsModel

    try:
        with torch.device("meta"):
            model = VitsModel(VitsConfig.from_dict(config))
    except Exception as error:  # a strict dataclass, torch and math each have their own
        raise ModelUnavailable(f"config.json of {resolved.name} describes no VITS model: {error}") from error
    model.posterior_encoder = None
    for module in model.modules():
        if torch.nn.utils.parametrize.is_parametrized(module):
            torch.nn.utils.parametrize.remove_parametrizations(module, "weight")
    state = _read_weights(resolved)
    expected = model.state_dict()
    missing = sorted(set(expected) - set(state))
    if missing:
        raise ModelUnavailable(
            f"{resolved.name} lacks {len(missing)} of its {len(expected)} weights, such as {missing[0]}:"
            " the file is incomplete, or was written by another program"
        )
    wrong = [name for name in expected if expected[name].shape != state[name].shape]
    if wrong:
        raise ModelUnavailable(
            f"{wrong[0]} of {resolved.name} has the shape {tuple(state[wrong[0]].shape)}, and config.json says"
            f" {tuple(expected[wrong[0]].shape)}: they do not belong together"
        )
    model.load_state_dict({name: state[name] for name in expected}, assign=True)
    return model


def _read_weights(resolved: ResolvedModel) -> dict[str, Any]:
    """The float32 weights by the names of a model without weight norm."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    raw: dict[str, Any] = {}
    try:
        for path in weight_files(resolved.path):
            raw |= load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"the weights of {resolved.name} can't be read: {error}") from error
    raw = {name: value.float() for name, value in raw.items() if not name.startswith(_TRAINING_ONLY)}
    state = {}
    for name, value in raw.items():
        for scale, direction in ((".weight_g", ".weight_v"), (_PARAMETRIZED + "0", _PARAMETRIZED + "1")):
            other = name.removesuffix(scale) + direction
            if name.endswith(scale) and other in raw:
                state[name.removesuffix(scale) + ".weight"] = torch._weight_norm(raw[other], value, 0)
        state.setdefault(name, value)
    return state


_PARAMETRIZED = ".parametrizations.weight.original"
