"""Examples of requests and answers: each fits its schema, and the ways to sign in that need no provider work."""

import json

import jsonschema_rs
import pytest
from asking import ask
from servers import Databases, Server, serve

from ringbook.api.examples import body_examples, example
from ringbook.api.openapi import document
from ringbook.api.routes import ROUTES
from ringbook.api.sessions import SESSIONS, SIGN_INS

DOCUMENT = json.loads(json.dumps(document()))
COMPONENTS = DOCUMENT["components"]


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


def request_bodies():
    """Every example of a body, with its schema."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name, one in content.get("examples", {}).items():
                yield pytest.param(content["schema"], one["value"], id=f"{method} {path}: {name}")


@pytest.mark.parametrize("schema, value", list(request_bodies()))
def test_each_example_of_a_body_fits_its_schema(schema, value):
    jsonschema_rs.Draft202012Validator({**schema, "components": COMPONENTS}).validate(value)


def test_every_request_with_a_body_has_an_example():
    with_body = [route for route in ROUTES if route.request]
    shown = [one for methods in DOCUMENT["paths"].values() for one in methods.values() if "requestBody" in one]
    assert len(shown) == len(with_body) > 5
    assert all(one["requestBody"]["content"]["application/json"]["examples"] for one in shown)


def test_each_way_to_sign_in_has_an_example_of_its_own():
    assert set(SESSIONS) == {*SIGN_INS, "guest", "application"}
    for title, fields in SIGN_INS.values():
        assert title and len({*fields} & {"login", "email", "provider"}) == 1


def test_the_examples_without_a_provider_open_sessions(server: Server):
    keys = {"application_id": server.app.application_id, "auth_key": server.app.auth_key}
    person = {"login": "ann", "email": "ann@example.com", "password": SIGN_INS["login"][1]["password"]}
    token = opened(server, SESSIONS["application"][1] | keys)["token"]
    assert ask(server, "POST", "/users", {"user": person}, headers={"CB-Token": token}).status == 201
    for name in ("login", "email", "guest"):
        assert opened(server, SESSIONS[name][1] | keys)["user_id"]
    for name in ("login", "email"):
        answer = ask(server, "POST", "/login", SIGN_INS[name][1], headers={"CB-Token": token})
        assert (answer.status, answer.json["user"]["login"]) == (202, "ann")


def opened(server: Server, body):
    answer = ask(server, "POST", "/session", body)
    assert answer.status == 201, answer.raw
    return answer.json["session"]


SCHEMAS = {"Inner": {"type": "object", "description": "inner", "properties": {"flag": {"type": "boolean"}}}}


def test_a_request_shows_neither_flags_nor_fields_without_an_example():
    text = {"type": "string"}
    schema = {"properties": {"a": text | {"examples": ["x"]}, "b": text, "c": {"type": "boolean", "examples": [True]}}}
    assert example(schema, {}, is_request=True) == {"a": "x"}
    assert example(schema, {}) == {"a": "x", "b": "…", "c": True}


def test_a_reference_is_followed():
    schema = {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}}
    assert example(schema, SCHEMAS) == [{"flag": False}]


def test_a_route_without_examples_of_its_own_gets_one_from_its_schema():
    route = next(route for route in ROUTES if route.path == "/address_book" and route.method == "POST")
    schema = {"properties": {"udid": {"type": "string", "examples": ["BFE36393"]}}}
    assert body_examples(route, schema, {}) == {"usual": {"summary": "The usual fields", "value": {"udid": "BFE36393"}}}
