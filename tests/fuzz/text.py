"""Text that claims to be base64, and what must be true of each."""

from __future__ import annotations

import base64
import random
import re

from api.http.bodies import decode_base64
from milo.errors import Invalid

PIECES = (
    "",
    "=",
    "==",
    "A",
    "AAAA",
    "data:audio/wav;base64,",
    "data:,",
    ",",
    " ",
    "\n",
    "\x00",
    "é",
    "-_",
    "+/",
    "%3D",
    "A" * 4096,
)


def check_base64(text: str) -> None:
    """Strict base64 gives its bytes, everything else `Invalid`."""
    try:
        found = b"".join(decode_base64(text))
    except Invalid:
        return
    plain = re.sub(r"\s+", "", text.split(",", 1)[1] if text.startswith("data:") else text)
    assert found == base64.b64decode(plain, validate=True)


def random_text(source: random.Random) -> str:
    """Pieces of base64 and of what is none."""
    whole = base64.b64encode(source.randbytes(source.randrange(40))).decode()
    return "".join(source.choice((*PIECES, whole)) for _ in range(source.randrange(6)))
