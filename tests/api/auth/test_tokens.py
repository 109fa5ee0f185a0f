"""Bearer tokens: the good ones, and everything that somebody may try instead."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from api.auth import tokens
from api.auth.keys import KeyStore
from api.auth.tokens import TOKEN_CHARS_MAX, TokenChecker
from runtime.clock import ManualClock
from runtime.errors import Forbidden, Unauthenticated
from runtime.settings import AuthSettings
from tests.api.auth.signers import TENANT, Signer, good

SETTINGS = AuthSettings(issuer="https://id.example", jwks_url="https://id.example/keys")
SIGNERS = {algorithm: Signer(algorithm, algorithm) for algorithm in ("RS256", "ES256", "EdDSA")}


def now() -> datetime:
    return datetime.now(UTC)


def checker(settings: AuthSettings = SETTINGS) -> TokenChecker:
    async def fetch() -> Mapping[str, Any]:
        return {"keys": [signer.jwk() for signer in SIGNERS.values()]}

    return TokenChecker(settings, KeyStore(fetch))


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, default=str).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    claims = good() | {"exp": int((now() + timedelta(minutes=5)).timestamp()), "iat": int(now().timestamp())}
    return f"{segment(header)}.{segment(claims)}.{segment(signature)}"


def signed_with_the_public_key() -> str:
    """The oldest trick: the public key as the secret of an HMAC."""
    public = SIGNERS["RS256"].private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    start = unsigned({"alg": "HS256", "typ": "JWT", "kid": "RS256"}).rpartition(".")[0]
    return f"{start}.{segment(hmac.new(pem, start.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("algorithm", list(SIGNERS))
async def test_a_good_token_says_who_and_for_whom(algorithm: str) -> None:
    token = SIGNERS[algorithm].token(name="Ada", email="ada@example.org")
    claims = await checker().check(f"Bearer {token}")
    assert (claims.tenant_id, claims.subject, claims.name, claims.email) == (TENANT, "ada", "Ada", "ada@example.org")


@pytest.mark.parametrize(
    ("more", "key_id"),
    [
        ({}, None),
        ({"jti": "t1"}, "t1"),
        ({"jti": "t1", "azp": "web"}, "web"),
        ({"jti": "t1", "azp": "web", "client_id": "app"}, "app"),
        ({"jti": "t1", "client_id": ""}, "t1"),
        ({"jti": "t1", "client_id": 7}, "t1"),
        ({"jti": "x" * 256}, None),
        ({"jti": "x\0"}, None),
    ],
)
async def test_a_credential_is_the_client_else_the_token_else_not_known(more: dict[str, Any], key_id: Any) -> None:
    assert (await checker().check(f"Bearer {SIGNERS['ES256'].token(**more)}")).key_id == key_id


async def test_clocks_may_differ_a_little() -> None:
    late = SIGNERS["ES256"].token(exp=now() - timedelta(seconds=10))
    early = SIGNERS["ES256"].token(nbf=now() + timedelta(seconds=10), iat=now() + timedelta(seconds=10))
    for token in (late, early):
        assert await checker().check(f"bearer {token}")


REFUSED: dict[str, Callable[[], str]] = {
    "expired": lambda: SIGNERS["ES256"].token(exp=now() - timedelta(minutes=5)),
    "not good yet": lambda: SIGNERS["ES256"].token(nbf=now() + timedelta(minutes=5)),
    "of the future": lambda: SIGNERS["ES256"].token(iat=now() + timedelta(minutes=5)),
    "of another issuer": lambda: SIGNERS["ES256"].token(iss="https://evil.example"),
    "for another audience": lambda: SIGNERS["ES256"].token(aud="another"),
    "without an end": lambda: SIGNERS["ES256"].token(exp=None),
    "without an issuer": lambda: SIGNERS["ES256"].token(iss=None),
    "without an audience": lambda: SIGNERS["ES256"].token(aud=None),
    "without a subject": lambda: SIGNERS["ES256"].token(sub=None),
    "with the subject of an API key": lambda: SIGNERS["ES256"].token(sub="api-key:x"),
    "with an empty subject": lambda: SIGNERS["ES256"].token(sub=""),
    "with a subject that is no text": lambda: unsigned({"alg": "ES256", "kid": "ES256"}),
    "signed by somebody else": lambda: Signer("ES256", "ES256").token(),
    "signed by an unknown key": lambda: Signer("ES256", "other").token(),
    "cut": lambda: SIGNERS["ES256"].token()[:-8],
    "with claims changed": lambda: ".".join(
        [*SIGNERS["ES256"].token().split(".")[:1], segment(good(sub="eve")), SIGNERS["ES256"].token().split(".")[2]]
    ),
    "alg none": lambda: unsigned({"alg": "none", "typ": "JWT"}),
    "alg None": lambda: unsigned({"alg": "None", "typ": "JWT"}),
    "alg missing": lambda: unsigned({"typ": "JWT"}),
    "alg no text": lambda: unsigned({"alg": ["ES256"], "typ": "JWT"}),
    "alg HS256 with the public key": signed_with_the_public_key,
    "alg of another key": lambda: SIGNERS["ES256"].token(headers={"kid": "RS256"}),
    "kid no text": lambda: unsigned({"alg": "ES256", "kid": {"a": 1}}, b"x" * 64),
    "demanding extensions": lambda: SIGNERS["ES256"].token(headers={"crit": ["b64"], "b64": False}),
    "no token at all": lambda: "x.y.z",
    "one word": lambda: "token",
    "not ASCII": lambda: "ä.ö.ü",
    "much too long": lambda: "a" * (TOKEN_CHARS_MAX + 1),
}


@pytest.mark.parametrize("kind", list(REFUSED))
async def test_what_is_not_good_is_refused_with_a_reason(kind: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await checker().check(f"Bearer {REFUSED[kind]()}")
    assert caught.value.coordinates["presented"]
    assert caught.value.detail
    assert caught.value.hint


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "token"])
async def test_no_token_is_told_apart_from_a_bad_one(header: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await checker().check(header)
    assert not caught.value.coordinates


@pytest.mark.parametrize(
    "tenant", [None, "", "acme", 7, ["x"], {"id": "x"}, pytest.param(f"{TENANT}0", id="an id and a digit")]
)
async def test_a_good_token_without_a_tenant_is_forbidden(tenant: Any) -> None:
    with pytest.raises(Forbidden, match="tenant_id"):
        await checker().check(f"Bearer {SIGNERS['ES256'].token(tenant_id=tenant)}")


async def test_the_tenant_comes_from_the_claim_that_is_configured() -> None:
    settings = SETTINGS.model_copy(update={"tenant_claim": "https://adriatic.example/tenant"})
    claims: dict[str, Any] = {"tenant_id": None, "https://adriatic.example/tenant": str(TENANT)}
    token = SIGNERS["ES256"].token(**claims)
    assert (await checker(settings).check(f"Bearer {token}")).tenant_id == TENANT


# --- what is remembered ----------------------------------------------------------------------------------------------


class Counted:
    """A checker whose signature checks are counted, and whose issuer can take its keys back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.signers = [*SIGNERS.values()]
        self.clock = ManualClock()
        self.keys = KeyStore(self.fetch, self.clock)
        self.checker = TokenChecker(SETTINGS, self.keys)
        self.verified = 0
        verify = TokenChecker._verify

        def count(checker: TokenChecker, token: str, public: Any, algorithm: str) -> dict[str, Any]:
            self.verified += 1
            return verify(checker, token, public, algorithm)

        monkeypatch.setattr(TokenChecker, "_verify", count)

    async def fetch(self) -> Mapping[str, Any]:
        return {"keys": [signer.jwk() for signer in self.signers]}


