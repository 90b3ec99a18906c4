"""Examples of requests and answers, made from the schemas of OpenAPI.

example(schema, schemas, …)    a value that fits a schema
body_examples(route, …)        the examples of a request's body: those of its route, else one made from its schema
"""

from typing import Any

from .endpoint import Route

Schema = dict[str, Any]

# The example value where a schema has none.
PLAIN = {"string": "…", "integer": 0, "boolean": False, "null": None}


def body_examples(route: Route, schema: Schema, schemas: Schema) -> dict[str, Any]:
    """The examples by name, as OpenAPI writes them. The first one is shown first."""
    found = route.examples or {"usual": ("The usual fields", example(schema, schemas, is_request=True))}
    return {name: {"summary": summary, "value": value} for name, (summary, value) in found.items()}


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
