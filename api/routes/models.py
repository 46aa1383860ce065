"""Models: what is on this machine and what each can do; deploy and roll back."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.answers.accepted import accept
from api.answers.documents import JobDocument
from api.http.deps import Admin, Context, Ctx, Reader, in_thread
from api.http.problems import documented, json_response
from api.requests.chat import chat_model_name, check_chat_model
from api.requests.deploy import DeployRequest, payload_of, roll_back
from api.requests.incoming import AdminSubmission
from api.requests.schemas import body_of
from milo.configured import configured
from milo.errors import MiloError
from milo.kinds import model_uses
from milo.models import registry
from milo.settings import Settings
from milo.synthesis.voices import EMBEDDED, describe_speech
from milo.training import guard
from milo.translation import translate

router = APIRouter(tags=["models"])


@router.get("/models", summary="Models on this machine", responses={**documented()})
async def list_(context: Ctx, key: Reader) -> Response:
    """`use` is what a model is for, `default` marks the one that a request without `model` gets. Not there yet:
    `available` is false and `problem` says why. Speech models tell their `voices`."""
    models = await in_thread(_models, context)
    return json_response({"items": [one.model_dump(exclude_unset=True) for one in models]})


@router.post(
    "/models/{name:path}/deploy",
    summary="Deploy a checkpoint",
    status_code=202,
    responses={202: {"model": JobDocument}, **documented(400, 404, 408, 409, 413, 415, 422)},
    openapi_extra=body_of(DeployRequest),
)
async def deploy(name: str, incoming: AdminSubmission) -> Response:
    """A job: the checkpoint is compared with what serves under this name, tried out, copied, pointed at and asked.
    Gates that are closed fail it with the code `deploy_refused`. The next job of the queue uses what was deployed."""
    asked = await incoming.read_json(DeployRequest)
    return await accept(incoming, "deploy", asked, partial(payload_of, incoming.context, incoming.key, name, asked))


@router.post("/models/{name:path}/rollback", summary="Roll back", responses={**documented(404, 409, 422)})
async def rollback(name: str, context: Ctx, key: Admin) -> Response:
    """Serve the version before the current one again, from the next job on: `{name, version, before}`."""
    return json_response((await in_thread(roll_back, context, name)).model_dump())


class GuardDocument(BaseModel):
    """A guard set of a model, and what its last deploy found on it."""

    name: str
    last: guard.Judged | None = None


class ModelDocument(BaseModel):
    """One model. What is not known of it is left out."""

    name: str
    current: str | None
    versions: list[str]
    default: bool
    use: str | None = None
    available: bool = False
    problem: str | None = None
    label: str | None = None
    type: str | None = None
    languages: list[str] = []
    voices: list[str] = []
    tasks: list[str] = []
    parameters: int = 0
    dtype: str | None = None
    weights_bytes: int = 0
    guard: list[GuardDocument] = []
    """Data that no later version may be worse on (`milo models guard`)."""


def _models(context: Context) -> list[ModelDocument]:
    settings = context.settings
    entries = {entry.name: entry for entry in registry.list_models(settings)}
    uses = model_uses().values()
    defaults = {str(getattr(settings, use.setting)): use.name for use in uses if not use.configured_only}
    if settings.chat_model in entries:
        defaults[settings.chat_model] = "chat"
    models = []
    for name in sorted({*entries, *defaults, EMBEDDED}):
        entry = entries.get(name)
        one = ModelDocument(
            name=name,
            current=entry.current if entry else None,
            versions=list(entry.versions) if entry else [],
            default=name in defaults,
            use=defaults.get(name),
        )
        models.append(_with_abilities(settings, one))
    return models if settings.chat_model in entries else [*models, _chat(settings)]


def _with_abilities(settings: Settings, one: ModelDocument) -> ModelDocument:
    try:
        if one.name == EMBEDDED:
            one.available, one.label, one.use, one.type = True, one.name, "tts", "espeak-ng"
            return _with_voices(settings, one)
        if sets := guard.read(settings, one.name).sets:
            one.guard = [_guard(each) for each in sets]
        resolved = registry.resolve(settings, one.name)
        info = registry.describe(resolved, settings)
        described = one.model_copy(
            update={
                "available": True,
                "label": resolved.label,
                "use": info.use,
                "type": info.model_type,
                "languages": list(info.languages),
                "tasks": list(info.tasks),
                "parameters": info.parameters,
                "dtype": info.dtype,
                "weights_bytes": info.weights_bytes,
            }
        )
        if bad := next((one for one in configured(settings) if one.name == described.name and not one.usable), None):
            described.available, described.problem = False, bad.public
            return described
        if described.use == "tts":
            return _with_voices(settings, described)
        if described.use == "translate":
            described.languages = sorted(translate.languages_of(resolved))
        return described
    except MiloError as error:
        one.available, one.problem = False, error.detail
        return one


def _guard(one: guard.GuardSet) -> GuardDocument:
    return GuardDocument(name=one.name, last=one.last)


def _with_voices(settings: Settings, one: ModelDocument) -> ModelDocument:
    speech = describe_speech(settings, one.name)
    one.languages, one.voices = list(speech.languages), list(speech.voices)
    return one


def _chat(settings: Settings) -> ModelDocument:
    """The configured chat model, which is a file and not in the registry."""
    name = chat_model_name(settings)
    one = ModelDocument(name=name, current=None, versions=[], default=True, use="chat")
    try:
        check_chat_model(settings)
    except MiloError as error:
        one.available, one.problem = False, error.detail
    else:
        one.available, one.label, one.type = True, name, "gguf"
    return one
