"""Which addresses and names a stranger may send us to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringbook.outbound.networks import SPECIAL_4, SPECIAL_6, is_public, may_be_public

METADATA = {
    "AWS, Azure, Google Cloud and others": "169.254.169.254",
    "AWS over IPv6": "fd00:ec2::254",
    "AWS, credentials of tasks": "169.254.170.2",
    "Google Cloud over IPv6": "fd20:ce::254",
    "Azure, platform services": "168.63.129.16",
    "Alibaba Cloud": "100.100.100.200",
    "Oracle Cloud": "192.0.0.192",
}


@pytest.mark.parametrize("address", METADATA.values(), ids=METADATA)
def test_no_metadata_service_of_a_cloud_is_public(address):
    assert not is_public(address)
    if "." in address:
        assert not is_public(f"::ffff:{address}") and not is_public(f"64:ff9b::{address}")


@pytest.mark.parametrize(
    "address, public",
    [
        ("8.8.8.8", True),
        ("1.1.1.1", True),
        ("168.63.129.15", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("172.32.0.0", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("100.127.255.255", False),
        ("100.128.0.0", True),
        ("127.0.0.53", False),
        ("0.0.0.0", False),
        ("192.0.0.9", False),
        ("192.0.1.0", True),
        ("192.0.2.1", False),
        ("198.17.255.255", True),
        ("198.19.255.255", False),
        ("224.0.0.1", False),
        ("239.255.255.255", False),
        ("255.255.255.255", False),
        ("2606:4700:4700::1111", True),
        ("2001:200::1", True),
        ("2001:4860:4860::8888", True),
        ("2620:4f:8001::1", True),
        ("::", False),
        ("::1", False),
        ("::8.8.8.8", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("fd12:3456::1", False),
        ("ff02::1", False),
        ("100::1", False),
        ("5f00::1", False),
        ("2001::1", False),
        ("2001:0:7f00:1::", False),
        ("2001:1::1", False),
        ("2001:20::1", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("3fff:fff:ffff::1", False),
        ("2620:4f:8000::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::808:808", False),
        ("2002:7f00:1::", False),
        ("2002:808:808::", False),
    ],
)
def test_which_addresses_are_of_the_public_internet(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize("network", [*SPECIAL_4, *SPECIAL_6])
def test_every_network_of_the_table_is_special_from_its_first_address_to_its_last(network):
    whole = ipaddress.ip_network(network)
    assert not is_public(str(whole[0])) and not is_public(str(whole[-1]))


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_counts_as_itself(ip):
    assert is_public(f"::ffff:{ip}") is is_public(f"64:ff9b::{ip}") is is_public(str(ip))


@given(st.ip_addresses())
def test_whatever_the_library_calls_private_is_not_public_here_either(ip):
    """Ours is the stricter table: it takes nothing for public that the standard library does not."""
    if is_public(str(ip)):
        inner = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        assert (inner or ip).is_global or str(ip).startswith("64:ff9b::")


@pytest.mark.parametrize("text", ["", "name.example", "127.1", "0x7f.0.0.1", "1.2.3.4.5", "[::1]", "010.0.0.1"])
def test_what_is_no_address_is_no_public_one(text):
    with pytest.raises(ValueError):
        is_public(text)


@pytest.mark.parametrize(
    "host, maybe",
    [
        ("push.example.com", True),
        ("push.example.com.", True),
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("localhost", False),
        ("LocalHost.", False),
        ("db.internal", False),
        ("metadata.google.internal", False),
        ("printer.local", False),
        ("a.localhost", False),
        ("printer", False),
        ("", False),
        ("127.1", False),
        ("0x7f.1", False),
        ("0x7f000001", False),
        ("2130706433", False),
        ("10.0.0.1", False),
        ("168.63.129.16", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_names_and_addresses_may_be_of_the_public_internet(host, maybe):
    assert may_be_public(host) is maybe
