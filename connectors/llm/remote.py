"""What the providers behind a client share: one streamed answer, its time-outs, and its end.

The client (an SDK, or ours for Gemini) makes the request, authenticates and names errors; its retries are off. The
bytes of the answer are read here and decoded by each provider's `AnswerDecoder`, which is pure: the SDKs' own objects
cost four times as much.

Owns the time-outs until the first content, between two pieces, and for the whole answer; that to connect is given to
the client. Owns, too, that an answer is whole only with the end that its dialect has for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any, Generic, Protocol, TypeVar

import httpx2
import msgspec

from connectors.http_errors import REASON_CHARS_MAX
from connectors.llm import CONTENT, Done, Event, Failed
from connectors.llm.failures import Failure, read_exception
from connectors.llm.prompts import Prompt
from connectors.llm.sse import ServerEvent, SseDecoder
from connectors.secrets import Credential
from runtime import stages
from runtime.clock import Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError
from runtime.settings import LlmSettings
from runtime.stages import RequestStage

TOKENS_MAX = 1_000_000_000
"""What one answer can have read or written. The largest models read some millions: who says more says nonsense, and
nonsense in the books is worse than an estimate."""


LIMITS = httpx2.Limits(max_connections=1_000_000, max_keepalive_connections=None, keepalive_expiry=30.0)
"""How many connections an SDK has. Those who ask are bounded (`llm.in_flight_max`), so it needs no bound of its own;
and who asks again soon finds a connection that is open."""
REST_S_MAX = 0.05
"""How long the end of a response is waited for after the last event, so that its connection can be used again. It comes
with the event, or it is not worth the wait."""
UNSET_KEY = "none"
"""What a client has before its first request, and for servers that want no key."""


class AnswerDecoder(Protocol):
    """Turns what a provider sends into our events. One per answer."""

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        """Raises `msgspec.DecodeError` for what it cannot read; what it does not know it leaves out."""

    def end(self) -> Done | Failed:
        """What it means that nothing more comes. Most dialects have an event for their end: then it broke off."""


def break_off(provider: str, detail: str = "the answer ended in the middle") -> Failed:
    """The last event of an answer that has not its end."""
    return Failed(Failure("broken-stream", provider, detail))


def is_count(*counts: int) -> bool:
    """Whether these can be numbers of tokens."""
    return all(0 <= count <= TOKENS_MAX for count in counts)


class _KeyUnread(Exception):
    """The key is kept elsewhere, and could not be read. Nobody was asked."""

    def __init__(self, reason: AdriaticError) -> None:
        super().__init__(reason.detail)
        self.reason = reason


def _turn(stage: RequestStage, name: str) -> RequestStage:
    """One part of a call is over, and the next begins."""
    stage.end()
    return stages.begin_part(name)


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


async def _read_rest(parts: AsyncGenerator[bytes, None]) -> None:
    """Read to the end of a response, if it is there. What goes wrong after an answer is nobody's concern."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(REST_S_MAX):
            while await anext(parts, b""):
                pass


class Sdk(Protocol):
    """What every client of an SDK has."""

    async def close(self) -> None: ...


SomeSdk = TypeVar("SomeSdk", bound=Sdk)


class RemoteProvider(Generic[SomeSdk]):
    """A `Provider` behind a client. `client` is the SDK's, `status_error` its class of errors with a `response`."""

    name: str

    def __init__(
        self,
        client: SomeSdk,
        status_error: type[Exception],
        settings: LlmSettings,
        credential: Credential,
        clock: Clock,
    ) -> None:
        self._client = client
        self._credential = credential
        self._status_error = status_error
        self._settings = settings
        self._clock = clock
        self.model = settings.model

    async def close(self) -> None:
        await self._client.close()

    def _use_key(self, key: str) -> None:
        """Authenticate by `key` from the next request on."""
        raise NotImplementedError

    def _open(self, prompt: Prompt, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Any]:
        """The client's streamed response to a prompt, not yet asked for, with further headers. Raises
        `msgspec.DecodeError` for a schema in the prompt that is no JSON."""
        raise NotImplementedError

    def _new_decoder(self) -> AnswerDecoder:
        raise NotImplementedError

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """See `Provider`. The connection is closed, not drained, however this ends."""
        clocks, lines, decoder = _Clocks(self._settings, self._clock), SseDecoder(), self._new_decoder()
        opened, stage = False, stages.begin_part("http_connect")
        async with AsyncExitStack() as stack:
            stack.callback(lambda: stage.end())
            try:
                async with asyncio.timeout(clocks.left_s):
                    response = await self._connect(stack, prompt, stages.tell(stage))
                opened, stage = True, _turn(stage, "wait_for_first_token")
                parts = await stack.enter_async_context(aclosing(response.iter_bytes()))
                while True:
                    async with asyncio.timeout(clocks.left_s):
                        part = await anext(parts, b"")
                    for event in (event for line in lines.feed(part) for event in decoder.decode(line)):
                        if not clocks.begun and isinstance(event, CONTENT):
                            clocks.begun, stage = True, _turn(stage, "stream_tokens")
                        if isinstance(event, Failed):
                            yield self._hide_key(event.failure)
                            return
                        yield event
                        if isinstance(event, Done):
                            await _read_rest(parts)
                            return
                    if not part:
                        yield decoder.end()
                        return
            except TimeoutError:
                failure = clocks.late()
            except Exception as error:
                failure = self._read(error, opened)
            stage.end(failed=True)
            yield self._hide_key(failure)

    async def _connect(self, stack: AsyncExitStack, prompt: Prompt, headers: Mapping[str, str]) -> Any:
        """The response to a prompt. A key that is not taken is read again, and when there is another one by then, that
        is tried, once: a key that was changed costs nobody an answer."""
        key = await self._find_key()
        self._use_key(key)
        try:
            return await stack.enter_async_context(self._open(prompt, headers))
        except self._status_error as error:
            if read_exception(error, self.name, self._status_error, self._clock).kind != "credential":
                raise
            if not await self._credential.renew(key):
                raise
        self._use_key(await self._find_key())
        return await stack.enter_async_context(self._open(prompt, headers))

    async def _find_key(self) -> str:
        try:
            return await self._credential.get()
        except AdriaticError as error:
            raise _KeyUnread(error) from error

    def _hide_key(self, failure: Failure) -> Failed:
        """The last event of a failure, without the key that the provider may have quoted."""
        return Failed(msgspec.structs.replace(failure, detail=self._credential.hide(failure.detail)))

    def _read(self, error: Exception, opened: bool) -> Failure:
        if isinstance(error, msgspec.DecodeError) and not opened:
            return Failure("ours", self.name, f"a schema is no JSON: {error}"[:REASON_CHARS_MAX])
        if isinstance(error, _KeyUnread):
            return Failure(
                "unreachable", self.name, f"its key cannot be read: {error.reason.detail}", error.reason.hint
            )
        failure = read_exception(error, self.name, self._status_error, self._clock)
        # A connection that is lost while an answer comes was there, and the answer has not its end.
        lost = opened and failure.kind == "unreachable"
        return msgspec.structs.replace(failure, kind="broken-stream") if lost else failure
