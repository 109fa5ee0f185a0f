"""How a snapshot of a table and the log of its changes fit together without a gap and without a repetition. Pure.

Owns two things. `PgSnapshot`: what a snapshot's transaction saw, by transaction ids, so that of each record of
the log one can tell whether the rows that were read have it. `ResumeToken`: where a reader is, as text. Refuses I/O and
guesses.

A commit can be in the log before a snapshot that is taken later sees it: Postgres writes the commit to the WAL, and
only then takes the transaction off the list of those that run. So "read the end of the log, then take the snapshot" can
lose a change, and comparing positions cannot help. Transaction ids can: a snapshot sees a committed transaction exactly
when its id is below `xmax` and not among those that ran (`xip`).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID

import msgspec

from connectors.postgres.xid import TransactionSnapshot, whole_xid
from runtime.errors import InvalidInput

XIP_MAX = 200
"""Transactions that ran during a snapshot, kept in a token. More connections than that have no token until the reader
has passed them."""
TOKEN_CHARS_MAX = 4_096
"""A token has about 150 characters, more while a snapshot is being joined in a busy database."""
TOKEN_S_MAX = 24 * 3600
"""A token that is older is not taken: compacted topics keep the deletion of a row for 7 days only."""


@dataclass(frozen=True, slots=True)
class PgSnapshot:
    """A snapshot, as `pg_current_snapshot()` shows it."""

    xmin: int
    xmax: int
    xip: frozenset[int]
    lsn: int
    """A position of the WAL read after it was taken: every commit that it sees is before that."""
    since: int = 0
    """A position read before it was taken; 0: none is known."""

    @classmethod
    def parse(cls, text: str, lsn: int, since: int = 0) -> PgSnapshot:
        """Reads `xmin:xmax:xip,xip`."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(each) for each in xip.split(",") if each), lsn, since)

    def has(self, xid: int | None, lsn: int) -> bool:
        """Whether it sees what transaction `xid`, which committed at `lsn`, did.

        `xid` has 32 bits, and started within 2^31 transactions of the snapshot: Postgres itself stops before it has
        older ones. None: a copy of the table that change capture made, of what every snapshot after `lsn` sees too.
        """
        if xid is None:
            return lsn < self.since
        return TransactionSnapshot(self.xmin, self.xmax, self.xip).sees(whole_xid(xid, self.xmax))


class ResumeToken(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Where a reader is: every change before `offset` was shown, but for those that the snapshot had anyway.

    It is not secret and not signed. Whoever makes one up can only spoil their own reading: the tenant comes from the
    bearer token, never from here, and what is shown is that tenant's alone.
    """

    form: int
    view: str
    tenant_id: UUID
    topic_id: str
    offset: int
    at_s: int
    """When it was given out, in seconds since 1970."""
    whole: bool = True
    """False: the snapshot was not complete yet."""
    xmin: int = 0
    xmax: int = 0
    """0: the snapshot was left behind, every record from `offset` on is news."""
    xip: tuple[int, ...] = ()
    lsn: int = 0

    @property
    def seen(self) -> PgSnapshot | None:
        return PgSnapshot(self.xmin, self.xmax, frozenset(self.xip), self.lsn) if self.xmax else None

    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> ResumeToken | None:
        """None for one of another release. Raises `InvalidInput` for what is none of ours."""
        try:
            if len(text) > TOKEN_CHARS_MAX:
                raise ValueError("too long")
            content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            form = msgspec.json.decode(content, type=list[msgspec.Raw])[:1]
            if form and msgspec.json.decode(form[0], type=int) != FORM:
                return None
            token = msgspec.json.decode(content, type=cls)
            if min(token.offset, token.at_s, token.xmin, token.xmax, token.lsn, *token.xip) < 0:
                raise ValueError("below zero")
            if max(token.offset, token.at_s, token.xmin, token.xmax, token.lsn, *token.xip) >= 1 << 63:
                raise ValueError("beyond all bounds")
        except (ValueError, binascii.Error, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise InvalidInput(
                f"that is no resume token of a live read: {type(error).__name__}",
                hint="send the id of the last event as Last-Event-ID, or nothing to start anew",
            ) from None
        return token


FORM = 1
"""Version of the tokens. A release that needs more in them counts this up, and starts readers with older ones anew."""


def make_token(
    view: str, tenant_id: UUID, topic_id: str, offset: int, at_s: int, *, whole: bool, seen: PgSnapshot | None
) -> ResumeToken:
    """The token of a reader that has come to `offset`; `seen` while it may still meet what its snapshot has."""
    if seen is not None and len(seen.xip) > XIP_MAX:
        seen, whole = None, False
    snapshot = (seen.xmin, seen.xmax, tuple(sorted(seen.xip)), seen.lsn) if seen else ()
    return ResumeToken(FORM, view, tenant_id, topic_id, offset, at_s, whole, *snapshot)
