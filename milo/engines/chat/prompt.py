"""From a conversation to the tokens that a GGUF model reads: its own chat template, and what fits its context.

Takes the tokenizer as functions, so it knows nothing of llama.cpp beyond the template's Jinja environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Protocol

from milo.engines.chat.template import ChatTemplate, TemplateFailed
from milo.errors import ContextExceeded, Invalid, MiloError, ModelUnusable
from milo.protocols import Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
"""For a model that brings no template, as llama.cpp does."""
NO_TOOLS = {"functions": None, "function_call": None, "tools": None, "tool_choice": None}
REFILL = 0.75
"""Share of the context that is filled again when a conversation has outgrown it."""
MOST_TRIED = 32
"""Beginnings of a conversation that are compared with what the model remembers: each is rendered for it."""
TURN_TOKENS = 8
"""About what a template puts around a turn; only an estimate that saves renderings."""
LONGEST_TOKEN_CHARS = 32
"""No text has fewer tokens than its length divided by this, whatever matters of it."""


class Tokenize(Protocol):
    def __call__(self, text: str, *, special: bool, first: bool) -> list[int]:
        """`special`: recognise control tokens in the text. `first`: put in front what the vocabulary says."""
        ...


class Prompts:
    """Renders conversations for one model."""

    def __init__(
        self,
        template: str | None,
        *,
        bos: str,
        eos: str,
        control: Iterable[str],
        tokenize: Tokenize,
    ) -> None:
        """`control`: the texts of the vocabulary's control tokens. Raises `ModelUnavailable` for a broken template."""
        self._template = ChatTemplate(template or CHATML)
        self._constants = {"bos_token": bos, "eos_token": eos, "add_generation_prompt": True, **NO_TOOLS}
        self._bos = bos
        texts = sorted({text for text in control if len(text) > 1}, key=len, reverse=True)
        self._control = re.compile("|".join(re.escape(text) for text in texts)) if texts else None
        self._tokenize = tokenize

    def fit(
        self, messages: Sequence[Message], budget: int, *, cached: Sequence[int] = (), whole: bool = False
    ) -> tuple[list[int], int]:
        """At most `budget` tokens, and how many of the oldest turns were left out because the rest did not fit.

        They are left out where the model has read on before (`cached`: the tokens that it remembers), else down to
        `REFILL` of the budget: the turns that follow then fit, too, behind the same beginning, and nothing is read
        twice. Raises `Invalid` when there is no turn of a user, `ContextExceeded` when the last turn and the system
        prompt do not fit, or (`whole`) not all; `ModelUnavailable` when the context has no room for the template.
        """
        system, turns = self._clean(messages, budget)
        sizes = [self._count(turn.content) + TURN_TOKENS for turn in turns]
        about = self._count(system) + sum(sizes)
        if about <= 2 * budget and len(tokens := self._render(system, turns)) <= budget:
            return tokens, 0
        last: tuple[list[int], int] | None = None
        tried = 0
        for start in range(1, len(turns)) if not whole else ():
            about -= sizes[start - 1]
            few = tried < MOST_TRIED or about <= REFILL * budget or start == len(turns) - 1
            if turns[start].role != "user" or about > 1.25 * budget or not few:
                continue
            tokens = self._render(system, turns[start:])
            if len(tokens) > budget:
                continue
            known = bool(cached) and _common(tokens, cached) >= _common(
                tokens, self._render(system, turns[start : start + 1])
            )
            if known or len(tokens) <= REFILL * budget:
                return tokens, start
            last, tried = (tokens, start), tried + 1
        if last is None:
            raise self._exceeded(self._count(system) + sum(sizes if whole else sizes[-1:]), budget)
        return last

    def _exceeded(self, count: int, budget: int) -> MiloError:
        if len(self._render("", [Message("user", "a")])) > budget:
            return ModelUnusable(
                f"a context of {budget} tokens has no room for a message: set MILO_CHAT_CONTEXT_TOKENS higher",
                code="context_too_small",
            )
        return ContextExceeded(
            f"the model reads at most {budget} tokens beside its answer; these messages have at least {count}. Shorten"
            " them, or have MILO_CHAT_CONTEXT_TOKENS set higher"
        )

    def close(self) -> None:
        """Let the template go."""
        self._template.close()

    def _clean(self, messages: Sequence[Message], budget: int) -> tuple[str, list[Message]]:
        """The system prompt, and turns that alternate from a user's to a user's: many templates insist on it."""
        system, turns = "", list[Message]()
        for message in messages:
            content = self._harmless(message.content, budget)
            if not content:
                continue
            if message.role not in ("system", "user", "assistant"):
                raise Invalid(f"a message's role is system, user or assistant, not {message.role!r}", code="bad_role")
            if message.role == "system":
                system = f"{system}\n\n{content}".strip()
            elif turns and turns[-1].role == message.role:
                turns[-1] = Message(message.role, f"{turns[-1].content}\n\n{content}")
            else:
                turns.append(Message(message.role, content))
        turns = _from_user(turns[:-1] if turns and turns[-1].role == "assistant" else turns)
        if not turns:
            raise Invalid("the conversation has no message of a user", code="empty_message")
        return system, turns

    def _harmless(self, text: str, budget: int) -> str:
        """The text, with whatever could end a turn or open a system prompt broken up: that is the template's to say."""
        text = text.strip()[: (budget + 1) * LONGEST_TOKEN_CHARS]  # as much as can't fit, if it is longer
        text = text.encode("utf-8", "replace").decode().replace("\0", " ").strip()
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) if self._control else text

    def _count(self, text: str) -> int:
        return len(self._tokenize(text, special=False, first=False)) if text else 0

    def _render(self, system: str, turns: Sequence[Message]) -> list[int]:
        prompt = self._format([Message("system", system), *turns] if system else turns)
        # a template that writes the first token itself would have it twice
        return self._tokenize(prompt, special=True, first=not (self._bos and prompt.startswith(self._bos)))

    def _format(self, messages: Sequence[Message]) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            # models that think aloud are asked not to: the reply is read out
            return self._template.render(**self._constants, messages=plain, enable_thinking=False)
        except TemplateFailed as error:
            if messages[0].role != "system":
                raise ModelUnusable(f"its chat template fails: {error}", code="bad_gguf") from None
        # the template knows no system role (Gemma, the first Mistral): its text goes before the first turn
        first = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
        return self._format([first, *messages[2:]])


def _from_user(turns: Sequence[Message]) -> list[Message]:
    """The turns from the first one of a user on."""
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), len(turns))
    return list(turns[first:])


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
