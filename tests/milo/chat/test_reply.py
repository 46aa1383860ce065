"""How a reply is made: who answers, who stands in, the two ways through. Real llama.cpp, a real server as Claude."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from milo.chat.message import guess_language
from milo.chat.reply import Mode, Reply, Source, converse
from milo.chat.sessions import Exchange
from milo.engines.chat import select
from milo.engines.chat.llama_cpp import LlamaCpp
from milo.errors import ContextExceeded, EngineError, Invalid, MiloError, ModelUnavailable, ModelUnusable
from milo.protocols import ChatEnd, ChatModel, Message
from milo.settings import Settings
from tests.support.claude_server import KEY, ClaudeServer, claude_server
from tests.support.gguf_factory import write_gguf

LOCAL_SAYS = "Manao ahoana 🎉."


class Scripted:
    """A chat model that says what it is told, and keeps what it was asked."""

    name = "scripted@1"

    def __init__(self, *pieces: str, error: Exception | None = None) -> None:
        self.pieces, self.error = pieces, error
        self.asked: list[list[Message]] = []
        self.open = 0

    def reply(self, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.7) -> Iterator[str]:
        self.asked.append(list(messages))
        self.open += 1
        try:
            yield from self.pieces
            if self.error:
                raise self.error
        finally:
            self.open -= 1


class Marking:
    """A translator whose every sentence shows where it went; `fr` to `mg` and back are each other's inverse."""

    name = "marking@1"
    languages: Sequence[str] = ("mg", "fr")

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], str, str]] = []

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        self.calls.append((list(texts), source, target))
        return [f"{target}({text})" for text in texts]


def chosen(**changes: Any) -> Settings:
    return Settings(_env_file=None, cpu_threads=1, **changes)


def of(model: ChatModel) -> Source:
    return lambda: nullcontext(model)


def said(message: str, models: dict[Mode, Source], **options: Any) -> Reply:
    reply = converse(message, models=models, settings=options.pop("settings", chosen()), **options)
    for _ in reply:
        pass
    return reply


def broken(error: Exception) -> Source:
    def load() -> AbstractContextManager[ChatModel]:
        raise error

    return load


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra `chat`)")
    script = (b"Manao ", b"ahoana ", b"\xf0\x9f", b"\x8e", b"\x89", b".")
    path = write_gguf(tmp_path_factory.mktemp("chat") / "local.gguf", script, context=2048)
    model = LlamaCpp(path, 2048, 0, 1, trusted=True)
    yield model
    model.close()


@pytest.fixture
def server() -> Iterator[ClaudeServer]:
    with claude_server() as running:
        yield running


def with_claude(server: ClaudeServer, **changes: Any) -> Settings:
    given = {"anthropic_api_key": KEY, "anthropic_base_url": server.url, "first_token_s": 20, "default_mode": "cloud"}
    return chosen(**{**given, **changes})


def both(settings: Settings, local: LlamaCpp) -> dict[Mode, Source]:
    claude = select.cloud(settings)
    return {"local": of(local), **({"cloud": of(claude)} if claude else {})}


# --- who answers ----------------------------------------------------------------------------------------------------


def test_local_answers_first_by_default(local: LlamaCpp, server: ClaudeServer) -> None:
    settings = with_claude(server, default_mode="local")
    reply = said("Salama!", both(settings, local), settings=settings)
    assert (reply.text, reply.mode, reply.model) == (LOCAL_SAYS, "local", "local")
    assert isinstance(reply.end, ChatEnd) and reply.end.finish == "stop"
    assert server.requests == []


def test_cloud_answers_first_when_the_settings_say_so(local: LlamaCpp, server: ClaudeServer) -> None:
    settings = with_claude(server)
    reply = said("Salama!", both(settings, local), settings=settings)
    assert (reply.text, reply.mode, reply.model) == ("Salama! Milo aho.", "cloud", "claude-haiku-5-5")


