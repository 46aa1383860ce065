"""A VITS model of MMS-TTS's architecture, tiny and untrained, on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LETTERS = "k'abdefghijlmnoprstvyz- ô"
"""As MMS vocabularies do, a real letter has the id 0."""


def write_vits(
    folder: Path,
    *,
    seed: int = 0,
    speakers: int = 1,
    bins: int = 33,
    tokenizer: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Save model and tokenizer files in `folder`; about 1 MB, 16 kHz. `bins`: 513, as MMS has, for one to be trained.

    config: further fields of `VitsConfig`.
    """
    import torch
    from transformers import VitsConfig, VitsModel

    described = VitsConfig(
        vocab_size=len(LETTERS) + 1,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=bins,
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        upsample_initial_channel=16,
        upsample_rates=[8, 8, 2, 2],
        upsample_kernel_sizes=[16, 16, 4, 4],
        duration_predictor_filter_channels=16,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=2,
        depth_separable_num_layers=2,
        sampling_rate=16_000,
        **config,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VitsModel(described)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "decoder" in name or "project" in name:
                    parameter.add_(0.05 * torch.randn_like(parameter))
            # two or three frames for a token, as a trained model gives
            if described.use_stochastic_duration_prediction:
                model.duration_predictor.flows[0].log_scale.fill_(1.5)
                model.duration_predictor.flows[0].translate.fill_(-1.4)
    model.save_pretrained(folder)
    vocabulary = {letter: n for n, letter in enumerate(LETTERS)} | {"<unk>": len(LETTERS)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    options = {
        "add_blank": True,
        "is_uroman": False,
        "language": "mlg",
        "normalize": True,
        "pad_token": LETTERS[0],
        "phonemize": False,
        "tokenizer_class": "VitsTokenizer",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(options | (tokenizer or {})), encoding="utf-8")
    return folder
