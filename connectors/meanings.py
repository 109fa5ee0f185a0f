"""What the errors of the libraries that we call mean: how each table of them is written and asked.

Owns the form: under each meaning the names or codes that have it, and for an exception the nearest of its classes that
a table knows. Knows libraries by the names of their classes, so that nobody loads one that it does not use. The tables
are beside the clients: `connectors/postgres/errors.py`, `connectors/kafka/errors.py`, `connectors/http_errors.py`; each
has a test that walks its libraries, so that nothing gets its meaning by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Meaning = TypeVar("Meaning", bound=str)


def by_name(names: Mapping[Meaning, str]) -> dict[str, Meaning]:
    """The meaning of each of the words that stand under it."""
    return {name: meaning for meaning, listed in names.items() for name in listed.split()}


def find_meaning(error: BaseException, table: Mapping[str, Meaning]) -> Meaning | None:
    """What an error means, by package and class of itself or its nearest base; None when the table has none of them."""
    names = (f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(error).__mro__)
    return next((table[name] for name in names if name in table), None)