@pytest.mark.parametrize("trouble", ["overloaded", "wrong key", "refusal", "slow"])
def test_local_stands_in_for_a_cloud_in_trouble_and_the_user_sees_only_its_mode(
    local: LlamaCpp, server: ClaudeServer, trouble: str
) -> None:
    changes: dict[str, Any] = {}
    if trouble == "overloaded":
        server.answer = lambda handler: handler.refuse(529, "overloaded_error", "Overloaded")
    elif trouble == "wrong key":
        changes["anthropic_api_key"] = "sk-ant-api03-some-other-key-0123"
    elif trouble == "refusal":
        server.answer = lambda handler: (handler.begin(), handler.end("refusal"))[1]
    else:
        changes["first_token_s"] = 0.2
        server.answer = lambda handler: (handler.begin(), server.release.wait(30))[0]
    settings = with_claude(server, **changes)
    reply = said("Salama!", both(settings, local), settings=settings)
    assert (reply.text, reply.mode) == (LOCAL_SAYS, "local")


def test_a_placeholder_key_never_reaches_the_network(local: LlamaCpp, server: ClaudeServer) -> None:
    settings = with_claude(server, anthropic_api_key="sk-ant-xxxxx")
    assert said("Salama!", both(settings, local), settings=settings).mode == "local"
    assert server.requests == []


def test_the_cloud_stands_in_for_a_local_model_that_cannot_be_loaded(server: ClaudeServer) -> None:
    settings = with_claude(server, default_mode="local")
    claude = select.cloud(settings)
    assert claude is not None
    models: dict[Mode, Source] = {"local": broken(ModelUnavailable("no file")), "cloud": of(claude)}
    assert said("Salama!", models, settings=settings).mode == "cloud"


def test_an_unforeseen_error_falls_back_too() -> None:
    reply = said("Salama!", {"local": broken(ZeroDivisionError("oops")), "cloud": of(Scripted("Eny."))})
    assert (reply.mode, reply.text) == ("cloud", "Eny.")


@pytest.mark.parametrize("pieces", [(), ("", " \n")])
def test_an_empty_answer_is_an_answer(pieces: tuple[str, ...]) -> None:
    other = Scripted("Eny.")
    reply = said("Salama!", {"local": of(Scripted(*pieces)), "cloud": of(other)})
    assert (reply.mode, reply.model, reply.text) == ("local", "scripted@1", "")
    assert other.asked == []
    assert reply.exchange().reply == ""


def test_what_will_fail_again_is_not_retryable() -> None:
    missing, down = ModelUnusable("no file", code="no_model"), ModelUnavailable("away", code="cloud_down")
    with pytest.raises(ModelUnavailable) as caught:
        said("Salama!", {"local": broken(missing)})
    assert not caught.value.retryable
    with pytest.raises(ModelUnavailable) as caught:
        said("Salama!", {"local": broken(missing), "cloud": broken(missing)})
    assert not caught.value.retryable
    with pytest.raises(ModelUnavailable) as caught:
        said("Salama!", {"local": broken(missing), "cloud": broken(down)})
    assert caught.value.retryable
    again = MiloError.from_problem(missing.problem())
    assert (again.code, again.status, again.retryable) == ("no_model", 503, False)


def test_the_larger_model_answers_what_the_smaller_one_can_not_read(server: ClaudeServer, local: LlamaCpp) -> None:
    long = "x " * 3900
    settings = with_claude(server, default_mode="local")
    reply = said(long, both(settings, local), settings=settings)
    assert (reply.text, reply.mode) == ("Salama! Milo aho.", "cloud")
    with pytest.raises(ContextExceeded):
        said(long, {"local": of(local)})
    server.answer = lambda handler: handler.refuse(529, "overloaded_error", "Overloaded")
    with pytest.raises(ContextExceeded):
        said(long, both(settings, local), settings=settings)


def test_a_model_that_fails_in_the_middle_is_not_replaced() -> None:
    second = Scripted("Other.")
    reply = converse(
        "Salama!",
        settings=chosen(),
        models={"local": of(Scripted("Begun", error=EngineError("cut"))), "cloud": of(second)},
    )
    assert next(reply) == "Begun"
    with pytest.raises(EngineError, match="cut"):
        next(reply)
    assert second.asked == []


