"""`adriatic tenant` and `adriatic token`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from click.testing import CliRunner, Result

from adriatic.cli import cli
from adriatic.cli.tenants import Duration
from runtime.errors import CallerError, Conflict, DependencyUnavailable, InvalidInput, NotFound
from runtime.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADRIATIC_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def database(fresh_database: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = fresh_database.postgres
    monkeypatch.setenv("ADRIATIC_POSTGRES__PORT", str(postgres.port))
    monkeypatch.setenv("ADRIATIC_POSTGRES__DATABASE", postgres.database)
    monkeypatch.setenv("ADRIATIC_POSTGRES__OWNER_PASSWORD", postgres.owner_password.get_secret_value())


def run(*words: str) -> Result:
    result = CliRunner().invoke(cli, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def printed(*words: str) -> Any:
    return json.loads(run(*words).stdout)


@pytest.mark.stack
@pytest.mark.usefixtures("database")
def test_tenants_are_made_listed_and_named_in_tokens(home: Path) -> None:
    made = printed("tenant", "create", "acme", "--name", "Acme Inc.", "--json")
    assert made["created"]
    assert printed("tenant", "create", "acme", "--if-missing", "--json") == made | {"created": False}
    with pytest.raises(Conflict):
        run("tenant", "create", "acme")
    run("tenant", "create", "beta")
    assert [tenant["slug"] for tenant in printed("tenant", "list", "--json")] == ["acme", "beta"]
    token = printed("token", "--tenant", "acme", "--ttl", "30m", "--subject", "ada", "--json")
    assert token["tenant_id"] == made["tenant_id"]
    claims = jwt.decode(token["token"], options={"verify_signature": False})
    assert (claims["sub"], claims["tenant_id"]) == ("ada", made["tenant_id"])
    assert claims["exp"] - claims["iat"] == 1800
    assert claims["roles"] == ["admin"], "whoever may read the key of the issuer may do everything"
    token = printed("token", "--tenant", "acme", "--role", "member", "--json")
    assert jwt.decode(token["token"], options={"verify_signature": False})["roles"] == ["member"]
    with pytest.raises(NotFound):
        run("token", "--tenant", "nobody")


@pytest.mark.stack
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("slug", ["", "A", "-a", "a_b", "a" * 64, "ä"])
def test_a_slug_fits_a_host_name(slug: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a tenant"):
        run("tenant", "create", "--", slug)


def test_a_token_for_an_id_needs_no_database(home: Path) -> None:
    tenant_id = uuid4()
    result = run("token", "--tenant", str(tenant_id))
    claims = jwt.decode(result.stdout.strip(), options={"verify_signature": False})
    assert UUID(claims["tenant_id"]) == tenant_id
    assert "good until" in result.stderr


def test_without_a_database_a_slug_cannot_be_looked_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_POSTGRES__PORT", "1")
    with pytest.raises(DependencyUnavailable):
        run("token")


def test_where_an_identity_provider_signs_we_do_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_AUTH__JWKS_URL", "https://id.example/keys")
    with pytest.raises(CallerError, match="identity provider"):
        run("token", "--tenant", str(uuid4()))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("8h", 28800), ("7d", 604800)])
def test_durations(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "1.5h", "-1h", "8 h", "8w", "9999999999s"])
def test_what_is_no_duration_is_wrong_usage(home: Path, text: str) -> None:
    assert run("token", "--tenant", str(uuid4()), "--ttl", text).exit_code == 2
