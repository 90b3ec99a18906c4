"""The description of the API: complete, valid, and true of a running server."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from asking import person
from servers import Databases, Server, serve

from ringbook.api.endpoint import Who
from ringbook.api.openapi import document, plain_path
from ringbook.api.routes import ROUTES

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document()))
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


# ── complete and valid ───────────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_is_described_and_nothing_else():
    described = {(method.upper(), path) for method, path, _ in OPERATIONS}
    assert described == {(route.method, plain_path(route.path)) for route in ROUTES}
    assert len(described) == len(ROUTES) > 30


def test_the_description_is_openapi():
    import schemathesis  # takes half a second, which the test processes without this test need not pay

    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1")


def test_operations_have_names_of_their_own_and_say_what_they_do():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for _, _, operation in OPERATIONS)


def test_every_parameter_in_a_path_is_described():
    for _, path, operation in OPERATIONS:
        described = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert described == set(re.findall(r"\{(\w+)\}", path)), path


def test_who_may_call_is_what_the_table_says():
    by_path = {(route.method, plain_path(route.path)): route.who for route in ROUTES}
    for method, path, operation in OPERATIONS:
        schemes = {name for one in operation["security"] for name in one}
        who = by_path[method.upper(), path]
        assert bool(schemes) == (who is not Who.ANYBODY), path
        assert ("CB-AuthKey" in schemes) == (who is Who.APPLICATION), path
        assert ("401" in operation["responses"]) or who is Who.ANYBODY, path
        assert ("403" in operation["responses"]) or who is not Who.USER, path


def test_every_refusal_has_the_shape_of_errors():
    for method, path, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Errors"}, (method, path, status)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere_and_every_schema_is_used():
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) == known


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one_and_its_examples_fit(name):
    schema = DOCUMENT["components"]["schemas"][name]
    jsonschema_rs.meta.validate(schema)
    for field, described in schema.get("properties", {}).items():
        for example in described.get("examples", []):
            whole = described | {"components": DOCUMENT["components"]}
            assert jsonschema_rs.is_valid(whole, example), (name, field)


def test_a_change_that_proves_a_number_needs_no_user_beside_the_proof():
    assert DOCUMENT["components"]["schemas"]["ChangeRequest"].get("required", []) == []


# ── true of a running server ─────────────────────────────────────────────────────────────────────────────────────────

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]
OPTIONS = ["--phases=examples,coverage,fuzzing", "--max-examples=5", "--seed=1", "--continue-on-failure"]
# What a DELETE ends is the session itself: those come second, each with whatever the ones before have left of it.
ROUNDS = {"ask and change": "--exclude-method=DELETE", "end": "--include-method=DELETE"}


@pytest.fixture(scope="module")
def served(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on PostgreSQL. Values that trouble one database only are sent to both by `test_endpoint`."""
    with databases.fresh("postgresql") as url, serve(url, tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.mark.parametrize("round_", ROUNDS)
def test_what_a_running_server_answers_is_described(served, tmp_path, round_):
    """Schemathesis sends what the description allows and what it does not: no 5xx, and nothing undescribed."""
    who = person(served, phone="12025550100", full_name="Ann Example")
    who.upload([{"phone": "12025550100", "name": "Me"}])
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "run", f"{served.url}/openapi.json", f"--header=CB-Token: {who.token}", *OPTIONS]
    checks = f"--checks={','.join(CHECKS)}"
    ran = subprocess.run([*command, checks, ROUNDS[round_]], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    generated = re.search(r"(\d+) generated", ran.stdout)
    assert generated, ran.stdout
    assert int(generated[1]) > 100
