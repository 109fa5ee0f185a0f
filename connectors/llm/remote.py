"""What the providers behind a client share: one streamed answer, its time-outs, and its end.

A provider says where it is asked, how it is authenticated, and what a request is; its `AnswerDecoder`, which is pure,
makes events of what comes. `wire` has the connections, `failures` the errors.

Owns the time-outs until the first content, between two pieces, and for the whole answer. Owns, too, that an answer is
whole only with the end that its dialect has for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import aiohttp
import msgspec

from connectors.http_errors import REASON_CHARS_MAX
from connectors.llm import CONTENT, Delta, Done, Event, Failed, count_bytes
from connectors.llm.failures import Failure, StatusError, read_exception, read_status
from connectors.llm.prompts import Prompt
from connectors.llm.sse import ServerEvent, SseDecoder
from connectors.llm.wire import ProviderClient, ProviderResponse
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
TOGETHER_BYTES_MAX = 256
"""Text that is handed on as one event. A purse looks at what an answer costs as often (`api/spend/purse.py`)."""

TOGETHER_S = 0.004
"""What comes more often than this, 250 times a second, is read so often. Screens show 60 pictures a second, and what a
piece costs from here to the reader is the same for one letter and for a line."""
FAST_READS = 16
"""Reads in a row that came so fast until one waits: an answer that is short waits for nothing."""


class AnswerDecoder(Protocol):
    """Turns what a provider sends into our events. One per answer."""

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        """Raises `msgspec.DecodeError` for what it cannot read; what it does not know it leaves out."""

    def end(self) -> Done | Failed:
        """What it means that nothing more comes. Most dialects have an event for their end: then it broke off."""


def break_off(provider: str, detail: str = "the answer ended in the middle") -> Failed:
    """The last event of an answer that has not its end."""
    return Failed(Failure("broken-stream", provider, detail))


def join(events: Iterable[Event]) -> Iterator[Event]:
    """Make one event of pieces of text that came together. A model that writes faster than its answer is read costs a
    step for each event, and a reader sees the same text in the same moment. What goes wrong goes wrong behind the text
    that came before it."""
    texts: list[str] = []
    left_bytes = TOGETHER_BYTES_MAX
    try:
        for event in events:
            size_bytes = count_bytes(event.text) if type(event) is Delta else 0
            if type(event) is not Delta or size_bytes > left_bytes:
                yield from _let_go(texts)
                left_bytes = TOGETHER_BYTES_MAX
            if type(event) is Delta:
                texts.append(event.text)
                left_bytes -= size_bytes
            else:
                yield event
    except msgspec.DecodeError:
        yield from _let_go(texts)
        raise
    yield from _let_go(texts)


def _let_go(texts: list[str]) -> Iterator[Delta]:
    """The text that was held, as one event, if there is any; none is held afterwards."""
    if texts:
        yield Delta("".join(texts))
        texts.clear()


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


class ReadPace:
    """How long to leave an answer that comes faster than anybody reads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_s = -TOGETHER_S
        self._waited_s = 0.0
        self._in_row = 0

    def next_wait_s(self) -> float:
        """Tell of a read that has brought something, and get what to wait for before the next one, in seconds."""
        now_s = self._clock.monotonic()
        came_after_s = now_s - self._read_s - self._waited_s
        self._read_s = now_s
        self._in_row = self._in_row + 1 if came_after_s < TOGETHER_S else 0
        self._waited_s = TOGETHER_S if self._in_row > FAST_READS else 0.0
        return self._waited_s


class RemoteProvider:
    """A `Provider` behind HTTP. `url` is where it is asked."""

    name: str

    def __init__(self, url: str, settings: LlmSettings, credential: Credential, clock: Clock) -> None:
        self._client = ProviderClient(url, settings.connect_s)
        self._credential = credential
        self._settings = settings
        self._clock = clock
        self.model = settings.model

    async def close(self) -> None:
        await self._client.close()

    def _authenticate(self, key: str) -> Mapping[str, str]:
        """The headers by which a request proves itself; `key` is empty for a server that wants none."""
        raise NotImplementedError

    def _encode(self, prompt: Prompt) -> Mapping[str, Any]:
        """The body of a request. Raises `msgspec.DecodeError` for a schema in the prompt that is no JSON."""
        raise NotImplementedError

    def _new_decoder(self) -> AnswerDecoder:
        raise NotImplementedError

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """See `Provider`. The connection is closed, not drained, however this ends."""
        clocks, lines, decoder = _Clocks(self._settings, self._clock), SseDecoder(), self._new_decoder()
        opened, stage, pace = False, stages.begin_part("http_connect"), ReadPace(self._clock)
        async with AsyncExitStack() as stack:
            stack.callback(lambda: stage.end())
            try:
                async with asyncio.timeout(clocks.left_s):
                    response = await self._connect(stack, self._encode(prompt), stages.tell(stage))
                opened, stage = True, _turn(stage, "wait_for_first_token")
                while True:
                    part = await response.read(clocks.left_s)
                    for event in join(event for line in lines.feed(part) for event in decoder.decode(line)):
                        if not clocks.begun and isinstance(event, CONTENT):
                            clocks.begun, stage = True, _turn(stage, "stream_tokens")
                        if isinstance(event, Failed):
                            yield self._hide_key(event.failure)
                            return
                        yield event
                        if isinstance(event, Done):
                            await response.read_rest()
                            return
                    if not part:
                        yield decoder.end()
                        return
                    if wait_s := pace.next_wait_s():
                        await asyncio.sleep(wait_s)
            except aiohttp.ClientError as error:  # some of them are time-outs too, but not ours
                failure = self._read(error, opened)
            except TimeoutError:
                failure = clocks.late()
            except Exception as error:
                failure = self._read(error, opened)
            stage.end(failed=True)
            yield self._hide_key(failure)

    async def _connect(
        self, stack: AsyncExitStack, request: Mapping[str, Any], headers: Mapping[str, str]
    ) -> ProviderResponse:
        """The response to a request. A key that is not taken is read again, and when there is another one by then, that
        is tried, once: a key that was changed costs nobody an answer."""
        key = await self._find_key()
        try:
            return await self._post(stack, request, headers, key)
        except StatusError as error:
            if read_status(error, self.name, self._clock).kind != "credential" or not await self._credential.renew(key):
                raise
        return await self._post(stack, request, headers, await self._find_key())

    async def _post(
        self, stack: AsyncExitStack, request: Mapping[str, Any], headers: Mapping[str, str], key: str
    ) -> ProviderResponse:
        return await stack.enter_async_context(self._client.post(request, {**headers, **self._authenticate(key)}))

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
        failure = read_exception(error, self.name, self._clock)
        # A connection that is lost while an answer comes was there, and the answer has not its end.
        lost = opened and failure.kind == "unreachable"
        return msgspec.structs.replace(failure, kind="broken-stream") if lost else failure
