"""The drill of spending: alerts, the switch by hand and by a budget, an override, and the books at the end.

Owns the steps and what each of them must find. Each is done as any client of the API would, over HTTP. The first that
does not find it ends the drill. Refuses to make the place (`scratch`), and to print.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from adriatic.drill.scratch import ANSWER_MICRO_USD
from adriatic.drill.steps import ROOM_MICRO_USD, DrillWork, ScratchDrill, require, wait_until

ANSWERS = 10
"""Short answers that the budget allows: 7 of them are 70 %."""


class SpendDrill(ScratchDrill):
    """Alerts, the switch, 110 % of a budget, an override, deliveries and the books."""

    _override_id = ""

    def steps(self) -> Sequence[DrillWork]:
        return (
            ("alerts at 70, 85 and 95 %", self._cross_thresholds),
            ("stop by hand ends answers in flight", self.stop_by_hand),
            ("new answers are refused by each process", self.check_refusal),
            ("resume by hand", self.resume),
            ("a loop that runs away ends within its budget", self.run_away),
            ("110 % ends answers in flight", self._pass_limit),
            ("what a budget stopped is not resumed by hand", self._check_conflict),
            ("an override resumes it", self._override),
            ("an override that ended counts no longer", self._end_override),
            ("each alert was delivered", self._check_deliveries),
            ("the books close", self.check_books),
        )

    # --- the steps ------------------------------------------------------------------------------------------------

    async def _cross_thresholds(self) -> str:
        await self.limit(ANSWERS * ANSWER_MICRO_USD)
        for number in range(ANSWERS):
            status, text = await self.ask(number)
            require(status == 200, f"answer {number + 1} is {status}: {text[:200]}")
        refused, _ = await self.ask(0)
        require(refused == 429, f"an answer beyond the budget is {refused}")
        found = [alert["percent"] for alert in await self.alerts()]
        require(found == [95, 85, 70], f"the alerts are {found}")
        return f"{ANSWERS} answers, three alerts, and the next answer is refused"

    async def _pass_limit(self) -> str:
        await self.settle()
        streams = await self.stream()
        spent = (await self.budget())["spent_micro_usd"]
        said = await self.end(streams, self.limit(spent * 100 // 115))
        found = await self.alerts()
        require(found[0]["percent"] == 110, "there is no alert of 110 %")
        return said

    async def _check_conflict(self) -> str:
        response = await self.send("PUT", "/v1/spend/switch", {"state": "running", "reason": "a drill"})
        require(response.status_code == 409, f"resuming is {response.status_code}")
        await self.check_refusal()
        return "409, and answers stay refused"

    async def _override(self) -> str:
        expires_at = (self.clock.now() + timedelta(hours=1)).isoformat()
        wanted = {"budget_id": self.budget_id, "amount_micro_usd": ROOM_MICRO_USD, "reason": "a drill"}
        made = await self.do("POST", "/v1/spend/overrides", {**wanted, "expires_at": expires_at})
        self._override_id = made["override_id"]
        state = await self.do("GET", "/v1/spend/switch")
        require(state["state"] == "running", "it is still stopped")
        return await self.check_answers()

    async def _end_override(self) -> str:
        await self.do("DELETE", f"/v1/spend/overrides/{self._override_id}")
        status, _ = await self.ask(0)
        require(status == 403, f"an answer is {status}")
        (kept,) = (await self.do("GET", "/v1/spend/overrides"))["items"]
        require(kept["reason"] == "a drill" and kept["ended_at"] is not None, "the audit does not say so")
        return "answers are refused, and the override is on record"

    async def _check_deliveries(self) -> str:
        alerts = await self.alerts()

        async def is_delivered() -> bool:
            found = [each["state"] for alert in await self.alerts() for each in alert["deliveries"]]
            return len(found) == 2 * len(alerts) and set(found) == {"delivered"}

        await wait_until(is_delivered, "the alerts are not delivered")
        told = {each["alert_id"] for each in self.scratch.receiver.received}
        require(told == {alert["alert_id"] for alert in alerts}, "others were told of than were raised")
        return f"{len(alerts)} alerts, to the log and to a webhook"
