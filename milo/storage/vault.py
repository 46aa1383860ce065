"""Secrets that have to be read again, sealed where others may look: in the rows of the ledger, and in its backups.

A key of the home (or MILO_LEDGER_KEY) makes, for each label once, a stream of HMAC-SHA512 that covers the text, and an
HMAC-SHA256 over both that shows a change. A label seals one text and no second one: ids of keys are never used again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from milo.errors import Unavailable
from milo.settings import Settings
from milo.storage.secrets import kept

KEY = "ledger_key"
"""Name of the file of the key."""
MARK = "v1:"
LONGEST = 64
"""Bytes of a text: what one HMAC-SHA512 covers."""
_TAG = 12


def seal(settings: Settings, label: str, text: str) -> str:
    """The text, readable only with the key of this home, under this label."""
    content = text.encode()
    assert len(content) <= LONGEST, "only short secrets are sealed"
    key = _key(settings)
    covered = _covered(key, label, content)
    return MARK + base64.b64encode(covered + _tag(key, label, covered)).decode()


def unseal(settings: Settings, label: str, sealed: str) -> str:
    """What was sealed; a text that never was is returned as it is. Raises `Unavailable` without the right key."""
    if not sealed.startswith(MARK):
        return sealed
    key, content = _key(settings), base64.b64decode(sealed[len(MARK) :])
    covered, tag = content[:-_TAG], content[-_TAG:]
    if not hmac.compare_digest(_tag(key, label, covered), tag):
        raise Unavailable(
            "a secret in the ledger was sealed with another key: set MILO_LEDGER_KEY to what is in secrets/ledger_key "
            "of the home that sealed it",
            code="sealed_elsewhere",
        )
    return _covered(key, label, covered).decode()


def _key(settings: Settings) -> bytes:
    return (settings.ledger_key or kept(settings, KEY, lambda: secrets.token_hex(32))).encode()


def _covered(key: bytes, label: str, content: bytes) -> bytes:
    stream = hmac.new(key, f"milo vault stream:{label}".encode(), hashlib.sha512).digest()
    return bytes(one ^ other for one, other in zip(content, stream, strict=False))


def _tag(key: bytes, label: str, covered: bytes) -> bytes:
    return hmac.new(key, f"milo vault tag:{label}:".encode() + covered, hashlib.sha256).digest()[:_TAG]
