"""Vectors come back as they were sent, in both directions in binary."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from connectors.postgres.vectors import read, send
from runtime.settings import Settings

pytestmark = pytest.mark.stack


def test_a_vector_comes_back_bit_by_bit(fresh_database: Settings) -> None:
    sent = np.random.default_rng(1).standard_normal(384).astype(np.float32)
    sent[:3] = 0, 1e-38, 1e9
    with psycopg.connect(fresh_database.postgres.dsn("flows")) as connection:
        cursor = connection.cursor(binary=True)
        cursor.execute("select v, v <=> %s::vector from (values (%s::vector)) as one (v)", [send(sent)] * 2)
        stored, distance = cursor.fetchone() or (b"", 1.0)
    assert (read(stored) == sent).all()
    assert distance == pytest.approx(0, abs=1e-6)
