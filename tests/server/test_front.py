"""`server/front.py`: building the application, the client's address of a request, and the token for /metrics."""

import gc

from ringbook.config import Config
from ringbook.server import front
from ringbook.server.front import has_token, plain


def asked(client: str, host: str, **headers: str) -> dict[str, object]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"client": (client, 5000), "headers": [(b"host", host.encode()), *named]}


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


def test_an_application_that_is_built_leaves_the_garbage_collector_as_it_is(db):
    before = gc.get_freeze_count(), gc.get_threshold()
    front.build(Config(), db)
    assert (gc.get_freeze_count(), gc.get_threshold()) == before
