"""`/v1/keys`: what a key is good for, how it ends, and what nobody learns of it."""

from __future__ import annotations

import asyncio
import hmac
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.auth import api_keys
from api.keys import service
from runtime.clock import ManualClock
from runtime.errors import Unauthenticated
from schemas.keys import ApiKeySecret, new_key_id
from tests.api.world import Caller, World
from tests.databases import ask
from tests.patience import soon

pytestmark = pytest.mark.stack

KEYS = "/v1/keys"


async def make(tenant: Caller, *scopes: str, **more: Any) -> dict[str, Any]:
    made = await tenant.post(KEYS, {"name": "web-app", "scopes": scopes or ("read",), **more})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


async def rotate(tenant: Caller, shown: dict[str, Any], grace_s: int) -> dict[str, Any]:
    answer = await tenant.post(f"{KEYS}/{shown['api_key']['key_id']}/rotate", {"grace_s": grace_s})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def holder(tenant: Caller, shown: dict[str, Any]) -> Caller:
    return Caller(tenant.http, tenant.tenant_id, shown["secret"])


async def status(tenant: Caller, shown: dict[str, Any]) -> int:
    return (await holder(tenant, shown).get("/v1/adrs")).status_code


async def listed(tenant: Caller) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await tenant.get(KEYS)).json()["items"]
    return items


# --- what it is good for --------------------------------------------------------------------------------------------


async def test_a_key_acts_for_its_tenant_as_a_user_of_its_own(tenant: Caller) -> None:
    shown = await make(tenant, "write", "read")
    assert shown["api_key"]["scopes"] == ["read", "write"]
    assert shown["api_key"]["state"] == "good"
    mine = await tenant.create("# By a person\n")
    theirs = await holder(tenant, shown).create("# By a program\n")
    assert {each["adr_id"] for each in (await holder(tenant, shown).get("/v1/adrs")).json()["items"]} == {
        mine["adr_id"],
        theirs["adr_id"],
    }
    versions = (await tenant.get(f"/v1/adrs/{theirs['adr_id']}/versions")).json()["items"]
    assert [version["author"] for version in versions] == ["web-app"]


async def test_what_it_asks_is_counted_as_the_keys(tenant: Caller, world: World) -> None:
    shown = await make(tenant, "chat")
    assert (await holder(tenant, shown).post("/v1/chat/stream", {"question": "Why?"})).status_code == 200
    statement = (
        "select e.key_id, u.subject from app.usage_events e join app.users u using (tenant_id, user_id) "
        "where tenant_id = %s"
    )
    dsn = world.settings.postgres.dsn("admin")
    # It is settled after the answer has come.
    await soon(lambda: ask(dsn, statement, tenant.tenant_id), "its row is in the ledger")
    key_id = shown["api_key"]["key_id"]
    assert ask(dsn, statement, tenant.tenant_id) == [(key_id, f"api-key:{key_id}")]


async def test_it_is_sent_as_clients_of_anthropic_send_it(tenant: Caller) -> None:
    shown = await make(tenant, "chat")
    body = {"model": "adriatic", "max_tokens": 100, "messages": [{"role": "user", "content": "Why?"}]}
    answer = await tenant.http.post("/v1/messages", json=body, headers={"x-api-key": shown["secret"]})
    assert answer.status_code == 200, answer.text
    refused = await tenant.http.post("/v1/messages", json=body, headers={"x-api-key": shown["secret"][:-1] + "g"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    elsewhere = await tenant.http.get("/v1/adrs", headers={"x-api-key": shown["secret"]})
    assert elsewhere.status_code == 401, "only where those clients send it"


async def test_a_key_may_make_no_key_that_may_more(tenant: Caller, world: World) -> None:
    admin = holder(tenant, await make(tenant, "admin", "read"))
    refused = await admin.post(KEYS, {"name": "x", "scopes": ["read", "write"]})
    assert refused.status_code == 403
    assert "write" in refused.json()["detail"]
    assert 'scope="write"' in refused.headers["www-authenticate"]
    assert (await admin.post(KEYS, {"name": "x", "scopes": ["read", "admin"]})).status_code == 201
    member = world.caller(tenant.tenant_id, role="member")
    assert (await member.post(KEYS, {"name": "x", "scopes": ["read"]})).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": " "},
        {"name": "x" * 201},
        {"scopes": []},
        {"scopes": ["all"]},
        {"scopes": ["read"] * 6},
        {"days": 0},
        {"days": service.DAYS_MAX + 1},
        {"secret": "mine"},
    ],
)
async def test_what_is_no_key_is_refused_with_its_field(tenant: Caller, change: dict[str, Any]) -> None:
    refused = await tenant.post(KEYS, {"name": "x", "scopes": ["read"], **change})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-input")
    assert next(iter(change)) in refused.json()["detail"]
    assert await listed(tenant) == []