def test_the_second_model_is_not_even_loaded_when_the_first_one_answers() -> None:
    loads: list[str] = []

    def load() -> AbstractContextManager[ChatModel]:
        loads.append("cloud")
        return nullcontext(Scripted("no"))

    assert said("Salama!", {"local": of(Scripted("Eny.")), "cloud": load}).text == "Eny."
    assert loads == []


def test_no_model_at_all_is_unavailable_and_never_an_echo() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        converse("Salama!", settings=chosen(), models={})
    assert caught.value.status == 503
    failing: dict[Mode, Source] = {
        "local": broken(ModelUnavailable("no GGUF")),
        "cloud": broken(ModelUnavailable("no network", retry_after_s=7)),
    }
    with pytest.raises(ModelUnavailable, match="local: no GGUF; cloud: no network") as both_failed:
        said("Salama!", failing)
    assert both_failed.value.retry_after_s == 7


def test_closing_a_reply_stops_the_model() -> None:
    model = Scripted("one ", "two ", "three")
    reply = converse("Salama!", settings=chosen(), models={"local": of(model)})
    assert next(reply) == "one "
    assert model.open == 1
    reply.close()
    assert model.open == 0
    assert list(reply) == []


# --- the message ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", ["", "   ", "\n\t\r\n", "\u200b", "\u00a0\u2003", "\ufeff", "\0\x07", "\u202e \u2066"]
)
def test_b4_an_empty_message_is_refused_before_any_model_is_asked(message: str) -> None:
    model = Scripted("never")
    with pytest.raises(Invalid) as caught:
        converse(message, settings=chosen(), models={"local": of(model)})
    assert (caught.value.status, caught.value.code) == (422, "empty_message")
    assert model.asked == []


def test_a_message_over_the_limit_is_refused_with_the_limit() -> None:
    models: dict[Mode, Source] = {"local": of(Scripted("Eny."))}
    assert said("x" * 8000, models).text == "Eny."
    with pytest.raises(Invalid, match="8001 characters; at most 8000") as caught:
        converse("x" * 8001, settings=chosen(), models=models)
    assert caught.value.code == "text_too_long"


def test_control_characters_and_half_characters_do_not_reach_the_model() -> None:
    model = Scripted("Eny.")
    said("a\0b\x1b[31m\ud83d é🎉\n", {"local": of(model)})
    assert model.asked[0][-1].content == "ab[31m? é🎉"


def test_b1_the_model_sees_the_earlier_exchanges_in_order() -> None:
    model = Scripted("Rabe.")
    history = [Exchange(user="Rabe no anarako", reply="Salama Rabe!"), Exchange(user="Tsara", reply="Faly aho.")]
    said("Iza no anarako?", {"local": of(model)}, history=history)
    roles = [(message.role, message.content) for message in model.asked[0][1:]]
    assert roles == [
        ("user", "Rabe no anarako"),
        ("assistant", "Salama Rabe!"),
        ("user", "Tsara"),
        ("assistant", "Faly aho."),
        ("user", "Iza no anarako?"),
    ]


@pytest.mark.parametrize(
    "message, language",
    [
        ("Salama, iza ianao?", "Malagasy"),
        ("Bonjour, qui es-tu ?", "French"),
        ("Hello, who are you?", "English"),
        ("42", "Malagasy"),
    ],
)
def test_the_model_is_told_to_answer_in_the_users_language(message: str, language: str) -> None:
    model = Scripted("ok")
    said(message, {"local": of(model)})
    assert model.asked[0][0].role == "system"
    assert "Milo" in model.asked[0][0].content and language in model.asked[0][0].content


def test_a_language_that_is_named_is_not_guessed() -> None:
    reply = said("Hello, who are you?", {"local": of(Scripted("ok"))}, language="fr")
    assert reply.language == "fr"


def test_words_that_tell_nothing_leave_the_language_open() -> None:
    assert guess_language("OK 123 !!!") is None
    assert guess_language("") is None


# --- through French -------------------------------------------------------------------------------------------------


