"""Which cross-attention heads of OpenAI's Whisper models follow the audio: for folders that do not tell.

The pairs are `_ALIGNMENT_HEADS` of https://github.com/openai/whisper/blob/main/whisper/__init__.py, unpacked. A model
is known by its sizes, which a fine-tuned one keeps; only large and large-v2 need the name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Heads = tuple[tuple[int, int], ...]
HEADS: Mapping[str, Heads] = {
    "tiny.en": ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    "tiny": ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    "base.en": ((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    "base": ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    "small.en": (
        (6, 6),
        (7, 0),
        (7, 3),
        (7, 8),
        (8, 2),
        (8, 5),
        (8, 7),
        (9, 0),
        (9, 4),
        (9, 8),
        (9, 10),
        (10, 0),
        (10, 1),
        (10, 2),
        (10, 3),
        (10, 6),
        (10, 11),
        (11, 2),
        (11, 4),
    ),
    "small": ((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5)),
    "medium.en": (
        (11, 4),
        (14, 1),
        (14, 12),
        (14, 14),
        (15, 4),
        (16, 0),
        (16, 4),
        (16, 9),
        (17, 12),
        (17, 14),
        (18, 7),
        (18, 10),
        (18, 15),
        (20, 0),
        (20, 3),
        (20, 9),
        (20, 14),
        (21, 12),
    ),
    "medium": ((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    "large-v1": ((9, 19), (11, 2), (11, 4), (11, 17), (22, 7), (22, 11), (22, 17), (23, 2), (23, 15)),
    "large-v2": (
        (10, 12),
        (13, 17),
        (16, 11),
        (16, 12),
        (16, 13),
        (17, 15),
        (17, 16),
        (18, 4),
        (18, 11),
        (18, 19),
        (19, 11),
        (21, 2),
        (21, 3),
        (22, 3),
        (22, 9),
        (22, 12),
        (23, 5),
        (23, 7),
        (23, 13),
        (25, 5),
        (26, 1),
        (26, 12),
        (27, 15),
    ),
    "large-v3": ((7, 0), (10, 17), (12, 18), (13, 12), (16, 1), (17, 14), (19, 11), (21, 4), (24, 1), (25, 6)),
    "large-v3-turbo": ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
}
_SIZES: Mapping[tuple[Any, int], str] = {(4, 6): "tiny", (6, 8): "base", (12, 12): "small", (24, 16): "medium"}
ENGLISH_VOCABULARY = 51_864
"""Tokens of the models that know English only; the others have one more, or two."""


def known_heads(config: Mapping[str, Any], name: str) -> Heads | None:
    """The heads of a Whisper with this configuration, if it has the sizes of one of OpenAI's."""
    layers, heads = config.get("decoder_layers"), config.get("decoder_attention_heads")
    if not isinstance(heads, int) or config.get("d_model") != 64 * heads:
        return None
    english = config.get("vocab_size") == ENGLISH_VOCABULARY
    if (layers, config.get("encoder_layers")) == (4, 32) and heads == 20 and config.get("num_mel_bins") == 128:
        return HEADS["large-v3-turbo"]
    if config.get("encoder_layers") != layers:
        return None  # distilled: none of its layers is one of these
    if (layers, heads) == (32, 20):
        if config.get("num_mel_bins") == 128:
            return HEADS["large-v3"]
        return HEADS["large-v1" if name.endswith(("whisper-large", "large-v1")) else "large-v2"]
    size = _SIZES.get((layers, heads))
    return HEADS[f"{size}.en" if english else size] if size else None


def usable_heads(named: object, config: Mapping[str, Any], name: str) -> list[tuple[int, int]]:
    """The (decoder layer, head) pairs to align words with: those named, if the model has them.

    A distilled model often comes with its teacher's list, whose layers it has not. Then, and where none is named: those
    of OpenAI's model of these sizes, else all of the last half of the layers, as transformers and CTranslate2 choose.
    """
    layers, heads = int(config["decoder_layers"]), int(config["decoder_attention_heads"])
    pairs = [_pair(one) for one in named] if isinstance(named, Sequence) and not isinstance(named, str) else []
    if pairs and all(pair is not None and 0 <= pair[0] < layers and 0 <= pair[1] < heads for pair in pairs):
        return [pair for pair in pairs if pair is not None]
    known = known_heads(config, name)
    return list(known) if known else [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def _pair(value: object) -> tuple[int, int] | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        return None
    layer, head = value
    return (layer, head) if isinstance(layer, int) and isinstance(head, int) else None
