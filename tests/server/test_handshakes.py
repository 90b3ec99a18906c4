"""TLS handshakes have a share for each address and second."""

from ringbook.server import handshakes
from ringbook.server.handshakes import Handshakes


def test_an_address_begins_its_share_at_once_and_the_rest_one_after_the_other():
    share = Handshakes(10, most_seconds=20)
    waits = [share.wait("192.0.2.1", 100.0) for _ in range(30)]
    assert waits[:10] == [0] * 10
    assert [round(one, 3) for one in waits[10:13]] == [0.1, 0.2, 0.3]
    assert round(waits[-1], 3) == 2.0
    assert share.wait("198.51.100.1", 100.0) == 0
    assert share.wait("192.0.2.1", 104.0) == 0


def test_a_handshake_that_would_wait_too_long_is_refused_and_takes_no_share():
    share = Handshakes(10, most_seconds=2)
    waits = [share.wait("192.0.2.1", 100.0) for _ in range(200)]
    assert waits.count(None) == 200 - 30
    assert share.wait("192.0.2.1", 103.1) == 0


def test_a_trusted_proxy_has_no_share_and_0_is_no_limit():
    assert [Handshakes(1, 1).wait(None, 1.0) for _ in range(9)] == [0] * 9
    unlimited = Handshakes(0, 1)
    assert [unlimited.wait("192.0.2.1", 1.0) for _ in range(9)] == [0] * 9


def test_addresses_that_are_gone_are_forgotten(monkeypatch):
    monkeypatch.setattr(handshakes, "PRUNED_ABOVE", 10)
    share = Handshakes(10, 20)
    for n in range(100):
        share.wait(f"192.0.2.{n}", float(n))
    assert len(share._free_at) <= 11
