"""A schema registry that speaks Confluent's HTTP API: Redpanda's, Confluent's own, Apicurio's `ccompat`.

Owns the requests and what their failures mean. The line that matters is law 7: a schema that the registry *says* it
does not have is the record's fault (`UnknownSchema`, dead letter), and everything else, a 404 from a wrong address or
a proxy included, is the world's (`DependencyUnavailable`, retry). Refuses to decide what is compatible;
`schemas/compatibility.py` does offline, the registry does here. No retries: the caller's loop has them.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import httpx

from connectors.http_errors import translate
from runtime.deadline import Deadline
from runtime.errors import (
    Conflict,
    DependencyUnavailable,
    InvalidInput,
    Misconfigured,
    Undecodable,
    UnknownSchema,
    Unprepared,
)
from runtime.settings import RegistrySettings
from schemas.catalog import Schema

REGISTRY = {"dependency": "registry"}
LEVEL = "FULL_TRANSITIVE"
"""Level of every subject of ours: any reader reads any record, whoever was upgraded first and however old the record
is."""

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
SUBJECT_NOT_FOUND = 40401
VERSION_NOT_FOUND = 40402
SCHEMA_NOT_FOUND = 40403
NO_LEVEL_OF_ITS_OWN = 40408
SCHEMA_BYTES_MAX = 1_048_576
"""Largest answer of a registry. Ours are a few kilobytes; a larger one is not a schema that we should parse."""
SCHEMAS_MAX = 1024
"""Schemas kept by one client: an id names the same schema for ever, so they are asked for once."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One subject after `register`. `changed` is False when the registry had this very schema in this subject."""

    subject: str
    schema_id: int
    changed: bool


