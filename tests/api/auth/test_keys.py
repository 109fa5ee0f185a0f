"""The key store: which keys are taken, and when the issuer is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from api.auth.keys import AGE_S_MAX, ASK_AGAIN_S, ASK_EVERY_S_MIN, KeyStore, parse
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable
from tests.api.auth.signers import Signer


class Issuer:
    """What the store asks. `answers` that are exceptions are raised; the last one is repeated."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self) -> Mapping[str, Any]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        keys: Mapping[str, Any] = {"keys": [signer.jwk() for signer in answer]}
        return keys


DOWN = DependencyUnavailable("the identity provider does not answer")
OLD, NEW = Signer("ES256", "old"), Signer("ES256", "new")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_is_for_the_algorithm_of_its_kind(algorithm: str) -> None:
    (key,) = parse({"keys": [Signer(algorithm).jwk()]})
    assert (key.algorithm, key.key_id) == (algorithm, "key-1")


def test_keys_that_must_not_check_tokens_are_skipped() -> None:
    signer = Signer("RS256")
    small = Signer("RS256", private=rsa.generate_private_key(65537, 1024))
    skipped: list[Any] = [
        "not an object",
        {},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        signer.jwk(use="enc"),
        signer.jwk(alg="PS256"),
        signer.jwk(alg="HS256"),
        signer.jwk(n="!"),
        signer.jwk(d="AQAB"),
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        small.jwk(),
    ]
    assert parse({"keys": skipped}) == ()
    assert len(parse({"keys": [*skipped, signer.jwk()]})) == 1


async def test_an_unknown_key_is_asked_for_once_in_a_while() -> None:
    clock, issuer = ManualClock(), Issuer([OLD], [OLD], [OLD, NEW])
    store = KeyStore(issuer, clock)
    assert await store.find("old", "ES256")
    assert await store.find("new", "ES256") is None
    assert issuer.asked == 1, "asked a moment ago"
    clock.sleep(ASK_EVERY_S_MIN)
    assert await store.find("new", "ES256") is None
    clock.sleep(ASK_EVERY_S_MIN)
    assert await store.find("new", "ES256"), "the rotation is found without a restart"
    for _ in range(100):
        assert await store.find("made-up", "ES256") is None
    assert issuer.asked == 3


async def test_many_callers_share_one_request() -> None:
    issuer = Issuer([OLD])
    store = KeyStore(issuer, ManualClock())
    found = await asyncio.gather(*(store.find("old", "ES256") for _ in range(50)))
    assert all(found)
    assert issuer.asked == 1


async def test_a_failed_request_keeps_the_keys() -> None:
    clock, issuer = ManualClock(), Issuer([OLD], DOWN, [])
    store = KeyStore(issuer, clock)
    await store.find("old", "ES256")
    for _ in range(2):
        clock.sleep(ASK_EVERY_S_MIN)
        assert await store.find("unknown", "ES256") is None
        assert await store.find("old", "ES256")
        assert store.fault
    assert issuer.asked == 3


async def test_without_any_key_nobody_can_say_whether_a_token_is_good() -> None:
    clock, issuer = ManualClock(), Issuer(DOWN, DOWN, [OLD])
    store = KeyStore(issuer, clock)
    for _ in range(20):
        with pytest.raises(DependencyUnavailable, match="does not answer"):
            await store.find("old", "ES256")
    assert issuer.asked == 1
    clock.sleep(ASK_AGAIN_S)
    with pytest.raises(DependencyUnavailable):
        await store.find("old", "ES256")
    clock.sleep(ASK_AGAIN_S)
    assert await store.find("old", "ES256")


async def test_old_keys_are_renewed_behind_the_request() -> None:
    clock, issuer = ManualClock(), Issuer([OLD], [NEW])
    store = KeyStore(issuer, clock)
    await store.find("old", "ES256")
    clock.sleep(AGE_S_MAX + 1)
    assert await store.find("old", "ES256"), "this one does not wait"
    for _ in range(10):
        await asyncio.sleep(0)
    assert await store.find("old", "ES256") is None, "the key was taken back"
    assert issuer.asked == 2
    await store.close()


async def test_a_token_without_a_key_id_is_taken_when_one_key_fits() -> None:
    store = KeyStore(Issuer([OLD, Signer("RS256", "rsa")]), ManualClock())
    assert await store.find(None, "ES256")
    assert await store.find(None, "EdDSA") is None
    assert await KeyStore(Issuer([OLD, NEW]), ManualClock()).find(None, "ES256") is None


async def test_a_key_checks_its_own_algorithm_only() -> None:
    store = KeyStore(Issuer([Signer("RS256", "rsa")]), ManualClock())
    assert await store.find("rsa", "ES256") is None


class Slow:
    """An issuer that answers when it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0

    async def __call__(self) -> Mapping[str, Any]:
        self.asked += 1
        await self.go.wait()
        return {"keys": [OLD.jwk()]}


async def test_who_comes_while_somebody_asks_waits_for_that_answer_and_may_leave() -> None:
    issuer = Slow()
    store = KeyStore(issuer, ManualClock())
    first = asyncio.create_task(store.find("old", "ES256"))
    others = [asyncio.create_task(store.find("old", "ES256")) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    issuer.go.set()
    assert all(await asyncio.gather(*others))
    assert issuer.asked == 1


async def test_an_issuer_that_hangs_is_asked_by_one_at_a_time_and_keeps_nobody_who_does_not_need_it() -> None:
    issuer = Slow()
    store = KeyStore(issuer, ManualClock())
    for _ in range(3):
        await store.refresh(wait_s=0.01)
    assert issuer.asked == 1
    assert not store.loaded
    await store.close()


async def test_keys_that_changed_while_the_issuer_was_away_are_known_a_second_after_its_return() -> None:
    clock, issuer = ManualClock(), Issuer([OLD], DOWN, DOWN, [NEW])
    store = KeyStore(issuer, clock)
    assert await store.find("old", "ES256")
    clock.sleep(ASK_EVERY_S_MIN)
    for _ in range(2):
        for _ in range(50):
            assert await store.find("new", "ES256") is None
        assert store.fault
        clock.sleep(ASK_AGAIN_S)
    assert issuer.asked == 3, "made-up keys cause one request a second at most"
    assert await store.find("new", "ES256")
    assert store.fault == ""
    assert issuer.asked == 4


async def test_without_any_request_an_issuer_that_is_away_is_noticed_and_its_return_too() -> None:
    clock, issuer = ManualClock(), Issuer([OLD], DOWN, [NEW])
    store = KeyStore(issuer, clock)
    await store.refresh()
    seen = []
    for _ in range(int(AGE_S_MAX) + 4):
        clock.sleep(1)
        store.renew()
        await asyncio.sleep(0.001)
        seen.append(bool(store.fault))
    assert seen.count(True) == 1
    assert not seen[-1]
    assert await store.find("new", "ES256")


async def test_what_nobody_expected_is_a_fault_and_not_the_end() -> None:
    clock, issuer = ManualClock(), Issuer(ValueError("odd"), [OLD])
    store = KeyStore(issuer, clock)
    with pytest.raises(DependencyUnavailable, match="odd"):
        await store.find("old", "ES256")
    clock.sleep(ASK_AGAIN_S)
    assert await store.find("old", "ES256")
