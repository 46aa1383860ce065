"""Writes `.env.example` from `milo/settings.py`: `python -m milo.cli.env_example > .env.example`. A test compares them.

Every line is commented out, so that a copy of the file changes nothing.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap

from pydantic import AliasChoices

from milo import settings
from milo.settings import Settings

HEAD = """# Milo's settings, with their defaults. Copy this file to .env and uncomment what you change.
# Sizes are bytes, times are seconds, lists are a,b,c. Made by `make example` from milo/settings.py.
"""


def render() -> str:
    """The whole file."""
    source = inspect.getsource(settings)
    body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Settings").body
    headings = {
        number: match[1]
        for number, line in enumerate(source.splitlines(), 1)
        if (match := re.fullmatch(r"    # --- (.*) ---", line))
    }
    blocks = [HEAD]
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        for number in [number for number in headings if number < node.lineno]:
            blocks.append(f"# --- {headings.pop(number)} ---\n")
        blocks.append(_entry(node.target.id, _docstring(following)))
    return "\n".join(blocks)


def _entry(name: str, text: str) -> str:
    field = Settings.model_fields[name]
    alias = field.validation_alias
    others = [str(choice) for choice in alias.choices[1:]] if isinstance(alias, AliasChoices) else []
    text = " ".join(text.replace("`", "").split())
    if others:
        text = f"{text} Also read from {', '.join(others)}.".strip()
    comment = "".join(f"# {line}\n" for line in textwrap.wrap(text, 110))
    return f"{comment}#MILO_{name.upper()}={_value(name)}\n"


def _value(name: str) -> str:
    if name == "home":
        return "~/.local/share/milo"
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    if default is None:
        return ""
    return ",".join(default) if isinstance(default, list) else str(default)


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


if __name__ == "__main__":
    sys.stdout.write(render())
