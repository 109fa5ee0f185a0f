"""What is between a request and the bytes of its answer, whatever the client speaks: the wait, the whole, the stream.

Owns what happens before the first byte: an error as long as nothing was shown, and a caller who hangs up while nothing
was. Refuses dialects (`encoding`, `dialects`), and Litestar's `ServerSentEvent`, whose generator is not closed when a
caller leaves early.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any
from uuid import UUID

from litestar import Request, Response
from litestar.response import Stream
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send

from api.auth.users import Principal
from api.chat import caching, encoding, limits
from api.chat.answers import Answer, Cursor
from api.chat.ledger import Attempt
from api.chat.schemas import ChatEvent
from api.chat.supervisor import AnswerSupervisor
from api.edge import CLIENT_GONE
from api.problems import CallerGone
from api.sse import HEADERS, KEEP_ALIVE_S, MEDIA_TYPE
from connectors.llm.routing.slots import SlotLease
from runtime import metrics
from runtime.ids import new_id


def make_attempt(request: Request[Any, Any, Any], principal: Principal, session_id: UUID | None) -> Attempt:
    """The first attempt of a request. Without `session_id` it begins a conversation of its own."""
    if session_id is None:
        metrics.CHAT_SESSIONS.inc()
    return Attempt(
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        session_id=session_id or new_id(),
        attempt_id=new_id(),
        request_id=request.scope.get("state", {}).get("request_id", ""),
        path=request.scope["path"],
        key_id=principal.key_id,
    )


@asynccontextmanager
async def wait_for_turn(
    request: Request[Any, Any, Any], supervisor: AnswerSupervisor, principal: Principal, model: str | None
) -> AsyncIterator[None]:
    """Wait until an answer may begin, before anything is done for it; inside of the block it is prepared and started.
    Raises as `AnswerSupervisor.admit` and `StartPacer.take` do, and `CallerGone` when the caller hung up meanwhile."""
    supervisor.admit(principal.tenant_id, model)
    places: list[SlotLease] = []

    async def wait() -> None:
        places.append(await supervisor.starts.take(principal.tenant_id))

    try:
        if supervisor.starts.free:  # then it is there at once
            await wait()
        elif not await _wait(request, wait()):
            raise CallerGone
        yield
    finally:
        for place in places:
            place.release()


async def stream(
    request: Request[Any, Any, Any],
    answer: Answer,
    dialect: encoding.Encode | None = None,
    headers: Mapping[str, str] = HEADERS,
    on_begun: Callable[[], Awaitable[None]] | None = None,
) -> Response[Any]:
    """The answer as it is written, in our dialect or another. `on_begun` is done as soon as there is something to show,
    before it is shown. Raises what went wrong, if nothing was shown by then."""
    cursor = answer.open()
    try:
        began = await _wait(request, answer.first())
        if began and on_begun:
            await on_begun()
    except BaseException:
        cursor.close()
        raise
    if not began:
        cursor.close()
        return Response(None, status_code=CLIENT_GONE)
    told = {**headers, **_tell(answer)}
    return LiveStream(cursor, dialect, told)


class LiveStream(Stream):
    """An answer that this process writes. When its caller leaves, the place in the log is given up in that moment, and
    with the last one the provider's connection: tasks are told afterwards, each in its turn."""

    def __init__(self, cursor: Cursor, dialect: encoding.Encode | None, headers: Mapping[str, str]) -> None:
        super().__init__(encoding.frames(cursor, dialect), media_type=MEDIA_TYPE, headers=headers)
        self._cursor = cursor

    def to_asgi_response(self, *arguments: Any, **options: Any) -> Any:
        """See Litestar."""
        made = super().to_asgi_response(*arguments, **options)
        return _Sending(made, self._cursor) if isinstance(made, ASGIStreamingResponse) else made


class _Sending:
    """Sends a stream, and listens whether its caller is there."""

    def __init__(self, response: ASGIStreamingResponse, cursor: Cursor) -> None:
        self._response = response
        self._cursor = cursor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listening = asyncio.create_task(self._listen(receive))
        try:
            await self._response.start_response(send)
            async for part in self._response.iterator:
                await send(_body(part, more=True))
            await send(_body(b"", more=False))
        finally:
            self._cursor.close()
            listening.cancel()

    async def _listen(self, receive: Receive) -> None:
        await _await_disconnect(receive)
        self._cursor.close()


def _body(part: Any, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": part, "more_body": more}


async def collect(
    request: Request[Any, Any, Any], answer: Answer, render: Callable[[list[ChatEvent]], bytes]
) -> Response[Any]:
    """The answer in one piece, when it is whole. Raises what went wrong, however much there was by then: half an
    answer without its end must not look like one."""
    events: list[ChatEvent] = []
    with closing(answer.open()) as cursor:
        if not await _wait(request, _read_all(cursor, events)):
            return Response(None, status_code=CLIENT_GONE)
    if answer.failure:
        raise answer.failure
    return Response(render(events), media_type="application/json", headers=_tell(answer))


def _tell(answer: Answer) -> dict[str, str]:
    """What the headers say of an answer that has begun."""
    return {**limits.tell(answer.standings), **caching.tell(answer.cache)}


async def _read_all(cursor: Cursor, events: list[ChatEvent]) -> None:
    while not cursor.at_end:
        events += [event for _, event in await cursor.read(KEEP_ALIVE_S)]


async def _wait(request: Request[Any, Any, Any], work: Coroutine[Any, Any, None]) -> bool:
    """True when `work` is done, False when the caller hung up before. Raises what `work` raises."""
    task = asyncio.current_task()
    assert task, "a request has a task"
    hung_up = done = False

    def leave(gone: asyncio.Task[None]) -> None:
        nonlocal hung_up
        if not (done or gone.cancelled()):
            hung_up = True
            task.cancel()

    gone = asyncio.create_task(_await_disconnect(request.receive))
    gone.add_done_callback(leave)
    try:
        await work
    except asyncio.CancelledError:
        # Only what we asked for ourselves: somebody else's wish to end this request goes on.
        if not hung_up or task.uncancel() > 0:
            raise
        return False
    finally:
        done = True
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    return True


async def _await_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
