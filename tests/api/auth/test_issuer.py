"""The local issuer: one private key for a home, whoever opens it first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest

from api.auth.issuer import ALGORITHM, KEY_FILE, TTL_S_MAX, LocalIssuer
from api.auth.roles import read_role
from runtime.clock import ManualClock
from runtime.errors import InvalidInput, Misconfigured
from runtime.ids import new_id
from runtime.settings import AuthSettings, CallerRole

AUTH = AuthSettings()
UNTIMED: Any = {"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False}


def test_the_key_is_the_owners_alone_and_stays(tmp_path: Path) -> None:
    home = tmp_path / "new" / ".adriatic"
    first = LocalIssuer.open(home, AUTH)
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in home.iterdir()] == [KEY_FILE]
    assert LocalIssuer.open(home, AUTH).key_id == first.key_id


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = {issuer.key_id for issuer in pool.map(lambda _: LocalIssuer.open(tmp_path, AUTH), range(32))}
    assert len(ids) == 1


def test_what_is_published_has_no_private_part(tmp_path: Path) -> None:
    issuer = LocalIssuer.open(tmp_path, AUTH)
    (key,) = issuer.jwks()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"] == issuer.key_id


def test_a_token_says_who_for_which_tenant_and_until_when(tmp_path: Path) -> None:
    issuer = LocalIssuer.open(tmp_path, AUTH, ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC)))
    tenant_id = new_id()
    token = issuer.mint(tenant_id, subject="ada", ttl_s=60, name="Ada")
    key = jwt.PyJWK(issuer.jwks()["keys"][0])
    claims = jwt.decode_complete(token.text, key, [ALGORITHM], options=UNTIMED)["payload"]
    assert claims["sub"] == "ada"
    assert claims["name"] == "Ada"
    assert claims["tenant_id"] == str(tenant_id)
    assert claims["exp"] - claims["iat"] == 60
    assert token.expires_at == datetime(2026, 5, 1, 12, 1, tzinfo=UTC)
    assert "email" not in claims


@pytest.mark.parametrize("role", get_args(CallerRole))
@pytest.mark.parametrize("claim", ["roles", "realm_access.roles"])
def test_a_token_has_its_role_by_the_words_of_the_settings(tmp_path: Path, claim: str, role: CallerRole) -> None:
    settings = AuthSettings(role_claim=claim, admin_values=("boss",), service_values=("robot",), default_role="service")
    token = LocalIssuer.open(tmp_path, settings).mint(new_id(), subject="ada", ttl_s=60, role=role)
    assert read_role(jwt.decode(token.text, options={"verify_signature": False}), settings) == role


@pytest.mark.parametrize("ttl_s", [0, -1, TTL_S_MAX + 1])
def test_a_token_cannot_live_for_ever(tmp_path: Path, ttl_s: int) -> None:
    with pytest.raises(InvalidInput, match="cannot live"):
        LocalIssuer.open(tmp_path, AUTH).mint(new_id(), subject="ada", ttl_s=ttl_s)


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_broken_key_file_is_said_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        LocalIssuer.open(tmp_path, AUTH)
    assert str(tmp_path / KEY_FILE) in caught.value.hint
    assert (tmp_path / KEY_FILE).read_bytes() == content
