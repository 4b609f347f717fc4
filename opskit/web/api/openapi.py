"""The answers of a call as the OpenAPI document describes them: rows, models and errors, by status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from opskit.web.api.responses import Error

Responses = dict[int | str, dict[str, Any]]
NEXT_PAGE = {
    "Link": {
        "description": 'Where the next rows are, rel="next"; absent on the last page.',
        "schema": {"type": "string"},
    }
}
"""The header of an answer that comes in pages."""
_KINDS: dict[str, dict[str, str]] = {
    "string": {"type": "string"},
    "Int64": {"type": "integer"},
    "Float64": {"type": "number"},
    "boolean": {"type": "boolean"},
    "datetime64[us, UTC]": {"type": "string", "format": "date-time"},
}


def operation(route: APIRoute) -> str:
    """The name of a call in the document: that of its function."""
    return route.name


def rows(columns: Mapping[str, str], *, pages: bool = False) -> Responses:
    """An answer of rows, described by its frame's columns and dtypes; each value may be null."""
    properties = {to_camel(name): {"anyOf": [_KINDS[dtype], {"type": "null"}]} for name, dtype in columns.items()}
    row = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    content = {"application/json": {"schema": {"type": "array", "items": row}}}
    return {200: {"content": content, "headers": NEXT_PAGE} if pages else {"content": content}}


def described(model: type[BaseModel], status: int = 200) -> Responses:
    """An answer, described by a model."""
    return {status: {"model": model, "description": (model.__doc__ or "").splitlines()[0]}}


def errors(sentences: Mapping[int, str]) -> Responses:
    """The errors that a call may be answered with, by status."""
    return {status: {"model": Error, "description": sentence} for status, sentence in sentences.items()}


READING_ERRORS = errors(
    {
        400: "A value cannot be used.",
        422: "A parameter is not what it should be.",
        500: "Something else went wrong; the log says what.",
        503: "The database is away, or not migrated.",
    }
)
WRITING_ERRORS = READING_ERRORS | errors(
    {
        401: "The token is missing or wrong.",
        403: "This caller may change nothing here.",
        404: "There is no such node or act.",
        413: "The request is too large.",
    }
)
