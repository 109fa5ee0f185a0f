"""Who may do what: roles from claims, and the scope of every route, as the docs have it and as the API enforces it."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from litestar.routes import HTTPRoute

from adriatic.cli import keys as cli
from api.app import create_app
from api.auth.roles import GIVEN, SCOPES, Scope, read_role, require, scope_of
from dataflows.catalog import views
from runtime.errors import Forbidden
from runtime.settings import ApiSettings, AuthSettings, CallerRole, Settings
from tests.api.test_isolation import NOBODY, asking, filled, operations
from tests.api.world import Caller, World
from tests.docs.markdown import ROOT

PAGE = ROOT / "docs/how-to/roles-and-keys.md"
BY_ROLE = AuthSettings(admin_values=("boss", "root"), service_values=("robot",))
OPEN = BY_ROLE.model_copy(update={"default_role": "admin"})
INSIDE = BY_ROLE.model_copy(update={"role_claim": "realm_access.roles"})
NAMED = BY_ROLE.model_copy(update={"role_claim": "https://example.com/roles"})


def written() -> dict[str, Scope]:
    """The scope of each route, as the page has it."""
    _, _, table = PAGE.read_text(encoding="utf-8").partition("## Every route")
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    return {route.strip(" `"): msgspec.convert(scope.strip(" `"), Scope) for route, scope in rows}


@pytest.mark.parametrize(
    ("claims", "settings", "role"),
    [
        ({}, BY_ROLE, "member"),
        ({}, OPEN, "admin"),
        ({"roles": None}, OPEN, "admin"),
        ({"roles": []}, OPEN, "member"),
        ({"roles": ["viewer"]}, OPEN, "member"),
        ({"roles": 7}, OPEN, "member"),
        ({"roles": {"boss": True}}, BY_ROLE, "member"),
        ({"roles": ["boss"]}, BY_ROLE, "admin"),
        ({"roles": ["robot", "root"]}, BY_ROLE, "admin"),
        ({"roles": ["robot", 7, None]}, BY_ROLE, "service"),
        ({"roles": "viewer robot"}, BY_ROLE, "service"),
        ({"roles": "bosses"}, BY_ROLE, "member"),
        ({"roles": "BOSS"}, BY_ROLE, "member"),
        ({"roles": ["admin"]}, BY_ROLE, "member"),
        ({"realm_access": {"roles": ["boss"]}}, INSIDE, "admin"),
        ({"realm_access": ["boss"]}, INSIDE, "member"),
        ({"realm_access.roles": ["robot"], "realm_access": {"roles": ["boss"]}}, INSIDE, "service"),
        ({"https://example.com/roles": ["boss"]}, NAMED, "admin"),
        ({"roles": ["boss"]}, NAMED, "member"),
        ({"roles": [f"x{number}" for number in range(1000)] + ["boss"]}, BY_ROLE, "member"),
    ],
)
def test_a_role_is_read_from_the_claim(claims: dict[str, Any], settings: AuthSettings, role: CallerRole) -> None:
    assert read_role(claims, settings) == role


def test_no_role_may_what_an_admin_may_not() -> None:
    assert set(GIVEN) == set(get_args(CallerRole))
    assert all(given <= GIVEN["admin"] for given in GIVEN.values())
    assert [role for role, given in GIVEN.items() if "admin" in given] == ["admin"]


def test_a_refusal_says_which_role_it_takes_and_what_there_is() -> None:
    require({"read", "admin"}, "admin")
    with pytest.raises(Forbidden, match=r"needs the role admin or service \(scope ingest\), and you have chat, read"):
        require({"read", "chat"}, "ingest")
    with pytest.raises(Forbidden, match="and you have none"):
        require((), "read")


def test_the_command_line_names_the_scopes() -> None:
    assert cli.SCOPES == SCOPES


def test_every_route_needs_the_scope_that_the_page_says() -> None:
    app = create_app(Settings(api=ApiSettings(operator_routes=True)), views())
    found = {
        f"{method} {route.path_format}": scope_of(handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if handler.include_in_schema and not handler.opt.get("public")
    }
    assert found == written(), "a route that is new or changed has its scope in the table of docs/how-to"
    for path, item in app.openapi_schema.to_schema()["paths"].items():
        for method, operation in item.items():
            scope = found.get(f"{method.upper()} {path}")
            assert operation["security"] == ([{"bearer": [scope]}] if scope else [])


async def key_of(tenant: Caller, *scopes: Scope) -> Caller:
    made = await tenant.post("/v1/keys", {"name": " ".join(scopes), "scopes": scopes})
    assert made.status_code == 201, made.text
    return Caller(tenant.http, tenant.tenant_id, made.json()["secret"])


@pytest.mark.stack
async def test_every_route_refuses_who_has_every_other_scope(world: World, tenant: Caller) -> None:
    lacking = {scope: await key_of(tenant, *(other for other in SCOPES if other != scope)) for scope in sorted(SCOPES)}
    tried = 0
    for method, path, operation in operations(world, endless=True):
        scope = written()[f"{method} {path}"]
        refused = await lacking[scope].request(method, filled(path, NOBODY), **asking(operation, NOBODY))
        assert refused.status_code == 403, f"{method} {path}: {refused.text}"
        assert f'error="insufficient_scope", scope="{scope}"' in refused.headers["www-authenticate"]
        told = refused.json()
        text = told["detail"] if "detail" in told else told["error"]["message"]
        assert "admin" in text, "the role that it takes"
        assert f"(scope {scope})" in text
        tried += 1
    assert tried == len(written())


@pytest.mark.stack
async def test_every_route_takes_who_has_its_scope_alone(world: World, tenant: Caller) -> None:
    having = {scope: await key_of(tenant, scope) for scope in SCOPES}
    for method, path, operation in operations(world):
        if operation["operationId"] == "createJob":
            continue  # what it needs depends on the kind
        caller = having[written()[f"{method} {path}"]]
        answer = await caller.request(method, filled(path, NOBODY), **asking(operation, NOBODY))
        beyond = "a key may not have the scope" in answer.text  # it cannot make one that may what it may not
        assert beyond or answer.status_code not in (401, 403), f"{method} {path}: {answer.text}"


@pytest.mark.stack
async def test_a_job_of_the_whole_tenant_is_for_admins_and_one_of_a_document_is_not(tenant: Caller) -> None:
    writer = await key_of(tenant, "write")
    for kind in ("reindex", "reread", "reread_documents"):
        assert (await writer.post("/v1/jobs", {"kind": kind})).status_code == 403
        made = await tenant.post("/v1/jobs", {"kind": kind})
        assert made.status_code == 201
        # Or whoever tests its worker on this database would get it.
        assert (await tenant.post(f"/v1/jobs/{made.json()['job_id']}/cancel", None)).is_success
    uploaded = await writer.request("POST", "/v1/documents", files={"file": ("x.txt", b"x")})
    asked = {"kind": "parse_document", "params": {"document_id": uploaded.json()["id"]}}
    assert (await writer.post("/v1/jobs", asked)).status_code == 201


@pytest.mark.stack
@pytest.mark.parametrize("role", get_args(CallerRole))
async def test_a_token_has_the_scopes_of_its_role(world: World, tenant: Caller, role: CallerRole) -> None:
    caller = world.caller(tenant.tenant_id, subject=role, role=role)
    statuses = {
        "read": (await caller.get("/v1/adrs")).status_code,
        "write": (await caller.post("/v1/adrs", {"body": "# A"})).status_code,
        "chat": (await caller.get("/v1/models")).status_code,
        "ingest": (await caller.post("/v1/imports", {"source": "x"})).status_code,
        "admin": (await caller.get("/v1/keys")).status_code,
    }
    assert {scope for scope, status in statuses.items() if status < 300} == GIVEN[role]
    assert {status for status in statuses.values() if status >= 300} <= {403}
