"""How bodies that routes read by themselves are described in the documentation."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Description = dict[str, Any]
"""A part of an OpenAPI document."""
FILE: Description = {"type": "string", "format": "binary"}
_described: dict[str, type[BaseModel]] = {}


def described() -> list[type[BaseModel]]:
    """The models of all bodies that were described, for `components`."""
    return list(_described.values())


def reference_to(model: type[BaseModel]) -> Description:
    """The schema of a model, by its name in the document."""
    _described[model.__name__] = model
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def body_of(model: type[BaseModel]) -> Description:
    """A JSON body."""
    return _body({"application/json": {"schema": reference_to(model)}})


def recipe_body(model: type[BaseModel]) -> Description:
    """A recipe, as JSON or YAML."""
    schema = {"schema": reference_to(model)}
    return _body({"application/json": schema, "application/yaml": schema})


def form_of(model: type[BaseModel], *required: str) -> Description:
    """A form with a file, and the fields of a model."""
    form = {"type": "object", "required": ["file", *required], "properties": {"file": FILE}}
    return form | {"allOf": [reference_to(model)]}


def body_of_form(form: Description, json_body: type[BaseModel] | None = None) -> Description:
    """A form, or a JSON body where there is one."""
    content = {"application/json": {"schema": reference_to(json_body)}} if json_body else {}
    return _body({**content, "multipart/form-data": {"schema": form}})


def _body(content: Description) -> Description:
    return {"requestBody": {"required": True, "content": content}}
