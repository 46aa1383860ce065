"""Secrets out of what leaves the house: known values, and what looks like a key."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from milo.settings import Settings
from milo.storage.secrets import known_operator_key

GONE = "[redacted]"
SHORTEST = 6
"""Known secrets shorter than this are common words: removing them would garble the text."""
_NAMES = re.compile(r"(^|[_-])(token|secret|password|passwd|authorization|cookie)$|api[_-]?key", re.IGNORECASE)
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {GONE}"),
    (re.compile(r"\bmilo_[A-Za-z0-9_-]{40,}"), GONE),
    (re.compile(r"\b(sk-|hf_|whsec_|ghp_|github_pat_|xox[abp]-|AKIA)[A-Za-z0-9_+/=-]{12,}"), GONE),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@"), rf"\1{GONE}@"),
    (
        re.compile(r"(?i)\b((?:[a-z0-9_-]*(?:api[_-]?key|token|secret|password))\s*[=:]\s*)['\"]?[^\s'\",}]{4,}"),
        rf"\1{GONE}",
    ),
)


def secrets_of(settings: Settings) -> list[str]:
    """Every secret of this installation that the settings know, the longest first."""
    secrets = [known_operator_key(settings), settings.hf_token, settings.anthropic_api_key, settings.webhook_secret]
    for url in (settings.redis_url, settings.database_url, settings.files_url):
        password = urlsplit(url).password if url else None
        secrets += [password, unquote(password)] if password else []
    return sorted({one for one in secrets if one and len(one) >= SHORTEST}, key=len, reverse=True)


def redact(value: Any, secrets: list[str]) -> Any:
    """The same JSON without secrets: known ones, those under telling names, and what looks like one."""
    if isinstance(value, dict):
        return {
            str(name): GONE if isinstance(item, str) and _NAMES.search(str(name)) else redact(item, secrets)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, GONE)
    for pattern, instead in _PATTERNS:
        value = pattern.sub(instead, value)
    return value
