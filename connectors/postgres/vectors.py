"""Vectors between numpy and Postgres, as pgvector's own values.

Owns how psycopg sends a `Vector`: in binary, four bytes a number, on every connection. No type is looked up first,
because the server knows what the column takes; a binary cursor gives the same bytes back (`read`). Refuses to compare
vectors: the database does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import Vector
from pgvector.psycopg.vector import VectorBinaryDumper

Array = npt.NDArray[np.float32]

psycopg.adapters.register_dumper(Vector, VectorBinaryDumper)


def send(array: Array) -> Vector:
    """An array as a parameter."""
    return Vector(array)


def read(value: bytes) -> Array:
    """What a binary cursor gives of a vector."""
    array: Array = Vector.from_binary(value).to_numpy()
    return array
