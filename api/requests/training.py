"""Trainings: what can be told of a recipe before it is queued. No model is loaded, no data read.

A body is a recipe, as JSON or YAML; or `{"recipe": {...}, "callback_url": "..."}`.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from api.http.bodies import content_type
from api.http.deps import Context, in_parser
from api.http.problems import UnsupportedType
from api.requests.errors import pointed
from api.requests.reach import is_hub_id, need_hub, reached_data, reached_model, reached_path
from milo import recipes
from milo.errors import BadRequest, Invalid, ModelUnavailable, TooLarge
from milo.kinds.fields import Closed
from milo.kinds.training import TrainingPayload
from milo.ledger.keys import Key
from milo.models import registry
from milo.models.configuration import require_transformers
from milo.models.contained import check_contained
from milo.recipes import TASKS, Data, Recipe, Task
from milo.storage.roots import named_path
from milo.training import datasets

MAX_BYTES = 256 * 1024
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


class TrainingRequest(Closed):
    """A recipe, and what is only of this request. The bare recipe is taken, too."""

    recipe: Recipe
    callback_url: str | None = None


def check(context: Context, key: Key, asked: TrainingRequest) -> TrainingPayload:
    """The payload of a `training` job. Raises `Invalid` that names the field of the recipe."""
    recipe, read_as = check_recipe(context, key, asked.recipe)
    return TrainingPayload(recipe=recipe, name=recipe.name, data_read_as=read_as)


async def read(request: Request) -> TrainingRequest:
    """The body: JSON, or YAML of type `application/yaml`. Raises a 4xx problem for anything else."""
    media_type = content_type(request)
    if media_type not in YAML_TYPES and media_type != "application/json":
        raise UnsupportedType(
            f"the content type is {media_type or 'missing'}; this path takes application/json or application/yaml"
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge(f"the recipe is larger than {MAX_BYTES} bytes")
    return await in_parser(_parse, body, media_type)


def _document(body: bytearray, media_type: str) -> dict[str, Any]:
    try:
        document = recipes.from_yaml(bytes(body)) if media_type in YAML_TYPES else from_json(bytes(body))
    except ValueError as error:
        what = "YAML" if media_type in YAML_TYPES else "JSON"
        raise BadRequest(f"the body is not {what}: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict):
        raise Invalid("a recipe is a mapping with the fields name, task, model, data and training", code="bad_recipe")
    return document


def _parse(body: bytearray, media_type: str) -> TrainingRequest:
    document = _document(body, media_type)
    if "recipe" not in document:
        return TrainingRequest(recipe=recipes.check(document))
    extra = set(document) - set(TrainingRequest.model_fields)
    if extra:
        raise Invalid(f"{', '.join(sorted(extra))}: there is no such field", code="bad_recipe")
    url = document.get("callback_url")
    if url is not None and not isinstance(url, str):
        raise Invalid("callback_url is a text", code="bad_recipe")
    return TrainingRequest(recipe=recipes.check(document["recipe"]), callback_url=url)


def check_recipe(context: Context, key: Key, recipe: Recipe) -> tuple[Recipe, str]:
    """The recipe as its job is to have it, and what its data was read as. Base model, data and checkpoint are there, as
    far as that is cheap to tell. Raises what is wrong, and the fix."""
    recipe = recipe.model_copy(
        update={
            "model": reached_model(context, key, recipe.model),
            "data": reached_data(context, key, recipe.data, recipe.task),
            "resume": recipe.resume and reached_path(context, key, recipe.resume, "resume"),
        }
    )
    _check_model(context, key, recipe)
    read_as = check_data(context, recipe.data, recipe.task)
    if recipe.resume is not None:
        folder = named_path(recipe.resume)
        if not folder.is_dir():
            raise pointed(f"resume: there is no folder {recipe.resume} on the server", "resume", "bad_recipe")
        if recipe.data.confined:
            check_contained(context.settings, folder)
    return recipe, read_as


def check_data(context: Context, data: Data, task: Task) -> str:
    """The source is there and has the columns, where that is cheap to tell. Returns what it was read as."""
    try:
        return datasets.check(data, task, to_train=True, places=datasets.places_of(context.settings, data))
    except OSError as error:
        detail = f"data.source: {data.source} can't be read: {error.strerror}"
        raise pointed(detail, "data/source", "bad_recipe") from None


def _check_model(context: Context, key: Key, recipe: Recipe) -> None:
    settings = context.settings
    try:
        resolved = registry.resolve(settings, recipe.model, here=key.may("admin"))
    except ModelUnavailable as error:
        if is_hub_id(recipe.model) and not settings.offline:
            need_hub(context, key, recipe.model, "model")
            return  # it will be pulled when the training begins
        raise pointed(f"model: {error.detail}", "model", "unknown_model") from None
    try:
        info = registry.describe(resolved, settings)
        require_transformers(resolved.path, recipe.model, "training needs")
    except ModelUnavailable as error:
        raise pointed(f"model: {error.detail}", "model", "unknown_model") from None
    wanted = TASKS[recipe.task].model_type
    if info.model_type != wanted:
        detail = f"model: {recipe.model} is a {info.model_type} model; task {recipe.task} trains a {wanted} one"
        raise pointed(detail, "model", "unknown_model")
    languages = info.languages
    if recipe.task == "whisper" and languages and recipe.data.language not in languages:
        detail = (
            f"data.language: {recipe.model} does not know {recipe.data.language!r}; it knows {', '.join(languages)}"
        )
        raise pointed(detail, "data/language", "unknown_language")
