"""ETags and preconditions: how a caller says which version it has in hand (RFC 9110, sections 8.8.3 and 13)."""

from __future__ import annotations

import hashlib
import re

import msgspec

from api.adrs.schemas import VERSION_MAX, Adr
from api.adrs.service import ANY_VERSION
from api.requests import refuse
from runtime.errors import InvalidInput

_TAG = re.compile(r'(?:W/)?"(\d{1,10})(?:-[0-9a-f]+)?"')


def etag(adr: Adr) -> str:
    """`"<version>-<hash>"`. The hash is of the whole answer, so that a new tag makes a cached answer stale too.

    For a change only the version counts: tags do not belong to the text that a caller worked on.
    """
    return f'"{adr.version}-{hashlib.sha256(msgspec.json.encode(adr)).hexdigest()[:16]}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether the caller has this answer already."""
    if if_none_match is None:
        return False
    candidates = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in candidates or tag in candidates


def read_expected(if_match: str | None, named: int | None) -> int | None:
    """The version that a change was made from, by the header or by the body; None when neither says."""
    if if_match is None:
        return named
    from_header = _parse(if_match.strip())
    if named is not None and from_header not in (ANY_VERSION, named):
        raise _refusal(f"If-Match says version {from_header}, expected_version says {named}")
    return from_header if named is None else named


def _parse(if_match: str) -> int:
    if if_match == "*":
        return ANY_VERSION
    match = _TAG.fullmatch(if_match)
    if match is None or not 1 <= int(match[1]) <= VERSION_MAX:
        raise _refusal(f"If-Match {if_match[:80]} is not one ETag of an ADR")
    return int(match[1])


def _refusal(detail: str) -> InvalidInput:
    hint = 'send the ETag of the answer that the change was made from, such as "3-0123456789abcdef", or "3"'
    return refuse(detail, hint, "header", ("if-match", detail))
