"""A push provider is one row: a server with one more row has the provider everywhere.

The server and the commands here run with `pretend/` in PYTHONPATH, which adds a row to `providers.PROVIDERS`.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from asking import Person, person, rows
from dashboard.visiting import Visitor, admin
from push.listener import application as push_application
from servers import SEAL, Server, application, eventually, get, ringbook, serve

from ringbook import errors
from ringbook.app_settings import AppSettings
from ringbook.config import Config
from ringbook.core import applications, test_push
from ringbook.core.audit import Actor
from ringbook.push import providers
from ringbook.push.connections import Connections
from ringbook.push.transport import NotSetUp, SenderContext
from ringbook.store import db as databases

ROOT = Path(__file__).parents[2]
PRETEND = Path(__file__).with_name("pretend")


@pytest.fixture(scope="module")
def pretending(databases, tmp_path_factory):
    """`ringbook serve` with the pretend provider."""
    with (
        pytest.MonkeyPatch.context() as patched,
        databases.fresh("sqlite") as url,
    ):
        patched.setenv("PYTHONPATH", os.pathsep.join([str(PRETEND), os.environ.get("PYTHONPATH", "")]))
        with serve(url, tmp_path_factory.mktemp("pretending")) as running:
            yield running


@pytest.fixture
def ann(pretending: Server) -> Person:
    return person(pretending)


@pytest.fixture
def visitor(pretending: Server) -> Visitor:
    app = application(pretending.database_url, "Paging")
    visitor = admin(pretending)
    visitor.app_id = app.application_id
    visitor.base = f"/apps/{app.application_id}/push/providers"
    return visitor


def subscribe(who: Person, token: str):
    wish = {
        "notification_channel": "pager",
        "push_token": {"environment": "production", "client_identification_sequence": token},
        "device": {"platform": "android", "udid": "pager-1"},
    }
    return who.ask("POST", "/subscriptions", wish)


def test_devices_subscribe_to_its_channel_with_tokens_of_its_shape(ann):
    refused = subscribe(ann, "not a page")
    assert refused.status == 422 and refused.json["errors"] == {"client_identification_sequence": ["is invalid"]}
    assert subscribe(ann, "page-0001").status == 201


def test_pushes_go_out_through_it(pretending, ann):
    assert subscribe(ann, "page-0002").status == 201
    with contextlib.closing(databases.connect(pretending.database_url, pool=1, seal=SEAL)) as db:
        applications.change(db, pretending.app.application_id, "sms_twilio_from", "pager-credential")
        app = applications.get(db, pretending.app.application_id)
        assert test_push.send(db, app, ann.id, Actor("admin@example.com", "127.0.0.1", int(time.time()))) == 1
    eventually(lambda: "paged page-0002: Your friend Annie joined." in pretending.printed, "a page")
    outcome = "SELECT outcome FROM pushes WHERE channel = 'pager' AND user_id = :id"
    eventually(lambda: [row["outcome"] for row in rows(pretending, outcome, id=ann.id)] == ["accepted"], "receipt")


def test_the_page_of_providers_has_its_card_with_its_settings(pretending, visitor):
    page = visitor.get(visitor.base)
    for words in ("Pager: people on call", "Get the credential from the pager company.", "Twilio sender"):
        assert words in page.words
    visitor.post(f"{visitor.base}/pager", sms_twilio_from="pager-credential")
    page = visitor.get(visitor.base)
    assert page.value("sms_twilio_from") == "pager-credential" and "Calls the pager company." in page.words
    done = visitor.follow(visitor.post(f"{visitor.base}/pager/check"))
    assert "Pager: the pager company accepts the credential." in done.words
    visitor.follow(visitor.post(f"{visitor.base}/pager/remove"))
    assert visitor.get(visitor.base).value("sms_twilio_from") == ""


def test_pushes_can_be_listed_by_its_channel(visitor):
    assert '<option value="pager"' in visitor.get(f"/apps/{visitor.app_id}/push").html


def test_check_asks_it(pretending):
    app = application(pretending.database_url, "Checked", sms_twilio_from="pager-credential")
    found = ringbook("check", database_url=pretending.database_url).stdout
    assert f"pager pushes of application {app.application_id}: the pager company accepts the credential" in found


def test_the_description_of_the_api_names_its_channel(pretending):
    schemas = json.loads(get(f"{pretending.url}/openapi.json"))["components"]["schemas"]
    described = json.dumps(schemas["SubscriptionRequest"]["properties"]["notification_channel"])
    assert "apns, apns_voip, gcm, pager, web" in described


def test_the_documentation_gets_a_row(pretending, tmp_path):
    page = tmp_path / "push.md"
    page.write_text((ROOT / "docs/how-to/push.md").read_text("utf-8"), "utf-8")
    subprocess.run([sys.executable, ROOT / "scripts/provider_table.py", page], check=True)
    row = "| Pager: people on call | `pager` | `sms_twilio_from` | Calls the pager company. |"
    assert row in page.read_text("utf-8").splitlines()


def test_the_table_of_the_documentation_has_a_row_for_each_provider():
    lines = (ROOT / "docs/how-to/push.md").read_text("utf-8").splitlines()
    assert [line for line in providers.table() if line not in lines] == []


def test_no_channel_is_served_by_two_providers_and_no_setting_belongs_to_two():
    channels = [channel for one in providers.PROVIDERS for channel in one.channels]
    settings = [key for one in providers.PROVIDERS for key in one.settings]
    assert len(channels) == len(set(channels)) and len(settings) == len(set(settings))


def test_every_setting_of_a_row_is_declared_and_the_needed_ones_are_on_the_card():
    for one in providers.PROVIDERS:
        assert set(one.settings) <= set(AppSettings.__struct_fields__) and set(one.needed) <= set(one.settings)


def test_a_channel_that_no_provider_serves_is_refused_with_its_name():
    app, private = push_application()
    context = SenderContext(config=Config(), connections=Connections(), vapid_private_key=private)
    with pytest.raises(NotSetUp, match="no channel fax"):
        providers.sender("fax", app, context)
    with pytest.raises(errors.NotFound):
        providers.get("fax")
