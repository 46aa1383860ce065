"""Pipelines: a recipe, and where what it trains may serve."""

from __future__ import annotations

from api.http.deps import Context
from api.requests.training import TrainingRequest, check_recipe
from milo.errors import Forbidden
from milo.kinds.training import PipelinePayload
from milo.ledger.keys import Key
from milo.models import registry


def check(context: Context, key: Key, asked: TrainingRequest) -> PipelinePayload:
    """The payload of a `pipeline` job. Raises `Invalid` that names the field of the recipe."""
    recipe, read_as = check_recipe(context, key, asked.recipe)
    if recipe.deploy is not None:
        registry.serving(context.settings, recipe.deploy.name)  # raises for what can't be a name
        if not key.may("admin"):
            raise Forbidden(
                f"the key {key.name!r} has not the scope 'admin', which deploying needs", code="missing_scope"
            )
    return PipelinePayload(recipe=recipe, name=recipe.name, data_read_as=read_as)
