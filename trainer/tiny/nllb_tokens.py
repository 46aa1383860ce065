"""The tokenizer of `milo-tiny-nllb`: a small SentencePiece BPE of the phrasebook, in the files of an NllbTokenizer."""

from __future__ import annotations

import io
import itertools
import json
import string
from collections.abc import Mapping
from pathlib import Path

from milo.engines.nllb.checkpoint import tokenizer_from_pieces
from trainer.corpus import phrasebook_pairs

CODES = {"en": "eng_Latn", "fr": "fra_Latn", "mg": "plt_Latn"}
LANGUAGE = "plt_Latn"
"""Of the text, when nothing else is said."""
PIECES = 1500
REQUIRED = string.ascii_letters + string.digits + "àâäçèéêëîïñôöùûüÿœæÀÂÄÇÈÉÊËÎÏÑÔÖÙÛÜŸŒÆ'’.,;:!?-()\"«»%€$/+=&@#*_…–—"

SPECIAL = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
CONFIG = {"tokenizer_class": "NllbTokenizer", "src_lang": LANGUAGE, "tgt_lang": "fra_Latn", "model_max_length": 256}


def write_tokenizer(seed: int, folder: Path) -> None:
    """A SentencePiece BPE model of the phrasebook, and the files in which NllbTokenizer keeps it."""
    import sentencepiece

    lines = []
    for pair in itertools.islice(phrasebook_pairs.pairs(seed), 6000):
        lines += [*pair.texts.values(), pair.spoken]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        required_chars=REQUIRED,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    codes = sorted(CODES.values())
    document = tokenizer_from_pieces(folder / "sentencepiece.bpe.model", codes)
    ids = {token["content"]: token["id"] for token in document["added_tokens"]}
    document["post_processor"] = _template(ids)
    write_json(folder / "tokenizer.json", document, indent=None)
    write_json(folder / "special_tokens_map.json", {**SPECIAL, "additional_special_tokens": codes})
    config = {**SPECIAL, **CONFIG, "extra_special_tokens": codes}
    write_json(folder / "tokenizer_config.json", config)


def _template(ids: Mapping[str, int]) -> dict[str, object]:
    """tokenizers' post-processor: the language's token, the text, the end."""
    language, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in (LANGUAGE, "</s>"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [language, first, end],
        "pair": [language, first, second, end],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("</s>", LANGUAGE)},
    }


def write_json(path: Path, document: Mapping[str, object], indent: int | None = 2) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")
