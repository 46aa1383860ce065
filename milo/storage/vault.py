"""Secrets that have to be read again, sealed where others may look: in the rows of the ledger, and in its backups.

AES-256-GCM with a key of the home (or MILO_LEDGER_KEY); the label, the id of the row, is authenticated with the text.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from milo.errors import Unavailable
from milo.settings import Settings
from milo.storage.secrets import kept

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY = "ledger_key"
"""Name of the file of the key."""
MARK = "v1:"
_NONCE_BYTES = 12


def seal(settings: Settings, label: str, text: str) -> str:
    """The text, readable only with the key of this home, under this label."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return MARK + base64.b64encode(nonce + _cipher(settings).encrypt(nonce, text.encode(), label.encode())).decode()


def unseal(settings: Settings, label: str, sealed: str) -> str:
    """What was sealed; a text that never was is returned as it is. Raises `Unavailable` without the right key."""
    if not sealed.startswith(MARK):
        return sealed
    from cryptography.exceptions import InvalidTag

    content = base64.b64decode(sealed[len(MARK) :])
    try:
        return _cipher(settings).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], label.encode()).decode()
    except InvalidTag:
        raise Unavailable(
            "a secret in the ledger was sealed with another key: set MILO_LEDGER_KEY to what is in secrets/ledger_key "
            "of the home that sealed it",
            code="sealed_elsewhere",
        ) from None


def signing_key(settings: Settings, use: str) -> bytes:
    """A key for signatures of that use, made of the key of the home: the same on every machine that shares it."""
    return hmac.new(_key(settings).encode(), f"milo {use}".encode(), hashlib.sha256).digest()


def _key(settings: Settings) -> str:
    return settings.ledger_key or kept(settings, KEY, lambda: secrets.token_hex(32))


def _cipher(settings: Settings) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # not in processes that seal nothing

    return AESGCM(hashlib.sha256(_key(settings).encode()).digest())
