"""Reserved numbers: nobody gets one twice, whoever asks at once, and each is given back, taken over or used up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.logs import numbers
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

AT_ONCE = 40


@pytest.fixture
async def caller(private: World) -> Caller:
    return await private.tenant()


async def test_the_log_that_is_made_on_demand_has_none(caller: Caller) -> None:
    assert await listed(caller) == []


async def reserve(caller: Caller, holder: str, **more: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/numbers", {"holder": holder, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def listed(caller: Caller, log: str = "main") -> list[tuple[int, str]]:
    answer = await caller.get(f"/v1/numbers?log={log}")
    assert answer.status_code == 200, answer.text
    return [(each["number"], each["holder"]) for each in answer.json()["items"]]


async def release(caller: Caller, holder: str) -> None:
    assert (await caller.post("/v1/numbers/releases", {"holder": holder})).status_code == 204


async def end(world: World, holder: str) -> None:
    """Let the time of a reservation be over."""
    async with world.admin() as admin:
        await admin.execute(
            "update app.number_reservations set expires_at = now() - interval '1 s' where holder = $1", holder
        )


async def test_a_holder_keeps_the_number_that_they_have(caller: Caller) -> None:
    made = await reserve(caller, "feature/a", days=2)
    assert (made["log"], made["number"], made["holder"]) == ("main", 1, "feature/a")
    again = await reserve(caller, "feature/a", days=20)
    assert (again["number"], again["reserved_at"]) == (1, made["reserved_at"])
    assert again["expires_at"] > made["expires_at"]
    assert (await reserve(caller, "feature/a", days=1))["expires_at"] == again["expires_at"]
    assert (await reserve(caller, "feature/b"))["number"] == 2
    assert await listed(caller) == [(1, "feature/a"), (2, "feature/b")]


async def test_nobody_gets_a_number_twice_whoever_asks_at_once(caller: Caller) -> None:
    async def write(number: int) -> int:
        made = await caller.create(f"# Decision {number} is written\n", log="main")
        return int(made["number"])

    await reserve(caller, "first")
    holders = [reserve(caller, f"branch-{number % (AT_ONCE // 2)}") for number in range(AT_ONCE)]
    made = await asyncio.gather(*holders, *(write(number) for number in range(AT_ONCE // 4)))
    reserved = {each["holder"]: each["number"] for each in made[:AT_ONCE]}
    assert all(reserved[each["holder"]] == each["number"] for each in made[:AT_ONCE]), "a holder has one number"
    given = [*reserved.values(), *made[AT_ONCE:]]
    assert sorted(given) == list(range(2, 2 + len(given)))


async def test_what_was_given_back_or_forgotten_is_next(caller: Caller, private: World) -> None:
    for holder in ("a", "b", "c"):
        await reserve(caller, holder)
    await release(caller, "a")
    await release(caller, "a")
    await release(caller, "nobody")
    await end(private, "b")
    assert await listed(caller) == [(3, "c")]
    assert [(await reserve(caller, holder))["number"] for holder in ("d", "b", "e")] == [1, 2, 4]


async def test_a_number_whose_adr_came_is_used_up(caller: Caller, corpus: Corpus) -> None:
    assert (await reserve(caller, "a"))["number"] == 1
    corpus.adr(caller.tenant_id, "Written on a branch", "# Written on a branch\n", number=1, log="main")
    assert await listed(caller) == []
    assert (await reserve(caller, "a"))["number"] == 2
    assert (await reserve(caller, "b"))["number"] == 3


async def test_numbers_are_those_of_a_log_and_of_a_tenant(caller: Caller, private: World) -> None:
    await caller.post("/v1/logs", {"slug": "other"})
    assert (await reserve(caller, "a"))["number"] == (await reserve(caller, "a", log="other"))["number"] == 1
    stranger = await private.tenant()
    assert (await reserve(stranger, "theirs"))["number"] == 1
    assert await listed(stranger) == [(1, "theirs")]
    assert (await stranger.post("/v1/numbers/releases", {"holder": "a"})).status_code == 204
    assert await listed(caller) == [(1, "a")]
    for path in ("/v1/numbers", "/v1/numbers/releases"):
        assert (await stranger.post(path, {"holder": "a", "log": "other"})).status_code == 404
    assert (await stranger.get("/v1/numbers?log=other")).status_code == 400


async def test_a_log_has_so_many_reserved(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "RESERVED_MAX", 2)
    await reserve(caller, "a")
    await reserve(caller, "b")
    full = await caller.post("/v1/numbers", {"holder": "c"})
    assert (full.status_code, full.json()["code"]) == (409, "conflict")
    assert (await reserve(caller, "a"))["number"] == 1
    await release(caller, "b")
    assert (await reserve(caller, "c"))["number"] == 2


async def test_a_check_names_who_has_the_number_of_a_proposal(caller: Caller) -> None:
    await reserve(caller, "feature/a")
    record = "---\nstatus: proposed\n---\n\n# Use RabbitMQ for events\n"
    change = {"change": record, "path": "docs/adr/0001-rabbit.md", "limit": 0}
    for holder, found in (("feature/b", [("number-reserved", "certain", None)]), ("feature/a", []), (None, [])):
        answer = await caller.post("/v1/decisions/check", {**change, "holder": holder})
        (proposal,) = answer.json()["proposals"]
        assert [(each["kind"], each["likelihood"], each["decision"]) for each in proposal["findings"]] == found
        if found:
            assert proposal["findings"][0]["reason"].startswith("the number 1 is reserved for feature/a until 20")
