"""The subject of a rule about spending: the organisation, a user, or a credential.

Owns the level and the subject of budgets and of stops, and whether they fit together. Refuses to ask whether a
credential exists: what it is called is for the identity provider, and one that was not seen yet may come.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from api.db import Connection
from runtime.errors import InvalidInput, NotFound
from schemas import text

Level = Annotated[
    Literal["org", "user", "key"],
    Meta(description="Whose spending counts: the organisation's, a user's, or a credential's."),
]
Subject = Annotated[
    str,
    Meta(
        pattern=text.LINE,
        max_length=255,
        description="The user's id, or the credential's `key_id` as usage shows it; empty for `org`.",
    ),
]


async def require_subject(connection: Connection, tenant_id: UUID, level: Level, subject: str) -> str:
    """The subject as it is stored. Raises `InvalidInput` for one that does not fit the level, and `NotFound` for a user
    whom the tenant does not have."""
    subject = _check(level, subject)
    if level == "user" and not await connection.fetchval(
        "select exists (select from app.users where tenant_id = $1 and user_id = $2)", tenant_id, UUID(subject)
    ):
        raise NotFound(f"there is no user {subject} here", hint="GET /v1/usage?by=user names those who asked")
    return subject


def _check(level: Level, subject: str) -> str:
    if level == "org":
        if subject:
            raise InvalidInput("what is of the organisation has no subject", hint="leave it out")
        return ""
    if not subject:
        raise InvalidInput(f"what is of a {level} needs a subject", hint="the user's id, or the key_id")
    if level == "key":
        return subject
    try:
        return str(UUID(subject))
    except ValueError:
        raise InvalidInput(f"{subject!r} is not the id of a user", hint="it is a UUID") from None
