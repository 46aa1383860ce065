"""A format is what a file holds, not what it is called: weights under wrong names get a sentence, and never a pickle's
way of being read."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from milo.errors import ModelUnavailable
from milo.models.files import check_folder, model_files, weight_files
from milo.models.formats import Format, format_of, format_of_bytes
from tests.support.ct2_factory import model_bin, whisper_variables, write_ct2


def _zip() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    return out.getvalue()


SAFE = save({"a": np.zeros(3, np.float32)})
CT2 = model_bin(whisper_variables())
GGML = struct.pack("<I", 0x67676D6C) + bytes(60)
FORMATS: list[tuple[bytes, Format]] = [
    (SAFE, "safetensors"),
    (b"GGUF" + bytes(60), "gguf"),
    (CT2, "ctranslate2"),
    (model_bin({}, spec="TransformerSpec"), "ctranslate2"),
    (GGML, "whisper.cpp"),
    (_zip(), "pickle"),
    *((pickle.dumps({"a": 1}, protocol), "pickle") for protocol in (2, 3, 4, 5)),
    (b"\x89HDF\r\n\x1a\n" + bytes(60), "hdf5"),
    (b"", ""),
    (b"\6", ""),
    (bytes(64), ""),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", ""),
    (CT2[:7], ""),
    (struct.pack("<IH", 6, 60_000) + b"WhisperSpec", ""),
]


@pytest.mark.parametrize(
    ("content", "expected"), FORMATS, ids=[f"{n}-{f or 'none'}" for n, (_, f) in enumerate(FORMATS)]
)
def test_the_first_bytes_tell_the_format(content: bytes, expected: Format, tmp_path: Path) -> None:
    assert format_of_bytes(content[:64]) == expected
    (tmp_path / "any-name").write_bytes(content)
    assert format_of(tmp_path / "any-name") == expected


def test_what_is_no_regular_file_has_no_format_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.bin")
    assert [format_of(tmp_path / name) for name in ("model.bin", "nothing", ".")] == ["", "", ""]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model.bin", _zip(), "never loads pickled weights"),
        ("model.bin", b"", "never loads pickled weights"),
        ("model.bin", GGML, "whisper.cpp .ggml., which Milo does not load"),
        ("ggml-base.bin", GGML, "ggml-base.bin is a model of whisper.cpp"),
        ("model.bin", SAFE, "name it model.safetensors"),
        ("pytorch_model.bin", CT2, "CTranslate2 model: name it model.bin"),
        ("model.safetensors", _zip(), "is no safetensors file: it is a pickle"),
        ("model.safetensors", b"GGUF" + bytes(60), "give it a name that ends in .gguf"),
        ("chat.gguf", GGML, "is no gguf file: it is a model of whisper.cpp"),
    ],
)
def test_a_file_under_a_wrong_name_is_told_for_what_it_is(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=sentence):
        check_folder(tmp_path)


def test_the_weights_of_a_folder_of_ctranslate2_are_its_model_bin(tmp_path: Path) -> None:
    folder = write_ct2(tmp_path / "base")
    check_folder(folder)
    assert weight_files(folder) == [folder / "model.bin"]
    assert folder / "model.bin" in model_files(folder)


def test_beside_weights_of_transformers_the_configuration_tells_whose_folder_it_is(tmp_path: Path) -> None:
    folder = write_ct2(tmp_path / "both")
    (folder / "model.safetensors").write_bytes(SAFE)
    assert weight_files(folder) == [folder / "model.bin"]
    (folder / "config.json").write_text('{"model_type": "whisper"}')
    assert weight_files(folder) == [folder / "model.safetensors"]
    (folder / "model.safetensors").unlink()
    assert weight_files(folder) == [folder / "model.bin"]
