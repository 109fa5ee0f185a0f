"""Fixtures of the schemas' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.settings import Settings
from tests import databases


@pytest.fixture(scope="module")
def database(stack: Settings, template_database: str) -> Iterator[Settings]:
    """One migrated database for a module: each test rolls back what it does."""
    with databases.fresh(stack, template_database, "rights") as settings:
        yield settings
