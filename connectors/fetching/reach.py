"""Where a tenant lets its crawls and tools go: a list of hosts, each with or without a path.

Owns the form of an entry (`docs.example.org`, `*.example.org`, `docs.example.org/guide/*`) and whether an address is
one of a list. Pure. What a list means for whom is not its own: an empty one allows nothing, and who asks says when
none is needed. Addresses are compared in their normal form, so that a path with dots is that which will be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from connectors.fetching.urls import host_of, is_literal, path_of
from runtime.setting_kinds import is_allowed_host

ENTRIES_MAX: Final = 200
"""Most entries of one list: a person wrote them, and each is compared with each address."""
ENTRY_CHARS_MAX: Final = 500
"""Longest entry: the longest name of a host, and as much of a path."""

_ENTRY: Final = re.compile(r"((?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)(/[!-~]*)?")


def read_entry(text: str) -> str:
    """The normal form of an entry. Raises `ValueError`, with the reason."""
    host, slash, path = text.strip().partition("/")
    entry = host.lower().removesuffix(".") + slash + path
    if len(entry) > ENTRY_CHARS_MAX:
        raise ValueError(f"an entry has at most {ENTRY_CHARS_MAX} characters")
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError("it is no host, such as docs.example.org, *.example.org or docs.example.org/guide/*")
    name = found[1].removeprefix("*.")
    if found[1].startswith("*.") and ("." not in name or is_literal(name)):
        raise ValueError("*. stands before a name with a dot in it, such as *.example.org")
    return entry.removesuffix("/") if path == "" else entry


def matches(path: str, pattern: str) -> bool:
    """Whether a path with its query is one of a pattern, in which `*` is anything."""
    return fnmatchcase(path, pattern.replace("[", "[[]").replace("?", "[?]"))


@dataclass(frozen=True, slots=True)
class HostList:
    """A list, as its rows have it."""

    entries: Sequence[str]

    def allows(self, url: str) -> bool:
        """Whether an address in its normal form is one of the list."""
        host, path = host_of(url), path_of(url)
        for entry in self.entries:
            pattern, slash, below = entry.partition("/")
            if is_allowed_host(host, (pattern,)) and (not slash or matches(path, slash + below)):
                return True
        return False
