"""The adversary, on the whole system: many requests against a small budget, through several processes that are killed
in between. The budget holds within its bound, and what four parties say of the money is the same.

How far a budget can be passed is in `docs/decisions/0038-budgets-are-reserved-before-they-are-spent.md`.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from connectors.llm.fake.bills import INPUT_MICRO_USD, OUTPUT_MICRO_USD
from connectors.llm.fake.scripts import FakePace
from runtime.settings import Settings
from tests.api.spend.fleet import Fleet, completion, fleet, read_stream
from tests.api.world import Caller
from tests.databases import ask
from tests.patience import PATIENCE_S, PAUSE_S, soon
from tests.system.conftest import Tenant, World

REQUESTS = 1_000
PROCESSES = 3
IN_FLIGHT = 40
"""Answers that one process has written at a time."""
OUTPUT_TOKENS_MAX = 40
PROMPT_BYTES_MAX = 500
LIMIT = 300_000
"""Thirty cents: some three hundred answers."""
USERS_LIMIT = 20_000
BOUND = (
    PROCESSES
    * IN_FLIGHT
    * (
        PROMPT_BYTES_MAX * INPUT_MICRO_USD
        + OUTPUT_TOKENS_MAX * OUTPUT_MICRO_USD
        - (PROMPT_BYTES_MAX // 4 * INPUT_MICRO_USD + OUTPUT_TOKENS_MAX * OUTPUT_MICRO_USD)
    )
)
"""For each answer in flight what it can cost at most, less what it reserved at first."""
KILL_AT = (150, 400)
"""Requests that have ended when a process is killed."""
SCRIPTS = ("whole", "think", "no-usage", "cut", "endless")
SCRIPTS_OF = (*["whole"] * 12, *["think"] * 3, "no-usage", "no-usage", "cut", "cut", "endless")
"""What the answers of a user are like."""
USERS = 97
ENDLESS_PIECE = b"on and "
"""What the script without an end says, a token each; several of them may come in one event."""
PIECES_MAX = 4 * OUTPUT_TOKENS_MAX
"""When a client leaves that gets far more than it asked for."""
HEAVY = "heavy"
"""A user who asks a tenth of all, under a budget of its own."""


class ClientLeft(Exception):
    """Whoever asked has hung up."""


class SpendAdversary:
    """Asks, and is asked again by clients whose process died."""

    def __init__(self, fleet: Fleet, tenant_id: UUID, seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self.cut = 0
        self._fleet = fleet
        self._tenant_id = tenant_id
        self._random = random.Random(seed)

    async def ask(self, number: int) -> None:
        """Until there is an answer, or somebody says that there is none to be had."""
        asker = HEAVY if number % 10 == 0 else f"user-{number % USERS}"
        script = SCRIPTS_OF[sum(asker.encode()) % len(SCRIPTS_OF)]
        body = completion(script, asker, max_tokens=OUTPUT_TOKENS_MAX)
        while True:
            caller = self._fleet.caller(self._random.choice(self._fleet.alive), self._tenant_id, asker)
            status, content = await self._ask_once(caller, body)
            if status == 503:
                await asyncio.sleep(self._random.uniform(1, 3))
            elif status == 200 and not self._has_end(content):
                self.cut += 1
            elif status:
                break
        self.ends["whole" if content.endswith(b"[DONE]\n\n") else "broken" if status == 200 else str(status)] += 1

    async def _ask_once(self, caller: Caller, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status 0: there was no answer at all. A client that gets far more than it asked for leaves."""

        def look(content: bytes) -> None:
            if content.count(ENDLESS_PIECE) > PIECES_MAX:
                raise ClientLeft

        try:
            return await read_stream(caller, "/v1/chat/completions", body, look)
        except ClientLeft:
            return 499, b""
        except httpx.TransportError:
            self.cut += 1
            return 0, b""

    @staticmethod
    def _has_end(content: bytes) -> bool:
        return content.endswith(b"data: [DONE]\n\n") or b'"error"' in content


def have_ended(asking: list[asyncio.Task[None]], enough: int) -> bool:
    return sum(task.done() for task in asking) >= enough


async def watch(settings: Settings, tenant_id: UUID, most: dict[UUID, int], over: asyncio.Event) -> None:
    """The most that each counter has come to, at any moment."""
    connection = await asyncpg.connect(settings.postgres.dsn("admin"))
    while not over.is_set():
        for row in await connection.fetch(
            "select budget_id, spent_micro_usd from app.budget_windows where tenant_id = $1", tenant_id
        ):
            most[row["budget_id"]] = max(row["spent_micro_usd"], most.get(row["budget_id"], 0))
        await asyncio.sleep(PAUSE_S)
    await connection.close()


