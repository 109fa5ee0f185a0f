"""Which machines nobody is led to by a name that somebody else chose.

Owns the list of networks: IANA's registries of special addresses, forms in which one family carries the other, and what
clouds tell their own machines. Pure. An address that no list knows as public is refused.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_REFUSED_V4 = tuple(
    IPv4Network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # a public number at which Azure tells each machine about itself
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")
"""Outside of it nothing is public: loopback, unique local, link-local, site-local, multicast."""
_REFUSED_V6 = tuple(
    IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64 = IPv6Network("64:ff9b::/96")
_NEVER: tuple[IPv4Network | IPv6Network, ...] = (
    *(IPv4Network(each) for each in ("0.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "224.0.0.0/4", "240.0.0.0/4")),
    *(IPv6Network(each) for each in ("::/128", "fe80::/10", "ff00::/8", "fd00:ec2::/32")),
)
"""What no setting opens: nothing there is a server of pages, and much of it hands out credentials."""


def why_refused(text: str, *, private: bool = False) -> str:
    """Why an address must not be connected to; empty when it may be. `private`: its name is one of those that settings
    allow to be private ones."""
    try:
        address = ip_address(text)
    except ValueError:
        return "is no address"
    carried = _unwrap(address)
    if any(carried in network for network in _NEVER if network.version == carried.version):
        return "is of the link, of many, or of the machine's cloud"
    if private or _is_public(carried):
        return ""
    return "is not a public address"


def _unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """What a mapped or translated address is of the older family."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    bare = IPv6Address(int(address))  # without the name of an interface
    return IPv4Address(int(bare) & 0xFFFF_FFFF) if bare in _NAT64 else bare


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _REFUSED_V6)
