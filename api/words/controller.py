"""`/v1/words`: a tenant's own words, which its texts are read with.

Owns the HTTP of it. Refuses SQL and rules: `service` and `connectors/reading/own.py` have them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller
from msgspec import Meta

from api.adrs.document import READER
from api.auth.roles import NEEDS_ADMIN
from api.db import tenant_transaction
from api.routes import By, Db, body, get, put
from api.words import service
from connectors.reading import own
from connectors.reading.own import WORDS_MAX, OwnWord

_WORD = {"subject": "status", "name": "accepted", "phrase": "green light"}
_WORDS = {"reader": READER, "words": [_WORD]}


class NewWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    words: Annotated[tuple[OwnWord, ...], Meta(max_length=WORDS_MAX)]


class ReaderWords(msgspec.Struct, frozen=True):
    """`reader` is the version of the reader; `words` are the tenant's own."""

    reader: int
    words: tuple[OwnWord, ...]


class WordController(Controller):
    """Words that a tenant's records say and no language has: of a status, of a field, of a link."""

    path = "/v1/words"
    tags = ("imports",)

    @get("/", "List the tenant's own words", _WORDS, "The words, sorted.")
    async def list_words(self, database: Db, principal: By) -> ReaderWords:
        """The words that are understood beside those of the reader."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return ReaderWords(READER, await service.read(connection, principal.tenant_id))

    @put(
        "/", "Replace the tenant's own words", _WORDS, "The words as they are now.", errors=(413, 415), opt=NEEDS_ADMIN
    )
    async def replace_words(
        self, database: Db, principal: By, data: Annotated[NewWords, body("One word", {"words": [_WORD]})]
    ) -> ReaderWords:
        """Texts that are written from now on are read with them; the job `reread` reads those that are here."""
        words = own.check(data.words)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return ReaderWords(READER, await service.replace(connection, principal.tenant_id, words))
