"""The API as the command line sees it: one client, with a token, that waits out a short outage.

Owns the way from a setting to an address and a token, and from a problem document back to our errors. Retries only what
is safe to repeat and only what is the world's fault; refuses to retry anything that the caller got wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, TypeVar
from uuid import UUID

import httpx
import msgspec

from adriatic.cli.waiting import retry_until
from connectors.http_errors import translate
from connectors.llm.sse import ServerEvent, SseDecoder
from runtime import errors
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import BACKOFF_MAX_S, Deadline
from runtime.settings import Settings

OUTAGE_S_MAX = 60.0
"""How long the API, or what it depends on, may be away before a command gives up. A restart takes a few seconds."""
REQUEST_S_MAX = 60.0
"""One request. The largest is a batch of an import, which takes about a second."""
TOKEN_TTL_S = 24 * 3600
"""Life of a token that a command mints for itself: longer than any import, in seconds."""

JSON = {"content-type": "application/json"}

T = TypeVar("T")


class _Told(msgspec.Struct):
    message: str = ""
    data: dict[str, Any] = {}


class _Problem(msgspec.Struct):
    """A problem document; `error` is where JSON-RPC has it."""

    code: str = "error"
    detail: str = ""
    hint: str = ""
    error: _Told | None = None


def _family(root: type[errors.AdriaticError]) -> Iterator[type[errors.AdriaticError]]:
    yield root
    for child in root.__subclasses__():
        yield from _family(child)


class Remote:
    """Calls of one tenant. `request` may be used from one thread at a time."""

    def __init__(self, client: httpx.Client, clock: Clock = SYSTEM_CLOCK, outage_s: float = OUTAGE_S_MAX) -> None:
        self._client = client
        self._clock = clock
        self._outage_s = outage_s

    def request(self, method: str, path: str, answer: type[T], *, body: Any = None, **query: Any) -> T:
        """One call, repeated while the other side is away, for at most `outage_s`. Repeat only what is idempotent.

        `body`: JSON, or what to encode as such. Raises our own errors: `DependencyUnavailable` when it stays away, else
        what the problem document says.
        """
        content = None if body is None else _encode(body)
        headers = JSON if body is not None else None
        params = {name: value for name, value in query.items() if value is not None}

        def attempt() -> T:
            response = self._send(method, path, content=content, headers=headers, params=params)
            return answer() if response.status_code == 204 else msgspec.json.decode(response.content, type=answer)

        return self._retry(attempt)

    def send(self, method: str, path: str) -> None:
        """A call that has no answer but that it was done. Repeated as `request` is."""
        self._retry(lambda: self._send(method, path))

    def ask_again(self, path: str, body: Any, answer: type[T], headers: Mapping[str, str]) -> T:
        """A POST that changes nothing, so that it is repeated as `request` is."""

        def attempt() -> T:
            response = self._send("POST", path, content=_encode(body), headers={**JSON, **headers})
            return msgspec.json.decode(response.content, type=answer)

        return self._retry(attempt)

    def ask_once(self, path: str, body: Any, answer: type[T]) -> T:
        """A POST that is never repeated, because each call can cost money."""
        return msgspec.json.decode(self._send("POST", path, content=_encode(body), headers=JSON).content, type=answer)

    def upload(self, path: str, name: str, read: Callable[[], IO[Any]], answer: type[T]) -> tuple[T, int]:
        """Send what `read` opens as the part `file`, as it is read, and again while the other side is away.

        Returns the answer and its status.
        """

        def attempt() -> tuple[T, int]:
            with read() as content:
                response = self._send("POST", path, files={"file": (name, content)})
            return msgspec.json.decode(response.content, type=answer), response.status_code

        return self._retry(attempt)

    def events(self, path: str, body: Any) -> AbstractContextManager[Iterator[ServerEvent]]:
        """The server-sent events of a POST, as they come. Never repeated: each call can cost money.

        Leaving the block closes the connection, which stops the answer. Raises as `request` does, also while reading.
        """
        return self._stream("POST", path, JSON, _encode(body))

    def follow(self, path: str, last_event_id: str) -> AbstractContextManager[Iterator[ServerEvent]]:
        """The server-sent events of a GET, from behind `last_event_id` on. Raises as `request` does, also while
        reading; going on is for the caller, who knows the last event."""
        return self._stream("GET", path, {"last-event-id": last_event_id} if last_event_id else {})

    def _retry(self, attempt: Callable[[], T]) -> T:
        return retry_until(Deadline.after(self._outage_s, self._clock), attempt, BACKOFF_MAX_S)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._translate():
            response = self._client.request(method, path, **options)
        if not response.is_success:
            raise error_of(response.status_code, response.content)
        return response

    @contextmanager
    def _stream(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Iterator[Iterator[ServerEvent]]:
        headers = {"accept": "text/event-stream", **headers}
        with self._translate(), self._client.stream(method, path, content=body, headers=headers) as response:
            if not response.is_success:
                raise error_of(response.status_code, response.read())
            decoder = SseDecoder()
            yield (event for part in response.iter_raw() for event in decoder.feed(part))

    def _translate(self) -> AbstractContextManager[None]:
        hint = "`adriatic status` shows what runs; `adriatic up` starts it"
        return translate(f"the API at {self._client.base_url}", hint)


def _encode(body: Any) -> bytes:
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


def error_of(status: int, body: bytes) -> errors.AdriaticError:
    """Our error for a problem document with this status."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem(detail=f"the server answered {status} without saying why")
    if problem.error is not None:
        problem = _Problem(str(problem.error.data.get("code", "error")), problem.error.message)
    if status in (429, 502, 503, 504):
        return errors.DependencyUnavailable(problem.detail, hint=problem.hint)
    for kind in _family(errors.CallerError):
        if kind.code == problem.code:
            return kind(problem.detail, hint=problem.hint)
    return errors.OperatingError(f"{problem.detail} ({status} {problem.code})", hint=problem.hint)


def error_in(event: ServerEvent) -> errors.AdriaticError:
    """Our error for an event that ends a stream: its data are a problem document."""
    return error_of(msgspec.json.decode(event.data)["status"], event.data)


@contextmanager
def connect(
    url: str, token: str, *, outage_s: float = OUTAGE_S_MAX, request_s: float = REQUEST_S_MAX
) -> Iterator[Remote]:
    """A client whose requests may be silent for `request_s`."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=request_s) as client:
        yield Remote(client, outage_s=outage_s)


def local_url(settings: Settings) -> str:
    """Where this machine's API listens."""
    host = settings.api.host
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{settings.api.port}"


def local_token(settings: Settings, tenant_id: UUID, *, subject: str = "local") -> str:
    """A token of this machine's own issuer. Raises `CallerError` where an identity provider issues them."""
    from api.auth.issuer import LocalIssuer

    if settings.auth.jwks_url:
        raise errors.CallerError(
            "tokens of this installation come from its identity provider",
            hint="pass one with --token, together with --url",
        )
    return LocalIssuer.open(settings.home, settings.auth).mint(tenant_id, subject=subject, ttl_s=TOKEN_TTL_S).text
