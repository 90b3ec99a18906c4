"""A verification provider, and an SMS gateway, is one row."""

import typing
from pathlib import Path

import msgspec
import pytest
from servers import application, key_file
from verify.gateway import listening

from ringbook.app_settings import SETTINGS, AppSettings
from ringbook.config import Config
from ringbook.outbound.requests import Outgoing
from ringbook.server import checks
from ringbook.verify import providers, sms


def settings(**values: str) -> AppSettings:
    return msgspec.structs.replace(AppSettings(), **values)


def test_every_gateway_can_be_chosen_and_every_choice_has_a_row():
    field = next(one for one in msgspec.structs.fields(AppSettings) if one.name == "sms_gateway")
    choices = typing.get_args(typing.get_args(field.type)[0])
    assert set(choices) == {"", *sms.GATEWAYS}


def test_every_setting_that_a_row_names_is_declared():
    named = {one.enabled_by for one in providers.PROVIDERS}
    named |= {name for gateway in sms.GATEWAYS.values() for name in gateway.needed}
    assert named <= set(AppSettings.__struct_fields__)


def test_every_row_is_a_card_with_the_setting_that_enables_it():
    assert {one.enabled_by: SETTINGS[one.enabled_by].card for one in providers.PROVIDERS} == {
        one.enabled_by: one.key for one in providers.PROVIDERS
    }


def test_a_gateway_that_is_one_row_more_sends_and_is_checked(monkeypatch):
    def template(settings: AppSettings) -> sms.Template:
        body = '{"number": "#{to}", "words": "#{text}"}'
        return sms.Template("POST", f"{settings.sms_gateway_url}/pigeons", {"Content-Type": "application/json"}, body)

    monkeypatch.setitem(sms.GATEWAYS, "pigeon", sms.Gateway(("sms_gateway_url",), template))
    chosen = settings(sms_gateway="pigeon", sms_regions="GB")
    assert sms.trouble(chosen) == "sms_gateway_url is empty"
    with listening() as gateway:
        chosen = msgspec.structs.replace(chosen, sms_gateway_url=gateway.url)
        assert sms.trouble(chosen) == "" and sms.address(chosen) == f"{gateway.url}/"
        sms.send(chosen, Outgoing(allow_private=True), "447700900123", "42 is your code.")
        (request,) = gateway.asked
    assert (request.method, request.path) == ("POST", "/pigeons")
    assert msgspec.json.decode(request.body) == {"number": "+447700900123", "words": "42 is your code."}


@pytest.mark.parametrize("enabled", [True, False])
def test_a_provider_that_is_one_row_more_is_checked_where_an_application_uses_it(
    databases, monkeypatch, tmp_path: Path, enabled: bool
):
    def check(_config, apps):
        yield providers.Finding("notary", False, f"{len(apps)} applications without a seal")

    notary = providers.Provider(key="notary", title="Notary", about="A seal.", enabled_by="apns_topic", check=check)
    monkeypatch.setattr(providers, "PROVIDERS", (*providers.PROVIDERS, notary))
    with databases.fresh("sqlite") as url:
        application(url)
        application(url, **({"apns_topic": "com.example.notary"} if enabled else {}))
        found = [
            (one.ok, one.seen)
            for one in checks.readiness(Config(key_file=str(key_file()), database=url))
            if one.what == "notary"
        ]
    assert found == ([(False, "1 applications without a seal")] if enabled else [])
