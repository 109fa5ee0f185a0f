"""What may be asked for, when again, and which texts are the same: pure.

Owns the scope of a crawl, the signs of a trap, the reading of `robots.txt`, sitemaps and `Retry-After`, and the
hashes of texts. Refuses rows and requests.
"""

from __future__ import annotations

import hashlib
import html
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

import numpy as np
from protego import Protego

from connectors.fetching import AGENT
from connectors.fetching.reach import HostList, matches
from connectors.fetching.urls import host_of, normalise, path_of
from runtime.setting_kinds import is_allowed_host

SEGMENTS_MAX = 20
"""Deepest path. Sites have a handful; a link that is relative by mistake adds one at each page."""
REPEATS_MAX = 2
"""How often a path may have one segment, and an address one parameter."""
PARAMETERS_MAX = 8
"""Most parameters: filters that can be combined make more addresses than a site has pages."""
LOCATIONS_MAX = 10_000
"""Most addresses that are taken of one sitemap. The protocol allows five times as many, and a crawl has no room."""
SITEMAP_BYTES_MAX = 20_000_000
"""Largest sitemap, unpacked."""
WORDS_MAX = 5_000
"""Words of a text that make its similarity hash: pages differ before that."""
NEAR_WORDS_MIN = 60
"""Shortest text that can be near another one, in words: in a shorter one, a word that differs changes too much of the
hash."""
NEAR_BITS_MAX = 3
"""Two texts are near when their hashes differ in no more bits, of 64 (Manku, Jain, Das Sarma 2007)."""
_SHINGLE = 3

_WORD = re.compile(r"\w+")
_LOCATION = re.compile(rb"<(?:\w{1,20}:)?loc>\s{0,20}(?:<!\[CDATA\[)?([^<\]]{1,4096})")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a crawl may go."""

    hosts: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    reach: HostList | None = None
    """What the tenant allows to be asked for; None: it has no list."""

    def find_reason(self, url: str) -> str:
        """Why a normal address is not asked for; empty when it is."""
        if not is_allowed_host(host_of(url), self.hosts):
            return "its host is not one of this crawl"
        if self.reach is not None and not self.reach.allows(url):
            return "it is not on the list of hosts that the tenant allows"
        path = path_of(url)
        if self.include and not any(matches(path, pattern) for pattern in self.include):
            return "its path is not among those that were asked for"
        if any(matches(path, pattern) for pattern in self.exclude):
            return "its path was excluded"
        return "it looks like a trap" if looks_endless(url) else ""

    def take(self, links: Sequence[str], base: str = "") -> list[str]:
        """The links that may be asked for, in their normal form, each once."""
        found: dict[str, None] = {}
        for link in links:
            try:
                url = normalise(link, base)
            except ValueError:
                continue
            if not self.find_reason(url):
                found[url] = None
        return list(found)


def looks_endless(url: str) -> bool:
    """Whether an address has the form of those that a site makes without end."""
    parts = urlsplit(url)
    segments = [segment for segment in parts.path.split("/") if segment]
    names = [pair.partition("=")[0] for pair in parts.query.split("&") if pair]
    return (
        len(segments) > SEGMENTS_MAX
        or len(names) > PARAMETERS_MAX
        or any(segments.count(each) > REPEATS_MAX for each in set(segments))
        or any(names.count(each) > REPEATS_MAX for each in set(names))
    )


@lru_cache(maxsize=64)
def read_robots(body: str) -> Protego:
    """The rules of a `robots.txt`, kept for the next pages."""
    return Protego.parse(body)


def may_fetch(body: str, url: str) -> bool:
    return bool(read_robots(body).can_fetch(url, AGENT))


def find_delay(body: str) -> float:
    """What a `robots.txt` asks for between two requests, in seconds."""
    return max(0.0, float(read_robots(body).crawl_delay(AGENT) or 0.0))


def read_retry_after(header: str, now: datetime) -> float:
    """Seconds until somebody may ask again; 0 when nobody says."""
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


def read_sitemap(body: bytes) -> tuple[bool, list[str]]:
    """Whether it lists sitemaps, and the addresses that it has. What is packed is unpacked as far as its bound."""
    if body.startswith(b"\x1f\x8b"):
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, SITEMAP_BYTES_MAX)
        except zlib.error:
            return False, []
    body = body[:SITEMAP_BYTES_MAX]
    if b"<loc" not in body and b":loc" not in body:
        lines = body[: LOCATIONS_MAX * 100].decode("utf-8", "replace").split()
        return False, [line for line in lines if line.startswith(("http://", "https://"))][:LOCATIONS_MAX]
    found = (match[1].decode("utf-8", "replace").strip() for match in _LOCATION.finditer(body))
    locations = [html.unescape(text) for text, _ in zip(found, range(LOCATIONS_MAX), strict=False)]
    return b"<sitemapindex" in body[:4_096], locations


def hash_text(text: str) -> bytes:
    """The same for two texts that have the same words in the same order."""
    return hashlib.sha256(" ".join(_WORD.findall(text.lower())).encode()).digest()


def hash_content(title: str, text: str) -> bytes:
    """The same for what needs no new version."""
    return hashlib.sha256(f"{title}\0{text}".encode()).digest()


def simhash(text: str) -> int | None:
    """64 bits, signed as Postgres has them, of which near texts have nearly all in common. None: too short to tell."""
    words = _WORD.findall(text.lower())[:WORDS_MAX]
    if len(words) < NEAR_WORDS_MIN:
        return None
    parts = {" ".join(words[at : at + _SHINGLE]) for at in range(len(words) - _SHINGLE + 1)}
    digests = b"".join(hashlib.blake2b(part.encode(), digest_size=8).digest() for part in sorted(parts))
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 8), axis=1)
    packed = np.packbits(bits.sum(axis=0) * 2 > len(parts)).tobytes()
    return int.from_bytes(packed, "big", signed=True)
