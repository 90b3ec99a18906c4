"""`core/` and what is below it use their own terms: no name of a field on the wire, and no name of a push channel."""

import ast
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from ringbook import model, preferences
from ringbook.api import shapes
from ringbook.push import providers

PACKAGE = Path(model.__file__).parent
# Words that are a field of the API and a term of core as well.
SHARED = {
    *(
        "application_id",
        "code",
        "contact_joined",
        "contacts",
        "count",
        "event",
        "ids",
        "imported",
        "message",
        "old_password",
        "password",
    ),
    *("provider", "request_id", "tags", "type", "users"),
}
# Texts that are equal to a channel's name and mean something else: a platform of devices, and a kind of push.
NOT_CHANNELS = {("subscriptions.py", "web"), ("push_trace.py", "webhook")}


def fields_of(module) -> set[str]:
    structs = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}


def fields_of_the_wire() -> set[str]:
    """The names of fields in requests and answers that no type of the model or of preferences has."""
    found = [import_module(f"{shapes.__name__}.{one.name}") for one in pkgutil.iter_modules(shapes.__path__)]
    return set().union(*map(fields_of, found)) - fields_of(model) - fields_of(preferences) - SHARED


def texts(folder: str) -> Iterator[tuple[str, int, str]]:
    """File, line and value of each text in the code of a package."""
    for file in (PACKAGE / folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield file.name, node.lineno, node.value


def test_core_does_not_name_fields_of_the_wire():
    of_the_wire = fields_of_the_wire()
    assert {"udid", "client_identification_sequence", "notification_channel", "access_token"} <= of_the_wire
    assert [found for found in texts("core") if found[2] in of_the_wire] == []


@pytest.mark.parametrize("folder", ["core", "worker", "dashboard", "server"])
def test_what_is_special_about_a_channel_is_said_by_its_provider_only(folder):
    named = [found for found in texts(folder) if found[2] in providers.channels()]
    assert [found for found in named if (found[0], found[2]) not in NOT_CHANNELS] == []
