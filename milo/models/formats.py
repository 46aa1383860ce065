"""What a file of weights is, by its first bytes: names lie, and a pickle must not be opened to find out."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Literal

from milo.errors import NotFound, TooLarge
from milo.storage.opening import open_regular

Format = Literal["safetensors", "gguf", "ctranslate2", "whisper.cpp", "pickle", "hdf5", ""]
HEAD_BYTES = 64
"""So many bytes tell every format here."""
MAX_FILE_BYTES = 1024**4
MAX_HEADER_BYTES = 100 * 1024**2
"""Of safetensors, by its format (https://github.com/huggingface/safetensors#format)."""
WHAT: dict[Format, str] = {
    "safetensors": "a safetensors file: name it model.safetensors",
    "gguf": "a GGUF model: give it a name that ends in .gguf",
    "ctranslate2": "a CTranslate2 model: name it model.bin",
    "whisper.cpp": "a model of whisper.cpp (ggml), which Milo does not load: name the same model in safetensors or in"
    " CTranslate2's format, such as openai/whisper-base or Systran/faster-whisper-base",
    "pickle": "a pickle, and Milo never loads pickled weights: those can run any program. Write them again with"
    " save_pretrained(safe_serialization=True)",
    "hdf5": "a file of Keras (HDF5), which Milo does not load: write the weights again as safetensors",
    "": "of no format that Milo knows (safetensors, GGUF, CTranslate2)",
}
"""What is said of a file that is not what its place needs: `… is <this>`."""


def format_of(path: Path) -> Format:
    """The format of a file; empty for one that is none of these, is no regular file, or can't be read."""
    try:
        with open_regular(path, MAX_FILE_BYTES) as stream:
            return format_of_bytes(stream.read(HEAD_BYTES))
    except (OSError, NotFound, TooLarge):
        return ""


def format_of_bytes(head: bytes) -> Format:
    """The format of a file that begins with these bytes."""
    if head[:4] == b"GGUF":
        return "gguf"
    if head[:4] in (b"lmgg", b"ggml"):  # 0x67676d6c in either order of bytes
        return "whisper.cpp"
    if head[:4] == b"\x89HDF":
        return "hdf5"
    if head[:4] == b"PK\x03\x04" or re.match(rb"\x80[\x02-\x05][\x00-\xff]", head):  # torch.save, new and old
        return "pickle"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= MAX_HEADER_BYTES:
        return "safetensors"
    return "ctranslate2" if _is_ctranslate2(head) else ""


def _is_ctranslate2(head: bytes) -> bool:
    """The number of the format, then the length and the name of the model's kind: `WhisperSpec`."""
    if len(head) < 8:
        return False
    version, length = struct.unpack("<IH", head[:6])
    name = head[6 : 6 + length]
    return 2 <= version < 100 and 2 <= length <= HEAD_BYTES - 6 and re.fullmatch(rb"\w+\x00", name) is not None
