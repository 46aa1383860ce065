"""What the files of an NLLB (M2M100) checkpoint say: tokens, languages, limits. No weights, no torch, no transformers.

transformers 5.23 loses the language codes when it builds `NllbTokenizer` from `sentencepiece.bpe.model` alone, and
`AutoTokenizer` needs files that a fine-tuned folder may lack; here tokenizer.json is read as it is, or built from the
SentencePiece model in NLLB's own order: `<s> <pad> </s> <unk>`, the pieces, the language codes, `<mask>`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milo.engines.runtime.config import find_files, read_config
from milo.errors import Invalid, ModelUnavailable
from milo.models import registry
from milo.models.tokenizers import check_pieces, check_vocabulary, read_tokenizer_json
from milo.settings import Settings
from milo.translation.flores import ALL_CODES, find_language, known_languages

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_SOURCE_TOKENS = 256
"""Longest piece of text given to a model at once; NLLB was trained on sentences, and drops clauses of longer texts."""
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
TOKENIZER, PIECES = "tokenizer.json", "sentencepiece.bpe.model"


@dataclass(frozen=True)
class Checkpoint:
    """The numbers and tokens of one translation model."""

    resolved: registry.ResolvedModel
    info: registry.ModelInfo
    config: dict[str, Any]
    tokenizer: Tokenizer
    """Text only: it has no special tokens, so that a text that contains `</s>` or `fra_Latn` stays text."""
    token_of: dict[str, int]
    """Special tokens and language codes by name."""
    languages: dict[str, str]
    """ISO 639-1 code -> FLORES code; languages without a short code by their FLORES code."""
    vocabulary: tuple[str, ...]
    """Every token by id, as CTranslate2 knows it."""
    max_source_tokens: int
    max_positions: int
    """Tokens on either side, special ones included."""

    def language_of(self, name: str) -> str:
        """The FLORES code of a language; `Invalid` with the list when the model has none."""
        code = find_language(name, self.languages)
        if code is None:
            listed = ", ".join(sorted(self.languages, key=lambda code: (len(code), code)))
            raise Invalid(
                f"{self.resolved.name} does not know the language {name!r}; it knows {listed}", code="unknown_language"
            )
        return code

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def source(self, tokens: list[int], language: str) -> list[int]:
        """What the encoder reads: the language's token, the text, the end token."""
        return [self.token_of[language], *tokens, self.token_of["</s>"]]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids; special tokens and what lies beyond the vocabulary are left out."""
        special = set(self.token_of.values())
        kept = [token for token in tokens if token not in special and token < len(self.vocabulary)]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False)).strip()


def tokenizer_from_pieces(path: Path, codes: Sequence[str] = ALL_CODES) -> dict[str, Any]:
    """The tokenizer.json of a SentencePiece BPE model, as a dictionary, with NLLB's ids for `codes` and `<mask>`."""
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    check_pieces(path)
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        proto.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's own, by version
        raise ModelUnavailable(f"{path} is no SentencePiece model: {error}") from None
    pieces = [piece.piece for piece in proto.pieces[3:]]
    check_vocabulary(path, pieces)
    vocab = {token: index for index, token in enumerate([*SPECIAL, *pieces])}
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=_merges(vocab), unk_token="<unk>", fuse_unk=True))
    steps: list[Any] = [normalizers.Replace(Regex(" {2,}"), " ")]
    if charsmap := proto.normalizer_spec.precompiled_charsmap:
        steps.insert(0, normalizers.Precompiled(charsmap))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (*SPECIAL, *codes)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    return dict(json.loads(tokenizer.to_str()))


def _merges(vocab: dict[str, int]) -> list[tuple[str, str]]:
    """BPE merges in the order SentencePiece would make them: by the rank of the piece they give."""
    merges = [
        (rank, len(piece[:cut]), piece[:cut], piece[cut:])
        for piece, rank in vocab.items()
        if rank >= len(SPECIAL)
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    return [(left, right) for _, _, left, right in sorted(merges)]


def _tokenizer_json(settings: Settings, resolved: registry.ResolvedModel) -> tuple[dict[str, Any], Path]:
    (path,) = find_files(settings, resolved, [TOKENIZER], [PIECES])
    return tokenizer_from_pieces(path) if path.name == PIECES else read_tokenizer_json(path), path


def load_checkpoint(settings: Settings, resolved: registry.ResolvedModel) -> Checkpoint:
    """Read a checkpoint's small files. Raises `ModelUnavailable` with the file that is missing or wrong."""
    from tokenizers import Tokenizer

    config = read_config(resolved, "m2m_100", "translation needs NLLB's kind, m2m_100")
    document, path = _tokenizer_json(settings, resolved)
    added = {str(token["content"]): int(token["id"]) for token in document.get("added_tokens") or []}
    vocab = document.get("model", {}).get("vocab")
    if not isinstance(vocab, dict) or any(token not in {**vocab, **added} for token in SPECIAL):
        raise ModelUnavailable(f"{path} is no NLLB tokenizer: it has no {' '.join(SPECIAL)}")
    codes = [code for code in ALL_CODES if code in added or code in vocab]
    if not codes:
        raise ModelUnavailable(f"{path} has no language codes such as plt_Latn: this is not an NLLB tokenizer")
    try:
        tokenizer = Tokenizer.from_str(json.dumps({**document, "added_tokens": [], "post_processor": None}))
    except Exception as error:  # tokenizers raises a bare Exception
        raise ModelUnavailable(f"{path} is no tokenizer: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    everything = {**vocab, **added}
    positions = int(config.get("max_position_embeddings", 1024))
    return Checkpoint(
        resolved=resolved,
        info=registry.describe(resolved, settings),
        config=config,
        tokenizer=tokenizer,
        token_of={token: everything[token] for token in (*SPECIAL, "<mask>", *codes) if token in everything},
        languages=known_languages(codes),
        vocabulary=_vocabulary(everything, int(config["vocab_size"]), path),
        max_source_tokens=_max_source_tokens(config.get("milo"), positions),
        max_positions=positions,
    )


def _vocabulary(tokens: dict[str, int], size: int, path: Path) -> tuple[str, ...]:
    if max(tokens.values()) >= size:
        raise ModelUnavailable(f"{path} has {max(tokens.values()) + 1} tokens and the model only {size}")
    names = [f"madeupword{index}" for index in range(size)]
    for token, index in tokens.items():
        names[index] = token
    return tuple(names)


def _max_source_tokens(own: object, positions: int) -> int:
    """`milo.max_source_tokens` of config.json where a model was trained on shorter texts."""
    limit = own.get("max_source_tokens", MAX_SOURCE_TOKENS) if isinstance(own, dict) else MAX_SOURCE_TOKENS
    return max(8, min(int(limit), MAX_SOURCE_TOKENS, positions - 2))
