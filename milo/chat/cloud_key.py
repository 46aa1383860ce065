"""Is the key for Claude a real one, or what people leave in `.env`?"""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    r"x{4}|\*{3}|\.{3}|…|[<>{}]|change[-_ ]?me|replace[-_ ]?me|placeholder|(your|my)[-_ ]|^(insert|paste|put)[-_ ]",
    re.IGNORECASE,
)


def usable_key(key: str | None) -> bool:
    """Whether this may be a real key. What people leave in `.env` (`sk-ant-xxxxx`, `change-me`, blanks) is not."""
    key = (key or "").strip()
    return len(key) >= 8 and key.isascii() and key.isprintable() and " " not in key and not _PLACEHOLDER.search(key)
