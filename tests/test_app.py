"""Who counts as somebody on this machine, and who has the token: the rules in front of /metrics."""

import pytest

from ringbook.app import has_token, is_direct, plain


def asked(client: str, host: str, **headers: str) -> dict[str, object]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"client": (client, 5000), "headers": [(b"host", host.encode()), *named]}


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.8.8", "::1"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]", "[::1]:8080"])
def test_a_request_within_this_machine_is_direct(client, host):
    assert is_direct(asked(client, host))


@pytest.mark.parametrize("client", ["192.0.2.1", "2001:db8::1", "10.0.0.1", ""])
def test_a_request_from_elsewhere_is_not(client):
    assert not is_direct(asked(client, "localhost"))


@pytest.mark.parametrize(
    "host", ["rebound.example", "localhost.example:8080", "192.0.2.1", "", "[", "127.0.0.1@example"]
)
def test_a_request_by_another_name_is_not(host):
    assert is_direct(asked("127.0.0.1", "localhost"))
    assert not is_direct(asked("127.0.0.1", host))


@pytest.mark.parametrize(
    "header", ["forwarded", "via", "x_forwarded_for", "x_forwarded_proto", "x_forwarded_host", "x_real_ip"]
)
def test_a_request_that_somebody_passed_on_is_not(header):
    assert not is_direct(asked("127.0.0.1", "localhost", **{header: "127.0.0.1"}))


def test_an_ipv4_client_of_a_socket_for_both_kinds_is_ipv4():
    assert plain(("::ffff:192.0.2.1", 5000)) == ("192.0.2.1", 5000)
    assert plain(("2001:db8::1", 5000)) == ("2001:db8::1", 5000)
    assert plain(None) is None


def test_the_token_is_the_whole_of_it_and_an_empty_one_is_nobodys():
    def bearing(given: str) -> dict[str, object]:
        return asked("192.0.2.1", "x", authorization=given)

    assert has_token(bearing("Bearer open-sesame"), "open-sesame")
    for given in ("Bearer open", "Bearer ", "open-sesame", ""):
        assert not has_token(bearing(given), "open-sesame")
    assert not has_token(bearing("Bearer "), "")
    assert not has_token(asked("192.0.2.1", "x"), "")
