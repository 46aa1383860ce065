"""The documentation at /docs: OpenAPI with Swagger UI, served from here, so that it works without a network."""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import HTMLResponse, RedirectResponse

from api.http.problems import OpenAIError, Problem
from api.requests.schemas import described
from milo.kinds import batched

ASSETS = "/docs/assets"
ANSWERS = (Problem, OpenAIError)
"""Models that routes answer with, and FastAPI does not see."""


def install(app: FastAPI) -> None:
    """Serve /docs and complete /openapi.json."""
    static = files("fastapi_offline") / "static"
    app.mount(ASSETS, StaticFiles(directory=str(static)), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title} API",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
        )

    @app.api_route("/redoc", methods=["GET", "HEAD"], include_in_schema=False)
    async def to_docs() -> RedirectResponse:
        return RedirectResponse("/docs")

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    generated = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document = copy.deepcopy(generated)  # it holds the dictionaries of the routes themselves
    models: list[type[BaseModel]] = [*ANSWERS, *described(), *(batches.options for batches in batched().values())]
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in definitions.get("$defs", {}).items():
        schemas.setdefault(name, schema)
    _open_forms(document)
    return document


def _open_forms(document: dict[str, Any]) -> None:
    """Write a form out as one object: `allOf` with a model that takes no further field forbids the file beside it."""
    schemas = document["components"]["schemas"]
    bodies = [operation.get("requestBody", {}) for path in document["paths"].values() for operation in path.values()]
    for body in bodies:
        form = body.get("content", {}).get("multipart/form-data", {}).get("schema", {})
        for part in form.pop("allOf", ()):
            fields = schemas[part["$ref"].rsplit("/", 1)[-1]]
            form["properties"] = fields["properties"] | form.get("properties", {})
            form["required"] = sorted({*form.get("required", ()), *fields.get("required", ())})
