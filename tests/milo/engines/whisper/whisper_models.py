"""Random Whisper checkpoints for tests: the file layout and special tokens of the real thing, tiny and untrained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = """Manao ahoana tompoko, roa amby folo sy telonjato no vidiny. Misaotra betsaka, veloma.
Mandeha any an-tsena aho rahampitso maraina amin'ny sivy ora. Ohatrinona ny vary iray kilao?
Bonjour, il est dix heures. Good morning, it is ten o'clock. Tsara ny andro androany; salama daholo ny ankizy."""


def make_tokenizer(languages: tuple[str, ...], vocab_size: int = 400) -> Any:
    """A byte-level BPE tokenizer with Whisper's special tokens, ids in Whisper's order (timestamps last)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in languages)]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    names += ["<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return tokenizer


def make_checkpoint(
    folder: Path,
    *,
    languages: tuple[str, ...] = ("mg", "fr", "en"),
    d_model: int = 64,
    encoder_layers: int = 2,
    decoder_layers: int = 2,
    heads: int = 4,
    vocab_size: int | None = None,
    n_mels: int = 80,
    milo: dict[str, float] | None = None,
    dtype: str = "float32",
    seed: int = 0,
    scale: float = 1.0,
    lively: bool = False,
    alignment_heads: list[list[int]] | None = None,
) -> Path:
    """Write a random checkpoint as `save_pretrained` would. `vocab_size` pads the embedding past the tokenizer.

    `scale` multiplies the embeddings of text tokens, so that the untrained model writes words. A `lively` one writes
    different words at each position, and for each sound.
    """
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    tokenizer = make_tokenizer(languages)
    ids = {name: tokenizer.token_to_id(name) for name in tokenizer.get_vocab() if name.startswith("<|")}
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=vocab_size or tokenizer.get_vocab_size(),
        d_model=d_model,
        num_mel_bins=n_mels,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * d_model,
        decoder_ffn_dim=4 * d_model,
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
    )
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight[: ids["<|endoftext|>"] + 1].mul_(scale)
        for name, weight in model.named_parameters() if lively else ():
            if name.endswith(("proj.weight", "fc1.weight", "fc2.weight")):
                weight.mul_(12 if "encoder_attn" in name else 3)
            elif name == "model.decoder.embed_positions.weight":
                weight.mul_(30)
    model.generation_config = GenerationConfig(
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        is_multilingual=len(languages) > 1,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in languages},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        suppress_tokens=[ids["<|startoflm|>"], ids["<|startofprev|>"], ids["<|nospeech|>"], ids["<|translate|>"]],
        begin_suppress_tokens=[tokenizer.token_to_id("Ġ"), ids["<|endoftext|>"]],
        max_length=448,
        **({} if alignment_heads is None else {"alignment_heads": alignment_heads}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": n_mels})
    )
    if milo is not None:
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**raw, "milo": milo}))
    return folder


def make_ct2(checkpoint: Path, folder: Path, quantization: str | None = None) -> Path:
    """The checkpoint as CTranslate2's own converter writes it, beside its tokenizer: a folder as Systran publishes."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(checkpoint), copy_files=["tokenizer.json"]).convert(
        str(folder), quantization=quantization
    )
    return folder