# --- what nobody learns ---------------------------------------------------------------------------------------------


async def test_only_the_hash_of_a_secret_is_kept(tenant: Caller, world: World) -> None:
    shown = await make(tenant)
    secret = ApiKeySecret.parse(shown["secret"])
    async with world.admin() as admin:
        rows = await admin.fetch(
            "select s.secret_hash, to_jsonb(k)::text || to_jsonb(s)::text as all "
            "from app.api_keys k join app.api_key_secrets s using (tenant_id, key_id) where tenant_id = $1",
            tenant.tenant_id,
        )
    assert [bytes(row["secret_hash"]) for row in rows] == [secret.digest]
    assert secret.secret.hex() not in rows[0]["all"]
    assert secret.secret.hex() not in (await tenant.get(KEYS)).text
    assert secret.digest.hex() not in (await tenant.get(KEYS)).text


async def test_whatever_is_wrong_with_a_key_the_refusal_is_the_same(tenant: Caller, world: World) -> None:
    other = await world.tenant()
    good, revoked, expired = await make(tenant), await make(tenant), await make(tenant)
    await tenant.delete(f"{KEYS}/{revoked['api_key']['key_id']}")
    async with world.admin() as admin:
        await admin.execute(
            "update app.api_key_secrets set good_until = now() where key_id = $1", expired["api_key"]["key_id"]
        )
    key = ApiKeySecret.parse(good["secret"])
    elsewhere = ApiKeySecret(key.key_id.replace(tenant.tenant_id.hex, other.tenant_id.hex), key.secret)
    presented = {
        "revoked": revoked["secret"],
        "expired": expired["secret"],
        "another secret": str(ApiKeySecret.new(key.key_id)),
        "another id": str(ApiKeySecret(new_key_id(tenant.tenant_id), key.secret)),
        "of another tenant": str(elsewhere),
        "of no tenant": str(ApiKeySecret.new(new_key_id(uuid4()))),
        "cut": good["secret"][:-1],
        "its prefix": "adr_",
        "its id": f"adr_{key.key_id}",
        "its hash": f"adr_{key.key_id}_{key.digest.hex()}",
    }
    told = {}
    for what, secret in presented.items():
        answer = await Caller(tenant.http, tenant.tenant_id, secret).get("/v1/adrs")
        assert answer.status_code == 401, what
        told[what] = (answer.headers["www-authenticate"], answer.json()["detail"], answer.json()["hint"])
        assert 'error="invalid_token"' in told[what][0]
    assert len(set(told.values())) == 1
    assert await status(tenant, good) == 200


