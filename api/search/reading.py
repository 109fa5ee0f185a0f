"""What a query is taken for, by the words that the tenant has: misspelt words corrected, the unfinished one completed.

Owns the order: an unfinished word is completed where anything begins so; one that is known in another form by its stem
is left alone, as is a completed one; any other may be corrected. Refuses to find: what comes of it is a query again,
with words of the index beside those that were typed. Next: `spelling`, `beginnings` and `inflected`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from api.db import Connection
from api.search import beginnings, inflected, spelling
from api.search.query import Query
from api.search.spelling import Corrected
from schemas.analysis import analyse_query

OF_THE_INDEX: Final = "\x1e"
"""What stands before each word of the index in a query (`mv.search_terms`). No analysed text has one."""


class QueryReading(NamedTuple):
    """`text` is what is embedded, `words` what is ranked by: both as they were meant, as far as that is known. `terms`
    are these words as they are indexed."""

    text: str
    words: str
    terms: tuple[str, ...] = ()
    corrected: tuple[Corrected, ...] = ()
    completed: tuple[str, ...] = ()


async def read(connection: Connection, query: Query, *, typing: bool, correct: bool) -> QueryReading:
    """Read a query in the tenant's transaction."""
    unfinished = query.unfinished if typing else ""
    completed = await beginnings.complete(connection, unfinished) if unfinished else []
    stems = await inflected.find_stems(connection, query.text, query.plain)
    left_alone = spelling.find_correctable([*stems, *([unfinished] if completed else [])])
    corrected = await spelling.correct(connection, query.plain, list(left_alone)) if correct else []
    text = query.text
    for each in corrected:
        text = each.called.join(re.split(rf"(?<!\w){re.escape(each.typed)}(?!\w)", text))
    if corrected:
        stems |= await inflected.find_stems(connection, text, [each.called for each in corrected])
    stemmed = [stem for each in stems.values() for stem in each]
    words = OF_THE_INDEX.join([analyse_query(text), *completed, *(each.lexeme for each in corrected), *stemmed])
    terms = await connection.fetchval("select mv.search_terms($1)", words)
    if completed and text.endswith(unfinished):
        # A model knows words and no beginnings of words.
        text = text[: -len(unfinished)] + completed[0]
    return QueryReading(text, words, tuple(terms), tuple(corrected), tuple(completed))
