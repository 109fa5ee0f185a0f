"""A query that is one name, as programs, versions and paths have them: `pg_logical_emit_message`, Node.js, a/b, v1.2.3.

Owns when a query is such a name, and how what has it in one piece is asked for. What is so found is shown first, by the
place that `service` gives it: the parts of a name are words as well, and a text may say these more often than the one
that has the name. Refuses the names of ADRs (`query`), and names among other words, which say what they are for.
"""

from __future__ import annotations

from typing import NamedTuple

from api.search.query import Query
from schemas.analysis import analyse_phrase, analyse_query

SIGNS = "()[]{}<>,;:!?'\"`*|=~^…\\&%$§"
"""What may stand around a name without being part of it."""


class Name(NamedTuple):
    """Both as they are analysed: the parts one behind the other, and all in one. One may be empty."""

    phrase: str = ""
    in_one: str = ""


def find_name(query: Query) -> Name | None:
    """The name that the query is, or None."""
    if len(query.plain) != 1 or query.text != query.plain[0]:
        return None
    return read_name(query.text.strip(SIGNS).rstrip("."))


def read_name(core: str) -> Name | None:
    """How a word is asked for in one piece; None for a plain word, which has no parts."""
    if not core or (core.isalpha() and (core[1:].islower() or core.isupper())):
        return None
    phrase = analyse_phrase(core)
    parts = phrase.split()
    others = analyse_query(core).split()[len(parts) :]
    if core[0] == "." and len(parts) == 1:
        return Name(in_one=" ".join(others[:1]))
    in_one = others[0] if others and len(parts) > 1 and others[0].lower() == "".join(parts).lower() else ""
    return Name(phrase, in_one)
