"""The OpenAPI 3.1 document, made from the table of routes and the types in `shapes/`.

document()       the document, as values for JSON
served(url)      the same, for the server at `url`
"""

import inspect
import re
from functools import cache
from typing import Any

import msgspec

from .. import __version__
from . import snippets
from .endpoint import Route, Who
from .examples import body_examples
from .routes import ROUTES
from .wire import Errors

REFERENCE = "#/components/schemas/{name}"
REFUSALS = {
    400: "The request cannot be read, or is larger than the server reads.",
    401: "The token is missing, unknown or expired, or a password is wrong.",
    403: "The session has no user, or the object belongs to another user.",
    404: "The object does not exist, or the caller may not see it.",
    422: "The request is not valid. The body has the reasons by field.",
    429: "Too many requests. `Retry-After` says how many seconds to wait.",
    503: "The database or an external service is temporarily unavailable. Try again.",
}
EXPIRATION = {
    name: {
        "description": "When the session expires, in UTC. Each request extends it.",
        "schema": {"type": "string", "examples": ["2021-06-04 12:10:53 UTC"]},
    }
    for name in ("CB-Token-ExpirationDate", "QB-Token-ExpirationDate")
}
SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    Who.ANYBODY: [],
    Who.SESSION: [{"CB-Token": []}, {"QB-Token": []}],
    Who.USER: [{"CB-Token": []}, {"QB-Token": []}],
    Who.APPLICATION: [{"CB-Token": []}, {"QB-Token": []}, {"CB-AuthKey": []}],
}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    kinds = [kind for route in ROUTES for kind in (route.request, route.answer, *route.also.values()) if kind] + [
        Errors
    ]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    schema_of = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        described = operation(route, schema_of, components)
        paths.setdefault(plain_path(route.path), {})[route.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringbook",
            "version": __version__,
            "description": "Address books and contact discovery, compatible with the ConnectyCube and QuickBlox SDKs. "
            "Every path also works with `.json` appended.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                name: {"type": "apiKey", "in": "header", "name": name}
                for name in ("CB-Token", "QB-Token", "CB-AuthKey")
            },
        },
    }


def served(url: str) -> dict[str, Any]:
    """The document of a server at this URL; "": without one, then readers use the URL that the document came from."""
    return document() | {"servers": [{"url": url}]} if url else document()


def plain_path(path: str) -> str:
    """`/users/external/{id:path}` as OpenAPI writes it."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def operation(route: Route, schema_of: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """One route."""
    summary, _, description = inspect.cleandoc(route.handler.__doc__ or "").partition("\n\n")
    described: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z0-9]+', '_', route.path.lower()).rstrip('_')}",
        "tags": [route.path.split("/")[1]],
        "summary": summary,
        "parameters": [*path_parameters(route), *query_parameters(route)],
        "responses": answers(route, schema_of),
        "security": SECURITY[route.who],
        "x-caller": route.who.value,
    }
    if description:
        described["description"] = " ".join(description.split())
    example = None
    if route.request:
        schema = {"schema": schema_of[repr(route.request)]}
        examples = body_examples(route, schema["schema"], schemas)
        example = next(iter(examples.values()))["value"]
        content = {"application/json": schema | {"examples": examples}, "application/x-www-form-urlencoded": schema}
        described["requestBody"] = {"required": True, "content": content}
    described["x-codeSamples"] = snippets.of(route, plain_path(route.path), example)
    return described


def path_parameters(route: Route) -> list[dict[str, Any]]:
    """`{id}` is an integer; a parameter with a converter is a text."""
    found = re.findall(r"\{(\w+)(?::(\w+))?\}", route.path)
    whole = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"} if kind else whole}
        for name, kind in found
    ]


def query_parameters(route: Route) -> list[dict[str, Any]]:
    """The parameters of the query. Values are read leniently."""
    return [
        {"name": name, "in": "query", "required": False, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in route.query.items()
    ]


def answers(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    """The successful answers and the refusals."""
    found: dict[str, Any] = {str(route.status): {"description": "Done.", "headers": EXPIRATION}}
    if route.answer:
        found[str(route.status)]["content"] = {"application/json": {"schema": schema_of[repr(route.answer)]}}
    for status, kind in route.also.items():
        schema = schema_of[repr(kind)]
        if status == route.status:
            done = found[str(status)]["content"]["application/json"]
            done["schema"] = {"anyOf": [done["schema"], schema]}
        else:
            content = {"application/json": {"schema": schema}}
            found[str(status)] = {
                "description": "A code was sent. Another request with the code completes the sign-in.",
                "content": content,
            }
    problem = {"application/json": {"schema": schema_of[repr(Errors)]}}
    for status in sorted({*refusals(route)}):
        found[str(status)] = {"description": REFUSALS[status], "content": problem}
    return found


def refusals(route: Route) -> list[int]:
    """The statuses of refusals: those of every request, those of the caller's kind, and those of the route."""
    by_caller = {Who.ANYBODY: [], Who.USER: [401, 403, 422]}.get(route.who, [401])
    return [400, 503, *by_caller, *route.refusals]
