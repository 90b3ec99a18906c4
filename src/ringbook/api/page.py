"""The API's documentation page, made from the OpenAPI document for `templates/docs.html`.

render(document)     the page, as HTML
policy(html)         its Content-Security-Policy
groups(document)     the operations by tag, in the order of the table of routes
example(…)           a value that a schema describes, made from the examples of its fields
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup, escape

Schema = dict[str, Any]
Document = dict[str, Any]

KINDS = {"string": "text", "integer": "integer", "boolean": "true or false", "null": "null", "object": "object"}
# The example value where a schema has none.
PLAIN = {"string": "…", "integer": 0, "boolean": False, "null": None}


@dataclass(frozen=True, slots=True)
class Field:
    """A row of a table; `path` is the prefix of the field (`user.`, `contacts[].`)."""

    path: str
    name: str
    kind: str
    required: bool
    meaning: str
    example: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A possible answer; a successful one has fields and an example."""

    status: str
    meaning: str
    fields: list[Field]
    example: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    caller: str
    parameters: list[Field]
    fields: list[Field]
    example: str
    answer: Outcome | None
    refusals: list[Outcome]


@dataclass(frozen=True, slots=True)
class Group:
    """Operations that belong together."""

    id: str
    title: str
    operations: list[Operation]


def render(document: Document) -> str:
    """The whole page, without scripts or external resources."""
    import jinja2

    folder = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"prose": prose, "breakable": breakable}
    return environment.get_template("docs.html").render(info=document["info"], groups=groups(document))


@cache
def policy(html: str) -> str:
    """The Content-Security-Policy of the page: allows its own styles, by hash, and nothing else."""
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in styles]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def prose(text: str) -> Markup:
    """A text as HTML; text between backticks becomes code."""
    parts = [f"<code>{escape(part)}</code>" if at % 2 else escape(part) for at, part in enumerate(text.split("`"))]
    return Markup("").join(Markup(part) for part in parts)


def breakable(name: str) -> Markup:
    """A name as HTML that browsers may break between its parts."""
    return Markup("<wbr>").join(re.split(r"(?<=[/._\]])(?=[^/._\]])", name))


def groups(document: Document) -> list[Group]:
    """The operations by their first tag."""
    schemas = document["components"]["schemas"]
    by_tag: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            by_tag.setdefault(described["tags"][0], []).append(_operation(path, method, described, schemas))
    return [Group(tag, tag.replace("_", " ").capitalize(), operations) for tag, operations in by_tag.items()]


def _operation(path: str, method: str, described: Document, schemas: Schema) -> Operation:
    request = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    outcomes = [_outcome(status, answer, schemas) for status, answer in described["responses"].items()]
    answer = next((one for one in outcomes if one.status < "300"), None)
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=path,
        summary=described["summary"],
        description=described.get("description", ""),
        caller=described["x-caller"],
        parameters=[_parameter(one) for one in described["parameters"]],
        fields=list(fields(request, schemas)) if request else [],
        example=as_json(example(request, schemas, is_request=True)) if request else "",
        answer=answer,
        refusals=[one for one in outcomes if one is not answer],
    )


def _parameter(one: Document) -> Field:
    where = "in the path" if one["in"] == "path" else "in the query"
    return Field("", one["name"], KINDS[one["schema"]["type"]], one["required"], one.get("description", where), "")


def _outcome(status: str, answer: Document, schemas: Schema) -> Outcome:
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    if not schema or status >= "300":
        return Outcome(status, answer["description"], [], "")
    body = as_json(example(schema, schemas))
    return Outcome(status, answer["description"], list(fields(schema, schemas, nulls=True)), body)


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fields(schema: Schema, schemas: Schema, path: str = "", *, nulls: bool = False) -> Iterator[Field]:
    """Each field of a body; the fields of an object follow the object. `nulls`: mark fields that may be null."""
    schema = resolved(schema, schemas)
    for other in schema.get("anyOf", []):
        yield from fields(other, schemas, path, nulls=nulls)
    if schema.get("type") == "array":
        yield from fields(schema["items"], schemas, f"{path}[].", nulls=nulls)
    for name, written in schema.get("properties", {}).items():
        inner = resolved(written, schemas)
        yield _field(path, name, written, inner, name in schema.get("required", []), nulls=nulls)
        if inner.get("type") == "array":
            yield from fields(inner["items"], schemas, f"{path}{name}[].", nulls=nulls)
        else:
            yield from fields(inner, schemas, f"{path}{name}.", nulls=nulls)


def _field(path: str, name: str, written: Schema, inner: Schema, required: bool, *, nulls: bool) -> Field:
    kind = kind_of(inner) + (" or null" if nulls and {"type": "null"} in written.get("anyOf", []) else "")
    examples = inner.get("examples") or [""]
    shown = examples[0] if isinstance(examples[0], str) else as_json(examples[0], indent=0)
    # The rows of its fields explain a nested object.
    meaning = "" if "properties" in inner else inner.get("description", "")
    longest = f"at most {inner['maxLength']} characters" if "maxLength" in inner else ""
    return Field(path, name, kind, required, "; ".join(filter(None, (meaning, longest))), shown)


def kind_of(schema: Schema) -> str:
    """A schema's type in words."""
    if "anyOf" in schema:
        return " or ".join(kind_of(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        inner = schema["items"]
        return "list of objects" if "$ref" in inner else f"list of {kind_of(inner)}s"
    return KINDS.get(schema.get("type", ""), "anything")


def resolved(schema: Schema, schemas: Schema) -> Schema:
    """The schema without references and without the alternative null."""
    if "$ref" in schema:
        return resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    others = [part for part in schema.get("anyOf", []) if part != {"type": "null"}]
    return resolved(others[0], schemas) if len(others) == 1 else schema


def example(schema: Schema, schemas: Schema, *, is_request: bool = False) -> Any:
    """A value that fits the schema.

    is_request   leave out flags, and optional fields without an example
    """
    may_be_null = {"type": "null"} in schema.get("anyOf", [])
    schema = resolved(schema, schemas)
    if schema.get("examples"):
        value = schema["examples"][0]
        return [value] if schema.get("type") == "array" and not isinstance(value, list) else value
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas, is_request=is_request)
    if schema.get("type") == "array":
        return [example(schema["items"], schemas, is_request=is_request)]
    if "properties" in schema:
        required = schema.get("required", [])
        return {
            name: example(inner, schemas, is_request=is_request)
            for name, inner in schema["properties"].items()
            if not is_request or name in required or worth_showing(resolved(inner, schemas), schemas)
        }
    return None if may_be_null else PLAIN.get(schema.get("type", ""))


def worth_showing(schema: Schema, schemas: Schema) -> bool:
    """Is this optional field useful in an example? Flags are not."""
    if schema.get("type") == "boolean":
        return False
    inner = [resolved(part, schemas) for part in schema.get("properties", {}).values()]
    return bool(schema.get("examples")) or any(worth_showing(part, schemas) for part in inner)


def as_json(value: Any, indent: int = 2) -> str:
    """A value as indented JSON."""
    text = msgspec.json.encode(value)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()
