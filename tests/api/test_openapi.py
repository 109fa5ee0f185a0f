"""The contract: every route documents itself, and the document stands on its own."""

from __future__ import annotations

import http
import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from yaml import safe_load  # type: ignore[import-untyped]

from api.app import create_app
from api.openapi import ALWAYS
from dataflows.catalog import views
from runtime.settings import ApiSettings, Settings
from tests.api.world import World

METHODS = ("get", "post", "put", "patch", "delete")
SCHEMA: dict[str, Any] = json.loads(
    msgspec.json.encode(create_app(Settings(api=ApiSettings(operator_routes=True)), views()).openapi_schema.to_schema())
)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in SCHEMA["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


OPERATIONS = {f"{method.upper()} {path}": (method, path, operation) for method, path, operation in operations()}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = SCHEMA["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_is_openapi_3_1_and_every_reference_leads_somewhere() -> None:
    assert SCHEMA["openapi"].startswith("3.1")
    assert SCHEMA["info"]["description"]
    assert SCHEMA["components"]["securitySchemes"]["bearer"]["bearerFormat"] == "JWT"
    for reference in references(SCHEMA):
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in SCHEMA["components"]["schemas"], name


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)
    assert all(each.isidentifier() and each[0].islower() for each in ids)


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_route_is_documented(name: str) -> None:
    _, path, operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"], "what a reader has to know beyond the summary"
    assert operation["tags"]
    for parameter in operation.get("parameters", ()):
        assert parameter.get("description") or parameter["in"] == "path", parameter["name"]
    if path.startswith("/v1"):
        ((scheme, scopes),) = operation["security"][0].items()
        assert (scheme, len(scopes)) == ("bearer", 1), "which scope, of those in tests/api/auth/test_roles.py"
        assert {str(code) for code in ALWAYS} <= set(operation["responses"])
        if "{" in path:
            assert "404" in operation["responses"]


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_answer_has_an_example_that_fits(name: str) -> None:
    _, _, operation = OPERATIONS[name]
    for code, response in operation["responses"].items():
        assert response["description"], code
        for media_type, content in response.get("content", {}).items():
            (example,) = content["examples"].values()
            value = example["value"]
            schema = resolved(content["schema"])
            if schema.get("type") == "object":
                assert set(schema.get("required", ())) <= set(value), (code, media_type)
                if schema.get("properties"):
                    assert set(value) <= set(schema["properties"]), (code, media_type)
            if int(code) >= 400 and media_type == "application/problem+json":
                assert value["status"] == int(code)
                assert value["title"] == http.HTTPStatus(int(code)).phrase
                assert value["detail"]
                assert value["hint"]


@pytest.mark.parametrize("name", [name for name, (_, _, each) in OPERATIONS.items() if "requestBody" in each])
def test_every_body_has_an_example_that_fits_and_its_errors(name: str) -> None:
    _, _, operation = OPERATIONS[name]
    (content,) = operation["requestBody"]["content"].values()
    example = content["schema"]["examples"][0]
    schema = resolved(content["schema"].get("allOf", [content["schema"]])[0])
    if "oneOf" in schema:  # of a kind each, by the word that names it
        (schema,) = (each for each in schema["oneOf"] if each["properties"]["kind"]["const"] == example["kind"])
    # Clients of other protocols send more than anybody knows, and expect it to be read over.
    assert schema.get("additionalProperties") is (None if "dialects" in operation["tags"] else False)
    assert set(schema.get("required", ())) <= set(example) <= set(schema["properties"])
    assert {"413", "415"} <= set(operation["responses"])


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("POST /v1/adrs", 3 * 1_048_576 + 65_536),
        ("POST /v1/imports/{import_id}/events", 8_388_608),
        ("POST /v1/logs", 65_536),
    ],
)
def test_a_body_has_its_limit(name: str, limit: int) -> None:
    _, _, operation = OPERATIONS[name]
    assert operation["requestBody"]["description"] == f"At most {limit} bytes."
    assert f"{limit} bytes" in operation["responses"]["413"]["description"]


async def test_it_is_served_as_json_and_as_yaml_without_a_token(lonely: World) -> None:
    as_json = await lonely.http.get("/openapi.json")
    assert as_json.json()["paths"].keys() == SCHEMA["paths"].keys()
    as_yaml: httpx.Response = await lonely.http.get("/openapi.yaml")
    assert safe_load(as_yaml.text)["paths"].keys() == SCHEMA["paths"].keys()
    for answer in (as_json, as_yaml):
        assert "https://cdn" not in answer.text
