"""What an address is, and when two are one.

Owns the normal form, and what is refused before any name is looked up. Pure. Refuses to judge a site: two addresses
that differ in more than their form are two, whatever a site makes of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from yarl import URL

URL_CHARS_MAX = 2_048
"""Longest address. Browsers and sitemaps stop there too; a trap makes longer ones."""
LOW_PORTS = (80, 443)
"""Below 1024, everything else is another service, which could be made to read what we send."""
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_TRACKING = frozenset(("gclid", "fbclid", "msclkid", "mc_cid", "mc_eid", "phpsessid", "jsessionid", "sid"))
"""Parameters that say who came from where, and change nothing of a page. Those of `utm_…` are so, too."""


def normalise(text: str, base: str = "") -> str:
    """The normal form of an address, made whole by `base`. Raises `ValueError`, with the reason, when nobody may ask
    for it."""
    text = text.strip()
    if len(text) > URL_CHARS_MAX:
        raise ValueError(f"an address has at most {URL_CHARS_MAX} characters")
    try:
        url = URL(base).join(URL(text)) if base else URL(text)
        port = url.port
        host = (url.raw_host or "").removesuffix(".").lower()
    except (ValueError, TypeError, UnicodeError):
        raise ValueError("it is no address") from None
    if url.scheme not in ("http", "https") or not _is_host(host):
        raise ValueError("only whole addresses of http and https can be asked for")
    if url.user is not None or url.password is not None:
        raise ValueError("an address must not hold credentials")
    if port is None or not (port in LOW_PORTS or 1024 <= port <= 65_535):
        raise ValueError(f"port {port} is not one of pages")
    query = [(name, value) for name, value in url.query.items() if not _is_tracking(name)]
    if len(query) < len(url.query):
        url = url.with_query(query)
    url = url.with_host(host).with_fragment(None)
    shown = f"{url.origin()}{url.raw_path_qs}"
    if len(shown) > URL_CHARS_MAX:
        raise ValueError(f"an address has at most {URL_CHARS_MAX} characters")
    return shown


def _is_tracking(name: str) -> bool:
    lowered = name.lower()
    return lowered in _TRACKING or lowered.startswith("utm_")


def _is_host(host: str) -> bool:
    """A name, or a number in its usual notation: in others (`0x7f.1`) libraries disagree on whose it is."""
    labels = host.split(".")
    return is_literal(host) or (all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1]))


def host_of(url: str) -> str:
    """The name of the host of a normal address, in ASCII."""
    parsed = URL(url)
    return (parsed.raw_host or "").lower()


def origin_of(url: str) -> str:
    """Scheme, host and port: what one `robots.txt` is about."""
    return str(URL(url).origin())


def path_of(url: str) -> str:
    """Path and query, as patterns see them."""
    return URL(url).raw_path_qs


def is_literal(host: str) -> bool:
    """Whether a host is a number already, which nobody looks up."""
    try:
        return "%" not in host and bool(ip_address(host))
    except ValueError:
        return False


def default_hosts(urls: Sequence[str]) -> tuple[str, ...]:
    """The hosts of these addresses, each with and without `www.`: one of the two usually leads to the other."""
    hosts: dict[str, None] = {}
    for url in urls:
        host = host_of(url)
        hosts[host] = None
        hosts[host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"] = None
    return tuple(hosts)