async def test_a_thousand_requests_through_processes_that_are_killed_pass_no_budget_and_the_books_close(
    world: World, tenant: Tenant, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    tenant_id, settings = UUID(tenant.tenant_id), world.settings
    target = {"in_flight_max": IN_FLIGHT, "waiting_max": REQUESTS}
    pace = FakePace(0.05, 0.02, 30)
    async with fleet(settings, tmp_path, pace, SCRIPTS, PROCESSES, target, ADRIATIC_LLM__FIRST_TOKEN_S="100") as api:
        admin = api.caller(api.servers[0], tenant_id, "ada")
        await make_budgets(admin, api.caller(api.servers[0], tenant_id, HEAVY), settings)
        adversary, most, over = SpendAdversary(api, tenant_id, seed), dict[UUID, int](), asyncio.Event()
        watching = asyncio.create_task(watch(settings, tenant_id, most, over))
        asking = [asyncio.create_task(adversary.ask(number)) for number in range(REQUESTS)]
        for enough in KILL_AT:
            await soon(functools.partial(have_ended, asking, enough), f"{enough} answers")
            api.kill(api.alive[0])
            await api.start()
        await asyncio.gather(*asking)
        over.set()
        await watching
        print(f"{dict(adversary.ends)}, {adversary.cut} asked again because their process was killed")
        assert sum(adversary.ends.values()) == REQUESTS
        assert min(adversary.ends["whole"], adversary.ends["429"], adversary.cut) > 0
        caller = api.caller(api.alive[0], tenant_id, "ada")
        await hold_books(caller, api, most)


async def make_budgets(admin: Caller, heavy: Caller, settings: Settings) -> None:
    """One of the organisation, and one of a user who is known by then."""
    (await heavy.get("/v1/models")).raise_for_status()
    users = "select user_id from app.users where tenant_id = %s and subject = %s"
    ((user_id,),) = ask(settings.postgres.dsn("admin"), users, admin.tenant_id, HEAVY)
    for budget in (
        {"level": "org", "period": "month", "limit_micro_usd": LIMIT},
        {"level": "user", "subject": str(user_id), "period": "day", "limit_micro_usd": USERS_LIMIT},
    ):
        assert (await admin.put("/v1/budgets", budget)).status_code == 200


async def explain_when_all_is_counted(caller: Caller, settings: Settings) -> dict[str, Any]:
    """What a day's books say when nothing is in flight, and the flow `usage` has read all of it."""
    flying = "select count(*) from app.attempts where tenant_id = %s"
    await soon(lambda: ask(settings.postgres.dsn("admin"), flying, caller.tenant_id) == [(0,)], "everything is settled")
    found: dict[str, Any] = {}

    async def is_counted() -> bool:
        found.update((await caller.get("/v1/spend/explanation")).raise_for_status().json())
        return bool(found["not_counted"]["attempts"] == 0)

    for _ in range(round(PATIENCE_S / PAUSE_S)):
        if await is_counted():
            return found
        await asyncio.sleep(PAUSE_S)
    raise AssertionError(f"the flow has not counted {found['not_counted']}")


async def hold_books(caller: Caller, api: Fleet, most: dict[UUID, int]) -> None:
    await soon(lambda: api.fake.bills.stats.open == 0, "the end of what the provider sends")
    books = await explain_when_all_is_counted(caller, api.settings)
    ledger = books["ledger"]["cost_micro_usd"]
    assert books["aggregate"] == books["ledger"]
    assert (books["aggregate_drift_micro_usd"], books["counter_drift_micro_usd"]) == (0, 0)
    for state in (await caller.get("/v1/budgets")).json()["budgets"]:
        spent, limit, peak = state["spent_micro_usd"], state["limit_micro_usd"], most[UUID(state["budget_id"])]
        print(
            f"{state['level']}: {spent} of {limit} micro-USD, at most {peak} on the way, {limit + BOUND} at the worst"
        )
        assert max(spent, peak) <= limit + BOUND
        assert state["reserved_micro_usd"] == 0
        assert spent > limit // 2, "an honest budget can be used"
        assert state["level"] != "org" or spent == ledger
    hold_bills(caller, api, ledger)


def hold_bills(caller: Caller, api: Fleet, ledger: int) -> None:
    """Each asker's rows beside the bills that the provider wrote for it: what was counted is a bill, to the
    micro-dollar; bills beside these are no more, and no larger, than the rows of what nobody could count."""
    bills = api.fake.costs_by_asker()
    counted: dict[str, Counter[int]] = defaultdict(Counter)
    uncounted: dict[str, list[int]] = defaultdict(list)
    said = 0
    for subject, source, cost, cost_max in ask(api.settings.postgres.dsn("admin"), _ROWS, caller.tenant_id):
        said += cost
        if source == "provider":
            counted[subject][cost] += 1
        elif cost_max:
            uncounted[subject].append(cost_max)
    for subject, costs in counted.items():
        assert costs <= bills[subject], f"{subject}: {costs} in the ledger, billed {bills[subject]}"
    for subject, costs in bills.items():
        rest, most = costs - counted[subject], uncounted[subject]
        assert rest.total() <= len(most), f"{subject}: {rest} are billed, and {len(most)} are in the ledger"
        assert sum(rest.elements()) <= sum(most), f"{subject}: {rest} are billed, at most {most} by the ledger"
    assert said == ledger
    exact = sum(sum(costs.elements()) for costs in counted.values())
    assert exact > 0
    total, billed = sum(costs.total() for costs in counted.values()), api.fake.bills.stats.cost_micro_usd
    print(f"ledger, counter and aggregate: {ledger} micro-USD; {total} attempts, {exact} of it, exactly as billed")
    print(f"billed {billed} in all, at most {exact + sum(map(sum, uncounted.values()))} by the ledger")


_ROWS = """
  select u.subject, e.usage_source, e.cost_micro_usd, e.cost_micro_usd + e.unseen_cost_max_micro_usd
  from app.usage_events e
  join app.users u on u.tenant_id = e.tenant_id and u.user_id = e.user_id
  where e.tenant_id = %s
"""
