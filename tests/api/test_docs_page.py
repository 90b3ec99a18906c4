"""The page /docs: complete, readable without script, and true to the description it is made from."""

import ast
import re
from html.parser import HTMLParser

import jsonschema_rs
import pytest

from ringbook.api import openapi, page
from ringbook.api.routes import ROUTES

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Reader(HTMLParser):
    """Collects what the tests ask about, and refuses tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "style", "onclick", "onload")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html():
    return openapi.page()


@pytest.fixture(scope="module")
def read(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_there_with_who_may_call(route, html):
    operation = openapi.document()["paths"][openapi.plain_path(route.path)][route.method.lower()]
    article = (
        html.partition(f'<article id="{operation["operationId"]}"')[2].partition("</article>")[0].replace("<wbr>", "")
    )
    assert f"<code>{openapi.plain_path(route.path)}</code>" in article
    assert f">{route.method}</span>" in article
    assert f"<b>{route.who.value}</b>" in article
    for status in operation["responses"]:
        assert re.search(rf"<b[^>]*>{status}</b>", article)


@pytest.mark.parametrize(
    "name, broken",
    [
        ("client_identification_sequence", "client_<wbr>identification_<wbr>sequence"),
        ("/users/{id}/by_login", "/<wbr>users/<wbr>{id}/<wbr>by_<wbr>login"),
        ("contacts[].", "contacts[]."),
        ("udid", "udid"),
        ("<b>_x", "&lt;b&gt;_<wbr>x"),
    ],
)
def test_a_long_name_is_broken_between_its_parts(name, broken):
    assert page.breakable(name) == broken


def test_nothing_runs_and_nothing_comes_from_elsewhere(read, html):
    assert not read.tags & {"script", "iframe", "img", "object", "embed", "link"}
    assert read.sources == []
    assert "url(" not in html and "@import" not in html
    assert all(link.startswith("#") or link == "openapi.json" for link in read.links)


def test_every_link_in_the_page_leads_somewhere(read):
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(read.ids)


def test_what_a_description_says_stays_text():
    assert page.prose("a <b> & `<code>`") == "a &lt;b&gt; &amp; <code>&lt;code&gt;</code>"
    assert page.prose("an odd ` backtick") == "an odd <code> backtick</code>"


def bodies():
    """Each schema that a request or an answer is made of, once, and whether it is a request's."""
    for methods in openapi.document()["paths"].values():
        for operation in methods.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                if "content" in part:
                    yield repr(part["content"]["application/json"]["schema"]), "required" in part


@pytest.mark.parametrize("schema, asked", sorted(set(bodies())))
def test_an_example_fits_the_schema_that_it_is_made_from(schema, asked):
    components = openapi.document()["components"]
    schema = ast.literal_eval(schema)
    value = page.example(schema, components["schemas"], is_request=asked)
    jsonschema_rs.Draft202012Validator({**schema, "components": components}).validate(value)


SCHEMAS = {"Inner": {"type": "object", "description": "inner", "properties": {"flag": {"type": "boolean"}}}}


def test_nested_fields_follow_their_object_with_the_way_to_them():
    schema = {"properties": {"list": {"type": "array", "items": {"$ref": "#/Inner"}}, "one": {"$ref": "#/Inner"}}}
    assert [field.path + field.name for field in page.fields(schema, SCHEMAS)] == [
        "list",
        "list[].flag",
        "one",
        "one.flag",
    ]


def test_a_request_shows_neither_flags_nor_what_has_no_example():
    text = {"type": "string"}
    schema = {"properties": {"a": text | {"examples": ["x"]}, "b": text, "c": {"type": "boolean", "examples": [True]}}}
    assert page.example(schema, {}, is_request=True) == {"a": "x"}
    assert page.example(schema, {}) == {"a": "x", "b": "…", "c": True}


@pytest.mark.parametrize(
    "schema, words",
    [
        ({"type": "string"}, "text"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "text or integer"),
        ({"type": "array", "items": {"type": "string"}}, "list of texts"),
        ({"type": "array", "items": {"$ref": "#/Inner"}}, "list of objects"),
    ],
)
def test_types_are_told_in_words(schema, words):
    assert page.kind_of(schema) == words