def test_through_french_the_model_hears_and_speaks_french_only() -> None:
    model, translator = Scripted("Je suis", " Milo. Et", " toi ?"), Marking()
    settings = chosen(chat_via="fr")
    reply = said("Salama! Iza ianao?", {"local": of(model)}, settings=settings, translator=translator)
    assert model.asked[0][-1].content == "fr(Salama!) fr(Iza ianao?)"
    assert "en français" in model.asked[0][0].content
    assert reply.text == "mg(Je suis Milo.) mg(Et toi ?)"
    assert (reply.language, reply.mode) == ("mg", "local")


def test_through_french_the_first_sentence_leaves_while_the_second_is_being_written() -> None:
    model = Scripted("Premier. ", "Deu", "xième.")
    reply = converse(
        "Salama!", settings=chosen(chat_via="fr"), models={"local": of(model)}, translator=Marking(), language="mg"
    )
    heard = ""
    while not heard:
        heard = next(reply)
    assert heard.strip() == "mg(Premier.)"
    assert model.open == 1, "the model had already finished"
    assert "".join(reply) == "mg(Deuxième.)"


def test_through_french_what_was_translated_once_is_not_translated_again() -> None:
    settings, translator = chosen(chat_via="fr"), Marking()
    first = said(
        "Salama!", {"local": of(Scripted("Bonjour."))}, settings=settings, translator=translator, language="mg"
    )
    exchange = first.exchange()
    assert (exchange.user, exchange.reply) == ("Salama!", "mg(Bonjour.)")
    assert (exchange.via, exchange.user_via, exchange.reply_via) == ("fr", "fr(Salama!)", "Bonjour.")
    model = Scripted("Bien.")
    translator.calls.clear()
    said("Ahoana?", {"local": of(model)}, settings=settings, translator=translator, language="mg", history=[exchange])
    assert [message.content for message in model.asked[0][1:]] == ["fr(Salama!)", "Bonjour.", "fr(Ahoana?)"]
    assert [texts for texts, source, _ in translator.calls if source == "mg"] == [["Ahoana?"]]


@pytest.mark.parametrize("language, translator", [("fr", Marking()), ("en", Marking()), ("mg", None)])
def test_through_french_is_direct_where_there_is_nothing_to_translate(
    language: str, translator: Marking | None
) -> None:
    model = Scripted("ok.")
    settings = chosen(chat_via="fr")
    reply = said("text", {"local": of(model)}, settings=settings, translator=translator, language=language)
    assert (model.asked[0][-1].content, reply.text, reply.exchange().via) == ("text", "ok.", None)


def test_a_sentence_without_an_end_is_translated_in_parts() -> None:
    translator = Marking()
    model = Scripted(*["mot "] * 400)
    said("Salama!", {"local": of(model)}, settings=chosen(chat_via="fr"), translator=translator, language="mg")
    spoken = [text for texts, source, _ in translator.calls if source == "fr" for text in texts]
    assert len(spoken) > 2
    assert " ".join(spoken).split() == ["mot"] * 400


def test_a_translator_that_fails_is_an_error_of_ours_and_stops_the_model() -> None:
    class Failing(Marking):
        def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
            if target == "mg":
                raise EngineError("no translation")
            return super().translate(texts, source, target)

    model = Scripted("Un. ", "Deux. ", "Trois.")
    reply = converse(
        "Salama!", settings=chosen(chat_via="fr"), models={"local": of(model)}, translator=Failing(), language="mg"
    )
    with pytest.raises(MiloError, match="no translation"):
        list(reply)
    assert model.open == 0


def test_settings_read_the_names_that_people_already_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "DEFAULT_MODE": "cloud",
        "ANTHROPIC_API_KEY": "sk-ant-xxxxx",
        "LOCAL_LLM_MODEL_PATH": str(tmp_path / "mistral.gguf"),
        "LOCAL_LLM_N_GPU_LAYERS": "20",
        "MILO_CHAT_VIA": "fr",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings(_env_file=None)
    assert (settings.default_mode, settings.n_gpu_layers, settings.chat_via) == ("cloud", 20, "fr")
    assert settings.chat_model.endswith("mistral.gguf")
    assert select.cloud(settings) is None
