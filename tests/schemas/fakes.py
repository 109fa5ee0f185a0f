"""A registry in memory: what `schemas.codec.SchemaLookup` asks for, and nothing else."""

from __future__ import annotations

from runtime.errors import DependencyUnavailable, UnknownSchema
from schemas.catalog import Schema


class MemoryRegistry:
    """Ids count from 1. `away` makes every answer an outage; `asked` counts requests for schemas by id."""

    def __init__(self) -> None:
        self.schemas: list[Schema] = []
        self.away = False
        self.asked = 0

    def schema(self, schema_id: int) -> Schema:
        self.asked += 1
        self._answer()
        if not 0 < schema_id <= len(self.schemas):
            raise UnknownSchema(f"no schema {schema_id}")
        return self.schemas[schema_id - 1]

    def id_of(self, subject: str, schema: Schema) -> int:
        self._answer()
        if schema not in self.schemas:
            self.schemas.append(schema)
        return self.schemas.index(schema) + 1

    def _answer(self) -> None:
        if self.away:
            raise DependencyUnavailable("the registry is away")
