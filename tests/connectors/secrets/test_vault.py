"""Vault's KV version 2 over HTTP, with each way to log in, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.secrets.vault import ANSWER_BYTES_MAX, VaultSource
from runtime.errors import DependencyUnavailable, Unprepared
from runtime.secret_references import SecretReference, parse
from runtime.settings import SecretSettings
from tests.connectors.secrets.stores import VaultStandIn, serving

REFERENCE = SecretReference("vault", "secret/adriatic/llm", "openai")


@pytest.fixture
def vault() -> VaultStandIn:
    store = VaultStandIn()
    store.kept["adriatic/llm"] = {"openai": "key-1", "number": 7}
    return store


@pytest.fixture
def url(vault: VaultStandIn) -> Iterator[str]:
    with serving(vault) as address:
        yield address


async def read(url: str, reference: SecretReference = REFERENCE, **more: Any) -> str:
    """One reading by a new source."""
    source = VaultSource(SecretSettings(vault_url=url, **{"vault_token": "root-token", **more}))
    try:
        return await source.read(reference)
    finally:
        await source.close()


async def test_a_field_is_read_with_token_and_namespace(vault: VaultStandIn, url: str) -> None:
    assert await read(url, vault_namespace="team") == "key-1"
    ((method, path, headers),) = vault.requests
    assert (method, path) == ("GET", "/v1/secret/data/adriatic/llm")
    assert (headers["x-vault-token"], headers["x-vault-namespace"]) == ("root-token", "team")
    assert headers["x-vault-request"] == "true"


async def test_a_token_of_a_file_is_read_each_time(vault: VaultStandIn, url: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("root-token\n")
    source = VaultSource(SecretSettings.model_validate({"vault_url": url, "vault_token": f"file:{file}"}))
    assert await source.read(REFERENCE) == "key-1"
    vault.tokens = {"next-token"}
    file.write_text("next-token\n")
    assert await source.read(REFERENCE) == "key-1"
    await source.close()


@pytest.mark.parametrize("mount", ["", "team-approle"])
async def test_an_approle_logs_in_and_again_when_its_token_ends(vault: VaultStandIn, url: str, mount: str) -> None:
    vault.roles[mount or "approle", "role-1"] = "secret-1"
    wanted: dict[str, Any] = {"vault_login": "approle", "vault_role": "role-1", "vault_secret_id": "secret-1"}
    source = VaultSource(SecretSettings.model_validate({"vault_url": url, "vault_login_path": mount, **wanted}))
    assert [await source.read(REFERENCE), await source.read(REFERENCE)] == ["key-1"] * 2
    assert vault.logins == 1
    vault.tokens = set()
    assert await source.read(REFERENCE) == "key-1"
    assert vault.logins == 2
    await source.close()


async def test_a_pod_logs_in_by_its_service_account(vault: VaultStandIn, url: str, tmp_path: Path) -> None:
    vault.roles["kubernetes", "adriatic"] = "jwt-1"
    file = tmp_path / "token"
    file.write_text("jwt-1")
    more: dict[str, Any] = {"vault_login": "kubernetes", "vault_role": "adriatic", "vault_kubernetes_token": file}
    assert await read(url, **more) == "key-1"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("vault:secret/other#openai", "there is none"),
        ("vault:secret/adriatic/llm#other", "no text"),
        ("vault:secret/adriatic/llm#number", "no text"),
    ],
)
async def test_what_is_not_there(url: str, place: str, said: str) -> None:
    reference = parse(place)
    assert reference
    with pytest.raises(Unprepared, match=said):
        await read(url, reference)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (403, Unprepared, "HTTP 403"),
        (307, Unprepared, "redirects"),
        (429, DependencyUnavailable, "HTTP 429"),
        (503, DependencyUnavailable, "HTTP 503"),
    ],
)
async def test_a_refusal_says_why_and_quotes_nothing(
    vault: VaultStandIn, url: str, status: int, kind: type[Exception], said: str
) -> None:
    vault.status = status
    with pytest.raises(kind, match=said) as caught:
        await read(url)
    assert "root-token" not in str(caught.value)
    assert len(vault.requests) == 1


async def test_a_login_that_is_refused_quotes_nothing(url: str) -> None:
    wanted: dict[str, Any] = {"vault_login": "approle", "vault_role": "role-1", "vault_secret_id": "secret-1"}
    with pytest.raises(Unprepared, match="does not let us in by approle") as caught:
        await read(url, **wanted)
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize(("body", "said"), [(b"<html>", "no JSON"), (b" " * (ANSWER_BYTES_MAX + 1), "more than")])
async def test_an_answer_that_is_none(vault: VaultStandIn, url: str, body: bytes, said: str) -> None:
    vault.body = body
    with pytest.raises(Unprepared, match=said):
        await read(url)


async def test_nobody_listens() -> None:
    with pytest.raises(DependencyUnavailable, match="does not answer"):
        await read("http://127.0.0.1:1")
