"""The files of a VITS checkpoint: its alphabet and its weights.

The weights are read here and not by `from_pretrained`: weight norm, in any of the three layouts in which checkpoints
keep it, is folded into plain weights (faster, and a fine-tuned checkpoint that still has it loads too), and a weight
that is missing is an error, where `from_pretrained` would go on with random numbers. Token ids are made here as well,
as `VitsTokenizer` defines them: MMS vocabularies name a real letter as their padding (id 0), and a tokenizer that looks
for special tokens in the text would cut it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milo.errors import MiloError, ModelUnavailable
from milo.models.files import read_json, weight_files
from milo.models.registry import ResolvedModel, base_name, resolve
from milo.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import VitsModel

_TRAINING_ONLY = ("posterior_encoder.", "discriminator.", "mel_", "spec_")
_PARAMETRIZED = ".parametrizations.weight.original"


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
        return [0, *(i for token in ids for i in (token, 0))] if self.add_blank else ids


def read_tokens(settings: Settings, resolved: ResolvedModel) -> tuple[Tokens, str, Path]:
    """A model's tokens, the language its tokenizer_config.json names (or none), and the folder of both files.

    Raises `ModelUnavailable` for what is missing, or asks for a program that Milo does not run.
    """
    folder = _tokenizer_folder(settings, resolved)
    tokenizer_config = read_json(folder / "tokenizer_config.json")
    if tokenizer_config.get("is_uroman"):
        raise ModelUnavailable(
            f"{resolved.name} reads only text that the program uroman put into Latin letters, which Milo does not run;"
            " choose a model with is_uroman=false"
        )
    if tokenizer_config.get("phonemize", True):
        raise ModelUnavailable(
            f"{resolved.name} reads phonemes of the package phonemizer, which Milo does not run; choose a model that"
            " reads letters (phonemize=false), such as the MMS-TTS models"
        )
    tokens = Tokens(_read_vocabulary(folder), bool(tokenizer_config.get("add_blank", True)))
    return tokens, str(tokenizer_config.get("language") or ""), folder


def _read_vocabulary(folder: Path) -> dict[str, int]:
    vocabulary = read_json(folder / "vocab.json")
    ids = {token: n for token, n in vocabulary.items() if isinstance(n, int) and n >= 0}
    if not any(len(token) == 1 and token.isalpha() for token in ids):
        raise ModelUnavailable(f"{folder / 'vocab.json'} has no letters: not the vocabulary of a VITS model")
    return ids


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


def read_model(resolved: ResolvedModel, config: Mapping[str, object]) -> VitsModel:
    """The model with all its weights, weight norm folded in, on the CPU. Raises `ModelUnavailable`."""
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


def _read_weights(resolved: ResolvedModel) -> dict[str, Tensor]:
    """The float32 weights by the names of a model without weight norm."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    raw: dict[str, Tensor] = {}
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