class RegistryClient(AbstractContextManager["RegistryClient"]):
    """One registry. Safe for several threads. Close it, or use it as a context manager."""

    def __init__(self, settings: RegistrySettings, transport: httpx.BaseTransport | None = None) -> None:
        password = settings.password.get_secret_value()
        self.url = settings.url.rstrip("/")
        self._timeout_s = settings.timeout_s
        try:
            self._http = httpx.Client(
                base_url=self.url,
                auth=(settings.username, password) if settings.username else None,
                timeout=settings.timeout_s,
                headers={"Accept": f"{CONTENT_TYPE}, application/json", "Content-Type": CONTENT_TYPE},
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise Misconfigured(f"registry.url {self.url} is not a URL: {error}") from None
        self._schema = lru_cache(SCHEMAS_MAX)(self._fetch_schema)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    def schema(self, schema_id: int) -> Schema:
        """The schema with this id (`SchemaLookup`). Raises `UnknownSchema`, or `Undecodable` when it is not Avro."""
        return self._schema(schema_id)

    def _fetch_schema(self, schema_id: int) -> Schema:
        answer = self._call("GET", f"/schemas/ids/{schema_id}", missing=(SCHEMA_NOT_FOUND,))
        if answer is None:
            raise UnknownSchema(
                f"the registry has no schema {schema_id}",
                hint="did the producer register it in another registry?",
                coordinates={"schema_id": schema_id},
            )
        return _avro(schema_id, answer)

    def id_of(self, subject: str, schema: Schema) -> int:
        """The id of `schema` in `subject` (`SchemaLookup`). Not registered is `Unprepared`: whoever starts
        the system registers the contracts first, so this heals without a record being lost."""
        schema_id = self.find(subject, schema)
        if schema_id is None:
            raise Unprepared(
                f"the contract of {subject} is not registered",
                hint="run `adriatic schemas register`",
                coordinates=REGISTRY,
            )
        return schema_id

    def find(self, subject: str, schema: Schema) -> int | None:
        """The id of `schema` in `subject`, or None."""
        missing = (SUBJECT_NOT_FOUND, SCHEMA_NOT_FOUND)
        answer = self._call("POST", f"/subjects/{_quote(subject)}", _body(schema), missing=missing)
        return None if answer is None else int(answer["id"])

    def subjects(self) -> list[str]:
        return sorted(self._call("GET", "/subjects"))

    def versions(self, subject: str) -> list[int]:
        """The versions of `subject`, oldest first; empty when there is no such subject."""
        return list(self._call("GET", f"/subjects/{_quote(subject)}/versions", missing=(SUBJECT_NOT_FOUND,)) or ())

    def version(self, subject: str, version: int) -> Schema:
        """The schema that `subject` has in `version`, one of `versions`."""
        answer = self._call("GET", f"/subjects/{_quote(subject)}/versions/{version}")
        return _avro(answer["id"], answer)

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level; None when it follows the registry's."""
        missing = (SUBJECT_NOT_FOUND, NO_LEVEL_OF_ITS_OWN)
        answer = self._call("GET", f"/config/{_quote(subject)}", missing=missing)
        return None if answer is None else str(answer["compatibilityLevel"])

    def check(self, subject: str, schema: Schema) -> list[str]:
        """Why the registry would refuse `schema` in `subject` at its level; empty when it would take it."""
        path = f"/compatibility/subjects/{_quote(subject)}/versions"
        missing = (SUBJECT_NOT_FOUND, VERSION_NOT_FOUND)
        answer = self._call("POST", f"{path}?verbose=true", _body(schema), missing=missing)
        if answer is None or answer["is_compatible"]:
            return []
        return [str(message) for message in answer.get("messages") or ("it does not say why",)]

    # --- writing ----------------------------------------------------------------------------------------------------

    def register(self, subject: str, schema: Schema) -> Registered:
        """Make `schema` the newest version of `subject`, unless it has it. Raises `Conflict` when it is not
        compatible."""
        schema_id = self.find(subject, schema)
        if schema_id is not None:
            return Registered(subject, schema_id, changed=False)
        answer = self._call("POST", f"/subjects/{_quote(subject)}/versions", _body(schema))
        return Registered(subject, int(answer["id"]), changed=True)

    def set_level(self, subject: str) -> bool:
        """Give `subject` our compatibility level. False when it had it."""
        if self.level(subject) == LEVEL:
            return False
        self._call("PUT", f"/config/{_quote(subject)}", {"compatibility": LEVEL})
        return True

    # --- the wire ---------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any = None, *, missing: tuple[int, ...] = ()) -> Any:
        """The parsed answer; None when the registry said one of the error codes in `missing`."""
        with translate(f"the schema registry at {self.url}", "is it running, and is registry.url right?", REGISTRY):
            response, content = self._send(method, path, body)
        answer = _parse(content)
        if response.is_success and answer is not None:
            return answer
        code = answer.get("error_code") if isinstance(answer, dict) else None
        if code in missing:
            return None
        raise self._error(response, code, answer)

    def _send(self, method: str, path: str, body: Any) -> tuple[httpx.Response, bytes]:
        """The answer and what it brought, at most a byte more than may be read. The client's own time-out is for each
        wait: a server that sends a byte now and then would hold a flow for ever."""
        deadline = Deadline.after(self._timeout_s)
        content = b""
        with self._http.stream(method, path, json=body) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > SCHEMA_BYTES_MAX:
                    return response, content[: SCHEMA_BYTES_MAX + 1]
                if deadline.passed:
                    raise httpx.ReadTimeout(f"not read within {self._timeout_s:g} s", request=response.request)
        return response, content

    def _error(self, response: httpx.Response, code: Any, answer: Any) -> Exception:
        said = answer.get("message", "") if isinstance(answer, dict) else ""
        where = f"{response.request.method} {response.request.url.path}"
        if response.status_code == 409:
            return Conflict(
                f"the registry refuses {where}: {said}", hint="`adriatic schemas check` says which rule it breaks"
            )
        if response.status_code == 422 and code is not None:
            return InvalidInput(f"the registry does not take {where}: {said}")
        detail = f"the schema registry at {self.url} answers {response.status_code} to {where} {said}".rstrip()
        if response.status_code in (401, 403):
            hint = "are registry.username and registry.password right?"
            return Unprepared(detail, hint=hint, coordinates=REGISTRY)
        hint = "is registry.url the address of the registry's API?"
        return DependencyUnavailable(detail, hint=hint, coordinates=REGISTRY)


def _parse(content: bytes) -> Any:
    """The body as JSON, or None when it is none."""
    if len(content) > SCHEMA_BYTES_MAX:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return None


def _avro(schema_id: int, answer: Any) -> Schema:
    kind = answer.get("schemaType") or "AVRO"
    coordinates = {"schema_id": schema_id}
    if kind != "AVRO":
        raise Undecodable(f"schema {schema_id} is {kind}, not Avro", coordinates=coordinates)
    if answer.get("references"):
        raise Undecodable(
            f"schema {schema_id} refers to other subjects",
            hint="register it with everything that it names inside",
            coordinates=coordinates,
        )
    try:
        parsed = json.loads(answer["schema"])
    except (ValueError, KeyError, TypeError):
        raise Undecodable(f"schema {schema_id} is not JSON", coordinates=coordinates) from None
    schema: Schema = parsed if isinstance(parsed, dict) else {"type": parsed}
    return schema


def _body(schema: Schema) -> dict[str, str]:
    return {"schema": json.dumps(schema, separators=(",", ":"), ensure_ascii=False)}


def _quote(subject: str) -> str:
    return quote(subject, safe="")
