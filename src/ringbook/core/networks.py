"""Networks: which addresses count as one, and the larger networks that an address is in. Pure.

network        an address as limits count it: IPv4 whole, IPv6 by its /64
subnets        the larger networks that an address is in
is_loopback    says whether an address is of this machine
"""

import ipaddress
from functools import lru_cache
from typing import Literal

Subnet = Literal["subnet", "network"]


@lru_cache(maxsize=1024)
def network(address: str) -> str:
    """An address as limits count it: an IPv4 address itself, an IPv6 address's /64."""
    ip = _ip(address)
    if ip is None:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def subnets(address: str) -> list[tuple[Subnet, str]]:
    """The larger networks of an address, the smaller one first; none for a text that is not an address.

    Each comes with the first word of its settings: `subnet` is a /56, `network` is a /48 or, for IPv4, a /24.
    """
    return list(_subnets(address))


@lru_cache(maxsize=1024)
def _subnets(address: str) -> tuple[tuple[Subnet, str], ...]:
    ip = _ip(address)
    if ip is None:
        return ()
    sizes: dict[Subnet, int] = {"network": 24} if ip.version == 4 else {"subnet": 56, "network": 48}
    return tuple((kind, str(ipaddress.ip_network((ip, size), strict=False))) for kind, size in sizes.items())


def is_loopback(address: str) -> bool:
    """Whether it is an address of this machine. A proxy here may forward the requests of all clients."""
    ip = _ip(address)
    return ip is not None and ip.is_loopback


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
