"""Networks: which addresses count as one, and the larger networks that an address is in. Pure.

network        an address as limits count it: IPv4 whole, IPv6 by its /64
subnets        the larger networks that an address is in
neighbourhood  the largest network of an address
is_loopback    says whether an address is of this machine
Groups         the addresses that have a share of something, without those of proxies
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

LOOPBACK = ("127.0.0.0/8", "::1/128")
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


def neighbourhood(address: str) -> str:
    """The /48 of an IPv6 address, the /24 of an IPv4 address; a text that is not an address itself."""
    found = _subnets(address)
    return found[-1][1] if found else address


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


class Groups:
    """The addresses that have a share of something.

    exempt   networks whose addresses have none: those of proxies, each of which stands for many clients
    """

    def __init__(self, exempt: Iterable[str] = LOOPBACK) -> None:
        self._exempt = [ipaddress.ip_network(one) for one in exempt]
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, address: str) -> str | None:
        """The address as limits count it; None for an exempt one, and for a text that is not an address."""
        ip = _ip(address.partition("%")[0])
        if ip is None or any(ip.version == one.version and ip in one for one in self._exempt):
            return None
        return network(str(ip))


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
