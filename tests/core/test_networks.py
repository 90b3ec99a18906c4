"""Which addresses count as one, and which larger networks they are in."""

import pytest

from ringbook.core import networks


@pytest.mark.parametrize(
    "address, one",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_what_counts_as_one_address(address, one):
    assert networks.network(address) == one


@pytest.mark.parametrize(
    "address, larger",
    [
        ("192.0.2.77", [("network", "192.0.2.0/24")]),
        ("::ffff:192.0.2.77", [("network", "192.0.2.0/24")]),
        ("2001:db8:1:2ab::5", [("subnet", "2001:db8:1:200::/56"), ("network", "2001:db8:1::/48")]),
        ("fe80::1%eth0", [("subnet", "fe80::/56"), ("network", "fe80::/48")]),
        ("", []),
        ("testclient", []),
    ],
)
def test_the_larger_networks_of_an_address(address, larger):
    assert networks.subnets(address) == larger
