"""A credential: one owner of one value, read again at an interval and when it is refused, within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors.secrets import FAILURE_S, HIDDEN, REREAD_S_MIN, Credential, SecretStore
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable
from runtime.secret_references import SecretReference
from runtime.settings import SecretSettings
from tests.patience import soon


class Keeper:
    """A store in a test's hands."""

    def __init__(self, value: str | None = "key-1") -> None:
        self.value = value
        self.reads = 0

    async def read(self, reference: SecretReference) -> str:
        self.reads += 1
        await asyncio.sleep(0)
        if self.value is None:
            raise DependencyUnavailable("the store is away")
        return self.value


def made(keeper: Keeper, clock: ManualClock | None = None) -> Credential:
    return Credential(SecretStr("vault:secret/llm#key"), keeper.read, clock or ManualClock())


async def test_it_is_read_once_however_many_ask() -> None:
    keeper = Keeper()
    credential = made(keeper)
    assert set(await asyncio.gather(*(credential.get() for _ in range(20)))) == {"key-1"}
    assert keeper.reads == 1


async def test_a_value_in_the_settings_is_never_read() -> None:
    keeper = Keeper()
    credential = Credential(SecretStr("sk-plain"), keeper.read)
    await credential.refresh()
    assert await credential.get() == "sk-plain"
    assert not await credential.renew("sk-plain")
    assert keeper.reads == 0


async def test_a_refused_value_is_read_again_at_once_and_then_not_for_a_while() -> None:
    keeper, clock = Keeper(), ManualClock()
    credential = made(keeper, clock)
    await credential.get()
    assert not await credential.renew("key-1"), "it is still the same"
    keeper.value = "key-2"
    assert not await credential.renew("key-1"), "too soon"
    assert keeper.reads == 2
    clock.sleep(REREAD_S_MIN)
    assert await credential.renew("key-1")
    assert await credential.get() == "key-2"
    assert await credential.renew("key-1"), "whoever was refused with the old one has the new one now"
    assert keeper.reads == 3


async def test_many_who_are_refused_at_once_read_once() -> None:
    keeper = Keeper()
    credential = made(keeper)
    await credential.get()
    keeper.value = "key-2"
    assert all(await asyncio.gather(*(credential.renew("key-1") for _ in range(50))))
    assert keeper.reads == 2


async def test_while_the_store_is_away_the_last_value_is_used() -> None:
    keeper, clock = Keeper(), ManualClock()
    credential = made(keeper, clock)
    await credential.get()
    keeper.value = None
    await credential.refresh()
    assert await credential.get() == "key-1"


async def test_what_was_never_read_is_an_error_for_all_and_is_tried_again() -> None:
    keeper, clock = Keeper(None), ManualClock()
    credential = made(keeper, clock)
    failures = await asyncio.gather(*(credential.get() for _ in range(20)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {DependencyUnavailable}
    assert keeper.reads == 1, "nobody waits for the same silence again"
    keeper.value = "key-1"
    clock.sleep(FAILURE_S)
    assert await credential.get() == "key-1"


async def test_whoever_listens_hears_of_another_value_and_only_of_that() -> None:
    keeper, heard = Keeper(), []
    credential = made(keeper)
    credential.on_change(lambda: heard.append(keeper.value))
    await credential.get()
    await credential.refresh()
    keeper.value = "key-2"
    await credential.refresh()
    assert heard == ["key-1", "key-2"]


async def test_the_value_and_the_one_before_are_hidden_in_texts() -> None:
    keeper = Keeper("sk-first")
    credential = made(keeper)
    await credential.get()
    keeper.value = "sk-second"
    await credential.refresh()
    assert credential.hide("no sk-first, no sk-second") == f"no {HIDDEN}, no {HIDDEN}"
    assert "sk-" not in repr(credential)


async def test_an_open_store_reads_at_its_interval(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key-1\n")
    store = SecretStore(SecretSettings(refresh_s=0.05))
    credential = store.credential(SecretStr(f"file:{file}"))
    assert store.credential(SecretStr(f"file:{file}")) is credential
    store.open()
    try:
        assert await credential.get() == "key-1"
        heard: list[int] = []
        credential.on_change(lambda: heard.append(1))
        file.write_text("key-2\n")
        await soon(lambda: heard, "the new value")
        assert await credential.get() == "key-2"
    finally:
        await store.close()


async def test_half_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="mount, path and field"):
        SecretStore(SecretSettings()).credential(SecretStr("vault:secret"))
