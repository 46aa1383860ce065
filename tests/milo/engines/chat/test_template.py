"""A chat template is a program of whoever made the model: it renders apart, and ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from milo.engines.chat import template as module
from milo.engines.chat.prompt import CHATML
from milo.engines.chat.template import ChatTemplate, TemplateFailed
from milo.errors import ModelUnusable

HELLO = [{"role": "user", "content": "Salama!"}]


@pytest.fixture(scope="module")
def chatml() -> Iterator[ChatTemplate]:
    template = ChatTemplate(CHATML)
    yield template
    template.close()


def test_a_template_renders_as_stock_libraries_do(chatml: ChatTemplate) -> None:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    stock = Jinja2ChatFormatter(template=CHATML, bos_token="<s>", eos_token="</s>")
    assert chatml.render(messages=HELLO) == stock(messages=HELLO).prompt  # type: ignore[arg-type,list-item]


def test_its_own_objection_is_handed_on_and_it_goes_on_afterwards() -> None:
    template = ChatTemplate("{% if messages|length > 1 %}{{ raise_exception('only one!') }}{% endif %}{{ 1 }}\n")
    try:
        with pytest.raises(TemplateFailed, match="only one!"):
            template.render(messages=HELLO * 2)
        assert template.render(messages=HELLO) == "1"
    finally:
        template.close()


ENDLESS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
GROWING = ["{{ messages[0].content * 3000000000 }}", "{{ '%3000000000d' % 1 }}", "{{ 'x'|center(3000000000) }}"]
GROWING += ["{% for a in range(99999) %}{{ messages[0].content * 100 }}{% endfor %}"]


@pytest.mark.parametrize("text", [ENDLESS, *GROWING])
def test_a_template_that_loops_or_grows_is_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU_S", 0)
    monkeypatch.setattr(module, "RENDER_S", 5)
    template, started = ChatTemplate(text), time.monotonic()
    try:
        with pytest.raises((ModelUnusable, TemplateFailed)):
            template.render(messages=HELLO)
        assert time.monotonic() - started < 30
    finally:
        template.close()


def test_a_constant_that_grows_is_ended_when_the_template_is_read() -> None:
    template = None
    with pytest.raises((ModelUnusable, TemplateFailed)):
        template = ChatTemplate("{{ 'x' * 3000000000 }}")
        template.render(messages=HELLO)
    if template:
        template.close()


def test_a_broken_template_is_refused() -> None:
    with pytest.raises(ModelUnusable, match="can't be read"):
        ChatTemplate("{% if %}")


def test_the_sandbox_keeps_it_from_this_machine() -> None:
    template = ChatTemplate("{{ messages.__class__.__base__.__subclasses__() }}")
    with pytest.raises(TemplateFailed):
        template.render(messages=HELLO)
    template.close()