async def test_hashes_are_compared_in_constant_time_and_all_of_them(
    tenant: Caller, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = await make(tenant)
    await rotate(tenant, shown, 600)
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def counted(stored: bytes, presented: bytes) -> bool:
        compared.append(stored)
        return compare(stored, presented)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    key_id = shown["api_key"]["key_id"]
    for secret in (shown["secret"], str(ApiKeySecret.new(key_id))):
        compared.clear()
        await Caller(tenant.http, tenant.tenant_id, secret).get("/v1/adrs")
        assert len(set(compared)) == len(compared) == 2, "the first that fits does not end it"


async def test_keys_of_another_tenant_are_not_there(tenant: Caller, world: World) -> None:
    shown, other = await make(tenant), await world.tenant()
    key_id = shown["api_key"]["key_id"]
    assert await listed(other) == []
    assert (await other.delete(f"{KEYS}/{key_id}")).status_code == 404
    assert (await other.post(f"{KEYS}/{key_id}/rotate", {})).status_code == 404
    assert await status(tenant, shown) == 200
    async with world.app.state.database.connection() as connection:
        for table in ("app.api_keys", "app.api_key_secrets"):
            await connection.execute("select set_config('app.tenant_id', $1, false)", str(other.tenant_id))
            assert await connection.fetchval(f"select count(*) from {table}") == 0
            await connection.execute("select set_config('app.tenant_id', $1, false)", str(tenant.tenant_id))
            assert await connection.fetchval(f"select count(*) from {table}") == 1


async def test_a_token_cannot_be_that_of_a_keys_user(tenant: Caller, world: World) -> None:
    key_id = (await make(tenant))["api_key"]["key_id"]
    forged = await world.caller(tenant.tenant_id, subject=f"api-key:{key_id}").get("/v1/adrs")
    assert forged.status_code == 401
    assert "subjects that begin with api-key:" in forged.json()["detail"]


# --- how it ends ----------------------------------------------------------------------------------------------------


async def test_a_revoked_key_is_refused_and_stays_in_the_list(tenant: Caller) -> None:
    shown, other = await make(tenant, name="first"), await make(tenant, name="second")
    path = f"{KEYS}/{shown['api_key']['key_id']}"
    assert await status(tenant, shown) == 200
    assert (await tenant.delete(path)).status_code == 204
    assert await status(tenant, shown) == 401
    assert await status(tenant, other) == 200
    first = await listed(tenant)
    assert [(key["name"], key["state"]) for key in first] == [("second", "good"), ("first", "revoked")]
    assert first[1]["revoked_by"] == first[1]["created_by"]
    assert (await tenant.delete(path)).status_code == 204
    assert await listed(tenant) == first, "when it was revoked, and by whom, stays"
    gone = await tenant.post(f"{path}/rotate", {})
    assert (gone.status_code, gone.json()["code"]) == (410, "gone")
    for name in ("nothing", str(uuid4()), "%20"):
        assert (await tenant.delete(f"{KEYS}/{name}")).status_code == 404


async def test_a_secret_ends_after_its_days_and_rotating_gives_as_many_again(tenant: Caller, world: World) -> None:
    shown = await make(tenant, days=7)

    def lives(key: dict[str, Any]) -> timedelta:
        newest = key["secrets"][0]
        return datetime.fromisoformat(newest["good_until"]) - datetime.fromisoformat(newest["created_at"])

    assert lives(shown["api_key"]) == timedelta(days=7)
    async with world.admin() as admin:
        await admin.execute(
            "update app.api_key_secrets set good_until = now() - interval '1 s' where key_id = $1",
            shown["api_key"]["key_id"],
        )
    assert await status(tenant, shown) == 401
    assert [key["state"] for key in await listed(tenant)] == ["expired"]
    anew = await rotate(tenant, shown, 600)
    assert (anew["api_key"]["state"], lives(anew["api_key"])) == ("good", timedelta(days=7))
    assert (await status(tenant, anew), await status(tenant, shown)) == (200, 401)


async def test_while_a_key_is_rotated_both_secrets_are_good(tenant: Caller) -> None:
    old = await make(tenant, "read")
    new = await rotate(tenant, old, 600)
    assert new["api_key"]["key_id"] == old["api_key"]["key_id"]
    assert new["secret"] != old["secret"]
    assert (await status(tenant, old), await status(tenant, new)) == (200, 200)
    newest, oldest = (await listed(tenant))[0]["secrets"]
    assert newest["good_until"] > oldest["good_until"]
    ended = await rotate(tenant, new, 0)
    assert [await status(tenant, each) for each in (old, new, ended)] == [401, 401, 200]


async def test_a_rotation_that_was_lost_and_repeated_ends_no_secret_sooner(tenant: Caller) -> None:
    used = await make(tenant, "read")
    await rotate(tenant, used, 600)  # nobody got to see this one
    promised = (await listed(tenant))[0]["secrets"][-1]["good_until"]
    for _ in range(service.SECRETS_MAX - 2):
        await rotate(tenant, used, 3_600)
    assert await status(tenant, used) == 200
    assert (await listed(tenant))[0]["secrets"][-1]["good_until"] == promised, "and none later than was promised"
    full = await tenant.post(f"{KEYS}/{used['api_key']['key_id']}/rotate", {"grace_s": 600})
    assert (full.status_code, full.json()["code"]) == (409, "conflict")
    assert await status(tenant, used) == 200, "what was refused has changed nothing"
    assert (await listed(tenant))[0]["secrets"][-1]["good_until"] == promised
    last = await rotate(tenant, used, 0)
    assert (await status(tenant, used), await status(tenant, last)) == (401, 200)


async def test_a_tenant_has_so_many_good_keys(tenant: Caller) -> None:
    made = await asyncio.gather(
        *(tenant.post(KEYS, {"name": "x", "scopes": ["read"]}) for _ in range(service.KEYS_MAX + 3))
    )
    assert [answer.status_code for answer in made].count(201) == service.KEYS_MAX
    refused = next(answer for answer in made if answer.status_code != 201)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    await tenant.delete(f"{KEYS}/{(await listed(tenant))[0]['key_id']}")
    await make(tenant)
    assert len(await listed(tenant)) == service.KEYS_MAX + 1


# --- when it was used -----------------------------------------------------------------------------------------------


@pytest.fixture
async def used(tenant: Caller) -> dict[str, Any]:
    shown = await make(tenant, "read")
    assert [key["last_used_at"] for key in await listed(tenant)] == [None]
    assert await status(tenant, shown) == 200
    return shown


async def test_use_is_noted_once_a_minute(tenant: Caller, world: World, used: dict[str, Any]) -> None:
    first = (await listed(tenant))[0]
    assert first["last_used_at"] == first["secrets"][0]["last_used_at"] is not None
    assert {await status(tenant, used) for _ in range(5)} == {200}
    assert (await listed(tenant))[0] == first
    async with world.admin() as admin:
        await admin.execute("update app.api_key_secrets set last_used_at = last_used_at - interval '61 s'")
        before = await admin.fetchval("select xmin::text from app.api_keys where tenant_id = $1", tenant.tenant_id)
        assert {await status(tenant, used) for _ in range(2)} == {200}
        after = await admin.fetchval("select xmin::text from app.api_keys where tenant_id = $1", tenant.tenant_id)
    assert before != after
    assert (await listed(tenant))[0]["last_used_at"] > first["last_used_at"]


async def test_requests_do_not_wait_for_a_note_of_anothers(tenant: Caller, world: World, used: dict[str, Any]) -> None:
    async with world.admin() as admin, admin.transaction():
        await admin.execute("update app.api_key_secrets set last_used_at = null")
    async with world.admin() as admin, admin.transaction():
        await admin.execute("select from app.api_keys where tenant_id = $1 for update", tenant.tenant_id)
        answers: list[httpx.Response] = await asyncio.gather(*(holder(tenant, used).get("/v1/adrs") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await listed(tenant))[0]["secrets"][0]["last_used_at"] is None, "who held the row would have noted it"


async def test_a_stream_by_a_key_ends_within_a_minute_and_with_its_secret(
    tenant: Caller, world: World, used: dict[str, Any]
) -> None:
    clock, database = ManualClock(), world.app.state.database
    proof = await api_keys.identify(database, clock, used["secret"])
    until = datetime.fromisoformat((await listed(tenant))[0]["expires_at"])
    assert proof.expires_at == min(clock.now() + timedelta(seconds=api_keys.STREAM_S_MAX), until)
    assert proof.principal.key_id == used["api_key"]["key_id"]
    assert proof.principal.tenant_id == tenant.tenant_id
    async with world.admin() as admin:
        await admin.execute("update app.api_key_secrets set good_until = now() + interval '20 s'")
    proof = await api_keys.identify(database, world.app.state.clock, used["secret"])
    assert proof.expires_at == datetime.fromisoformat((await listed(tenant))[0]["expires_at"])
    with pytest.raises(Unauthenticated):
        await api_keys.identify(database, clock, used["secret"] + "00")
