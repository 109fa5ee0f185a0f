"""The Avro contracts of this release: `schemas/avro/<topic>-key.avsc` and `<topic>-value.avsc`.

Owns where they are and what subject they are registered under (the topic and its side: TopicNameStrategy). Refuses to
talk to a registry: `connectors/registry.py` does. Topics without a schema are those of dead letters (`<topic>.dlq`):
they carry the record's own bytes, whatever these are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from runtime.errors import NotFound

AVRO_FOLDER = Path(__file__).parent / "avro"
SUFFIX = ".avsc"

Schema = Mapping[str, Any]
"""An Avro schema as parsed JSON; every contract is a record."""
Side = Literal["key", "value"]


def subject_of(topic: str, side: Side) -> str:
    return f"{topic}-{side}"


def topic_of(subject: str) -> tuple[str, Side]:
    """The topic and side that a subject speaks of."""
    topic, _, side = subject.rpartition("-")
    if side not in ("key", "value") or not topic:
        raise NotFound(f"{subject} is not the name of a subject", hint="<topic>-key or <topic>-value")
    return topic, side  # type: ignore[return-value]  # narrowed by the line above


def subjects(folder: Path = AVRO_FOLDER) -> tuple[str, ...]:
    """Every subject that has a contract, sorted."""
    return tuple(sorted(file.name.removesuffix(SUFFIX) for file in folder.glob(f"*{SUFFIX}")))


def schema(subject: str) -> Schema:
    """The contract of `subject`. Raises `NotFound`. The value is shared: do not change it."""
    return _read(AVRO_FOLDER / f"{subject}{SUFFIX}", subject)


def load(folder: Path = AVRO_FOLDER) -> dict[str, Schema]:
    """Every contract by subject."""
    return {subject: _read(folder / f"{subject}{SUFFIX}", subject) for subject in subjects(folder)}


@lru_cache(maxsize=1024)
def _read(file: Path, subject: str) -> Schema:
    try:
        parsed: Schema = json.loads(file.read_text())
    except FileNotFoundError:
        raise NotFound(
            f"no contract for {subject}", hint=f"every record has a schema: add schemas/avro/{subject}{SUFFIX}"
        ) from None
    return parsed


def dumps(schema: Schema) -> str:
    """How a contract is written to its file: stable, so that equal schemas are equal files."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
