"""Spoiled tables, recipes and configurations: each is read, or refused by one of Milo's errors, and soon."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from milo import recipes
from milo.errors import MiloError
from milo.models.registry import embedded_path
from milo.models.shapes import check_config
from milo.storage.opening import ONLY_THE_SET
from milo.training.data.pairs import read_pairs
from milo.training.data.tables import rows_of
from milo.translation.glossary import read_glossary
from tests.fuzz.mutate import Edit, random_edits, spoil

_RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "translate-mg-fr.yaml"
_MODEL = embedded_path("milo-tiny-mg")
_TABLE = 'audio,text,split\na.wav,"Manao ahoana, tompoko",train\nb.wav,"iray\nroa",test\n'
_PAIRS = "mg\tfr\nManao ahoana\tBonjour\nVeloma\tAu revoir\n"


def _config(path: Path) -> None:
    """As a model's folder is looked at before anything is built; what is no JSON object does not get so far."""
    if _MODEL is None:
        return
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return
    if isinstance(config, dict):
        check_config(_MODEL, config)


def _table(path: Path) -> None:
    for _ in rows_of(path, ONLY_THE_SET.own(path.parent)):
        pass


DOCUMENTS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "recipe.yaml": (_RECIPE.read_bytes(), recipes.read),
    "recipe.json": (json.dumps(recipes.from_yaml(_RECIPE.read_bytes())).encode(), recipes.read),
    "config.json": ((_MODEL / "config.json").read_bytes() if _MODEL else b"{}", _config),
    "table.csv": (_TABLE.encode(), _table),
    "table.tsv": (b'audio\ttext\na.wav\tManao "ahoana"\nb.wav\tiray, roa\n', _table),
    "table.jsonl": (
        b'{"audio": "a.wav", "text": "Salama"}\n{"audio": "b.wav", "text": "iray", "offset": 1.5}\n',
        _table,
    ),
    "array.json": (b'[{"audio": "a.wav", "text": "Salama"}, {"audio": "b.wav", "text": "iray"}]', _table),
    "pairs.tsv": (_PAIRS.encode(), read_pairs),
    "glossary.tsv": (_PAIRS.replace("Veloma", "Veloma | Veloma e").encode(), read_glossary),
    "glossary.yaml": (b"- {mg: Manao ahoana, fr: [Bonjour, Salut]}\n", read_glossary),
}
"""Name of the file (its suffix says how it is read) -> content, and what reads it."""


def try_document(name: str, edits: list[Edit]) -> str:
    """`read`, or the code of the error. Anything else that a reader raises is a defect, and goes on."""
    content, read = DOCUMENTS[name]
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(spoil(content, edits))
        try:
            read(path)
        except MiloError as error:
            assert 400 <= error.status < 500 or error.code == "model_unusable", error.code
            return error.code
    return "read"


def random_document(source: random.Random) -> tuple[str, list[Edit]]:
    """A document, and how it is spoiled."""
    name = source.choice(sorted(DOCUMENTS))
    return name, random_edits(source, len(DOCUMENTS[name][0]))
