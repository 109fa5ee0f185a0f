"""What the providers behind an SDK share: one streamed answer, its time-outs, and its end.

The SDK makes the request, authenticates and names errors; its retries are off. The bytes of the answer are read here
and decoded by each provider's `AnswerDecoder`, which is pure: the SDKs' own objects cost four times as much.

Owns the time-outs until the first piece of text, between two pieces, and for the whole answer; that to connect is given
to the SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any, Generic, Protocol, TypeVar

from connectors.llm import Delta, Done, Event, Failed
from connectors.llm.failures import Failure, read_exception
from connectors.llm.sse import ServerEvent, SseDecoder
from runtime.clock import Clock
from runtime.deadline import Deadline
from runtime.settings import LlmSettings


class AnswerDecoder(Protocol):
    """Turns what a provider sends into our events. One per answer. Raises `msgspec.DecodeError` for what it cannot
    read; what it does not know it leaves out."""

    def decode(self, event: ServerEvent) -> Sequence[Event]: ...


class _Clocks:
    """How long the next piece may take, and what to say when it does not come."""

    def __init__(self, settings: LlmSettings, clock: Clock) -> None:
        self._settings = settings
        self._first = Deadline.after(settings.first_token_s, clock)
        self._total = Deadline.after(settings.total_s, clock)
        self.begun = False

    @property
    def left_s(self) -> float:
        return min(self._total.left_s, self._settings.idle_s if self.begun else self._first.left_s)

    def late(self) -> Failure:
        settings = self._settings
        if self._total.passed:
            detail, hint = f"the answer took longer than {settings.total_s:g} s", "ask for less, or raise llm.total_s"
        elif self.begun:
            detail, hint = f"it fell silent for {settings.idle_s:g} s in the middle of the answer", "ask again"
        else:
            detail = f"it did not begin to answer within {settings.first_token_s:g} s"
            hint = "ask again, or raise llm.first_token_s"
        return Failure("timeout", settings.provider, detail, hint)


class Sdk(Protocol):
    """What every client of an SDK has."""

    async def close(self) -> None: ...


SomeSdk = TypeVar("SomeSdk", bound=Sdk)


class RemoteProvider(Generic[SomeSdk]):
    """A `Provider` behind an SDK. `client` is the SDK's, `status_error` its class of errors with a `response`."""

    name: str

    def __init__(self, client: SomeSdk, status_error: type[Exception], settings: LlmSettings, clock: Clock) -> None:
        self._client = client
        self._status_error = status_error
        self._settings = settings
        self._clock = clock
        self.model = settings.model

    async def close(self) -> None:
        await self._client.close()

    async def _answer(
        self, opening: AbstractAsyncContextManager[Any], decoder: AnswerDecoder
    ) -> AsyncGenerator[Event, None]:
        """The events of one answer, of which `opening` is the SDK's streamed response.

        The connection is closed, not drained, however this ends.
        """
        clocks, lines = _Clocks(self._settings, self._clock), SseDecoder()
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(clocks.left_s):
                    response = await stack.enter_async_context(opening)
                parts = await stack.enter_async_context(aclosing(response.iter_bytes()))
                while True:
                    async with asyncio.timeout(clocks.left_s):
                        part = await anext(parts, b"")
                    for event in [event for line in lines.feed(part) for event in decoder.decode(line)]:
                        clocks.begun = clocks.begun or isinstance(event, Delta)
                        yield event
                        if isinstance(event, Done | Failed):
                            return
                    if not part:
                        failure = Failure("broken-stream", self.name, "the answer ended in the middle")
                        break
            except TimeoutError:
                failure = clocks.late()
            except Exception as error:
                failure = read_exception(error, self.name, self._status_error)
            yield Failed(failure)
