"""What many tasks ask of the database in the same milliseconds, asked in one statement.

Owns who waits for whom: while a statement of a tenant is under way, what comes for it gathers, and goes together when
that is done. Nobody waits where nothing is under way, so an idle process is as fast as without it, and a busy one pays
for one commit, one message and one wait for locks where it would pay for each. Refuses SQL, and to know what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from api.db import CallRefused
from runtime.errors import AdriaticError, DependencyUnavailable

Asked = TypeVar("Asked")
Told = TypeVar("Told")

TOGETHER_MAX = 64
"""Most that go in one statement: some 60 KB, and a few milliseconds for which the locks of a tenant are held."""

Waiting = list[tuple[Asked, "asyncio.Future[Told]"]]


class Gatherer(Generic[Asked, Told]):
    """One kind of statement. `ask_all` does all that it is given or nothing, and is for one tenant; `ask` is the same
    for one. Both raise errors of ours."""

    def __init__(
        self,
        ask_all: Callable[[UUID, Sequence[Asked]], Awaitable[Sequence[Told]]],
        ask: Callable[[Asked], Awaitable[Told]],
    ) -> None:
        self._ask_all = ask_all
        self._ask = ask
        self._waiting: dict[UUID, Waiting[Asked, Told]] = {}
        """What waits, by tenant: one that is here has a task that sends."""
        self._sending: set[asyncio.Task[None]] = set()

    async def add(self, tenant_id: UUID, asked: Asked) -> Told:
        """What `ask` gives or raises for it. Cancelling the caller does not take back what was sent."""
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        if tenant_id in self._waiting:
            self._waiting[tenant_id].append((asked, told))
        else:
            self._waiting[tenant_id] = [(asked, told)]
            task = asyncio.create_task(self._send(tenant_id), name=f"gathered of {tenant_id}")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return await told

    async def close(self) -> None:
        """Send nothing more. Whoever still waits is cancelled."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, tenant_id: UUID) -> None:
        waiting = self._waiting[tenant_id]
        together: Waiting[Asked, Told] = []
        try:
            while waiting:
                together, waiting[:] = waiting[:TOGETHER_MAX], waiting[TOGETHER_MAX:]
                await self._send_together(tenant_id, together)
        finally:
            del self._waiting[tenant_id]
            for _, told in (*together, *waiting):
                told.cancel()  # does nothing to those that were told

    async def _send_together(self, tenant_id: UUID, together: Waiting[Asked, Told]) -> None:
        if len(together) > 1:
            try:
                answers = await self._ask_all(tenant_id, [asked for asked, _ in together])
            except DependencyUnavailable as error:  # it would be so for each
                for _, told in together:
                    _tell(told, error)
                return
            except (CallRefused, AdriaticError):
                pass  # one of them is refused, and each learns by itself whether it was that one
            else:
                for (_, told), answer in zip(together, answers, strict=True):
                    _tell(told, answer)
                return
        alone: list[Told | BaseException] = await asyncio.gather(
            *(self._ask(asked) for asked, _ in together), return_exceptions=True
        )
        for (_, told), each in zip(together, alone, strict=True):
            _tell(told, each)


def _tell(told: asyncio.Future[Told], answer: Told | BaseException) -> None:
    if told.done():  # its caller left
        return
    if isinstance(answer, BaseException):
        told.set_exception(answer)
    else:
        told.set_result(answer)
