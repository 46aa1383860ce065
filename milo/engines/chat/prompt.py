"""From a conversation to the tokens that a GGUF model reads: its own chat template, and what fits its context.

Takes the tokenizer as functions, so it knows nothing of llama.cpp beyond the template's Jinja environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from milo.engines.chat.template import ChatTemplate, TemplateFailed
from milo.errors import Invalid, ModelUnusable
from milo.protocols import Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
"""For a model that brings no template, as llama.cpp does."""
GAP = " […] "
"""Stands where a turn was cut."""
NO_TOOLS = {"functions": None, "function_call": None, "tools": None, "tool_choice": None}
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
        detokenize: Callable[[Sequence[int]], str],
    ) -> None:
        """`control`: the texts of the vocabulary's control tokens. Raises `ModelUnavailable` for a broken template."""
        self._template = ChatTemplate(template or CHATML)
        self._constants = {"bos_token": bos, "eos_token": eos, "add_generation_prompt": True, **NO_TOOLS}
        self._bos = bos
        texts = sorted({text for text in control if len(text) > 1}, key=len, reverse=True)
        self._control = re.compile("|".join(re.escape(text) for text in texts)) if texts else None
        self._tokenize = tokenize
        self._detokenize = detokenize

    def fit(self, messages: Sequence[Message], budget: int) -> list[int]:
        """At most `budget` tokens: the system prompt, and as many of the newest turns as fit.

        The oldest turns are left out; when the last one alone is too long, its middle is. Raises `Invalid` when there
        is no turn of a user, `ModelUnavailable` when the context is too small for the template itself.
        """
        system, turns = self._clean(messages, budget)
        turns = self._newest(system, turns, budget)
        tokens = self._render(system, turns)
        while len(tokens) > budget and len(turns) > 1:
            turns = _from_user(turns[1:])
            tokens = self._render(system, turns)
        for _ in range(4):  # cutting changes the borders of tokens, so it may take a second look
            over = len(tokens) - budget
            if over <= 0:
                return tokens
            if self._count(system) > budget // 2:
                system = self._cut(system, min(budget // 2, self._count(system) - over))
            else:
                turns = [Message("user", self._cut(turns[-1].content, self._count(turns[-1].content) - over))]
            tokens = self._render(system, turns)
        if len(tokens) > budget:
            raise ModelUnusable(
                f"a context of {budget} tokens has no room for a message: set MILO_CHAT_CONTEXT_TOKENS higher",
                code="context_too_small",
            )
        return tokens

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
        longest = (budget + 1) * LONGEST_TOKEN_CHARS
        if len(text) > longest:
            text = text[: longest // 2] + GAP + text[-longest // 2 :]
        text = text.encode("utf-8", "replace").decode().replace("\0", " ").strip()
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) if self._control else text

    def _newest(self, system: str, turns: list[Message], budget: int) -> list[Message]:
        left = budget - self._count(system) - TURN_TOKENS
        kept = 0
        for turn in reversed(turns):
            left -= self._count(turn.content) + TURN_TOKENS
            if left < 0 and kept:
                break
            kept += 1
        return _from_user(turns[-kept:])

    def _count(self, text: str) -> int:
        return len(self._plain(text)) if text else 0

    def _plain(self, text: str) -> list[int]:
        return self._tokenize(text, special=False, first=False)

    def _cut(self, text: str, keep: int) -> str:
        """About `keep` tokens of a text: how it begins and how it ends."""
        tokens = self._plain(text)
        half = max(0, keep - len(self._plain(GAP))) // 2
        if not half:
            return self._detokenize(tokens[: max(1, keep)])
        return self._detokenize(tokens[:half]) + GAP + self._detokenize(tokens[-half:])

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