async def test_a_token_is_verified_once_while_it_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    token = f"Bearer {SIGNERS['ES256'].token()}"
    first, again = await counted.checker.check(token), await counted.checker.check(token)
    assert first is again
    assert counted.verified == 1
    assert (await counted.checker.check(f"Bearer {SIGNERS['ES256'].token(sub='bob')}")).subject == "bob"


async def test_a_token_that_was_good_is_refused_from_its_end_on(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    ends = now() - timedelta(seconds=SETTINGS.leeway_s) + timedelta(seconds=1.5)
    token = f"Bearer {SIGNERS['ES256'].token(exp=ends)}"
    await counted.checker.check(token)
    await asyncio.sleep(2.6)
    with pytest.raises(Unauthenticated, match="expired"):
        await counted.checker.check(token)


async def test_a_token_whose_key_was_withdrawn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    token = f"Bearer {SIGNERS['ES256'].token()}"
    await counted.checker.check(token)
    counted.signers = [SIGNERS["RS256"]]
    counted.clock.sleep(3600)
    await counted.keys.refresh()
    with pytest.raises(Unauthenticated, match="does not publish"):
        await counted.checker.check(token)


async def test_a_changed_byte_is_another_token(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    token = SIGNERS["ES256"].token()
    await counted.checker.check(f"Bearer {token}")
    head, body, signature = token.split(".")
    forged = segment({**json.loads(base64.urlsafe_b64decode(body + "==")), "sub": "eve"})
    with pytest.raises(Unauthenticated, match="signature is wrong"):
        await counted.checker.check(f"Bearer {head}.{forged}.{signature}")


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "VERIFIED_MAX", 2)
    counted = Counted(monkeypatch)
    first, *others = (f"Bearer {SIGNERS['ES256'].token(sub=f's-{number}')}" for number in range(3))
    for token in (first, *others, first):
        await counted.checker.check(token)
    assert counted.verified == 4
    assert len(counted.checker._verified) == 2
