"""Which addresses and ports our own requests may go to on a stranger's word.

    is_public(address)       an address of the public internet
    may_be_public(host)      the same for the host of a URL, before it is looked up
    HTTPS_PORT               the port that is always allowed

The tables are our own: what `ipaddress.is_global` says changes with the version of Python, and 3.11.7 takes
192.0.0.0/24, 168.63.129.16 and 3fff::/20 for public.

Sources: IANA, "IPv4 Special-Purpose Address Registry", "IPv6 Special-Purpose Address Registry" and "Internet Protocol
Version 6 Address Space"; RFC 5771 (multicast); the metadata services of the clouds as their documentation names them.
"""

import ipaddress

HTTPS_PORT = 443
SPECIAL_4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private use",
    "100.64.0.0/10": "shared address space; 100.100.100.200 is Alibaba Cloud's metadata service",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link local; 169.254.169.254 is most clouds' metadata service",
    "172.16.0.0/12": "private use",
    "192.0.0.0/24": "IETF protocol assignments; 192.0.0.192 is Oracle Cloud's metadata service",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "automatic multicast tunneling",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private use",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, and limited broadcast",
    "168.63.129.16/32": "Azure's platform services: a public address by its number, but the host's own by its use",
}
# All of the public internet lies in this network. Outside of it are, among others, ::1, fc00::/7 (with fd00:ec2::254,
# the metadata service of AWS, and fd20:ce::254, that of Google Cloud), fe80::/10, ff00::/8, 100::/64 and 5f00::/16.
INTERNET_6 = "2000::/3"
SPECIAL_6 = {
    "2001::/23": "IETF protocol assignments: Teredo, benchmarking, AMT, AS112, ORCHID and others",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4, which carries an IPv4 address and has no relays any more",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
}
# In these an IPv4 address stands in the last 32 bits, and decides. 64:ff9b::/96 is how a host without IPv4 reaches it.
EMBEDDING_6 = ("::ffff:0:0/96", "64:ff9b::/96")

_SPECIAL_4 = [ipaddress.IPv4Network(network) for network in SPECIAL_4]
_SPECIAL_6 = [ipaddress.IPv6Network(network) for network in SPECIAL_6]
_INTERNET_6 = ipaddress.IPv6Network(INTERNET_6)
_EMBEDDING_6 = [ipaddress.IPv6Network(network) for network in EMBEDDING_6]
_LOCAL_NAMES = (".localhost", ".local", ".internal")


def is_public(address: str) -> bool:
    """Is this address one of the public internet? ValueError for what is no address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _SPECIAL_4)
    if any(ip in network for network in _EMBEDDING_6):
        return is_public(str(ipaddress.IPv4Address(ip.packed[-4:])))
    return ip in _INTERNET_6 and not any(ip in network for network in _SPECIAL_6)


def may_be_public(host: str) -> bool:
    """Could this name or address, in whatever spelling, be of the public internet? Where a name leads is seen later."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(_LOCAL_NAMES):
        return False
    try:
        return is_public(host)
    except ValueError:
        last = host.rpartition(".")[2]
        return "." in host and not last.isdigit() and not last.startswith("0x")  # an intranet's name; 127.1, 0x7f.1
