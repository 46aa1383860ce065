"""The process that renders a chat model's own template, which is a program of whoever made the model.

Started by `template.py`, under its limits. One JSON document a line on stdin (`template`, or what to render), one on
stdout. The environment is that of transformers and of llama-cpp-python: sandboxed Jinja, with the same extensions.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARS = 4 * 1024**2
"""The longest text that is handed back."""


class GenerationTags(Extension):
    """`{% generation %}` marks what a training learns; here it means nothing."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[Node]:
        parser.stream.skip(1)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTags, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    return environment.from_string(template)


def rendered(template: jinja2.Template, variables: dict[str, Any]) -> str:
    """The text. Raises `ValueError` as soon as it is longer than any prompt."""
    parts, size = [], 0
    for part in template.generate(**variables, raise_exception=_raise, strftime_now=datetime.now().strftime):
        size += len(part)
        if size > MAX_CHARS:
            raise ValueError(f"it writes more than {MAX_CHARS} characters")
        parts.append(part)
    return "".join(parts)


def _raise(message: str) -> None:
    raise ValueError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def main() -> None:
    """Answer until stdin ends."""
    template: jinja2.Template | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if template is None:
                template = compiled(request["template"])
                answer = {"text": ""}
            else:
                answer = {"text": rendered(template, request)}
        except MemoryError:
            raise
        except Exception as error:  # a template may raise anything
            answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
