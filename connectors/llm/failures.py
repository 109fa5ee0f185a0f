"""What goes wrong with a provider, as a value: its kind, and what can be done about it.

Owns the kinds, and what each means to a caller, to a breaker and to whoever may ask another provider. What can be
raised while a provider is asked becomes one of these in `read_exception`, which is total: a test walks the exceptions.
Refuses to read sentences: a kind comes from a status, a machine-readable code or the class of an exception, never from
what a provider says about it. What it says is `detail`, for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import msgspec

from connectors.http_errors import REASON_CHARS_MAX, map_error, read_seconds
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Unprepared

Kind = Literal[
    "credential",
    "quota",
    "rate-limit",
    "overloaded",
    "refused",
    "not-found",
    "too-large",
    "timeout",
    "unreachable",
    "broken-stream",
    "not-understood",
    "misconfigured",
    "ours",
]
"""`credential`: the key is not taken. `quota`: it is, and its account has no money. `rate-limit`: too much at the
moment. `overloaded`: the provider has trouble of its own. `refused`: the request as it is will never be taken.
`not-found`: no such model. `too-large`: more than the model reads. `timeout`: silence, before or in an answer.
`unreachable`: no connection. `broken-stream`: the answer ended without its end. `not-understood`: not in its dialect.
`misconfigured`: the address is none, or only points elsewhere. `ours`: we asked wrongly."""

_STATUS: Final[Mapping[int, Kind]] = {
    401: "credential",
    402: "quota",
    403: "credential",
    404: "not-found",
    408: "timeout",
    409: "overloaded",
    413: "too-large",
    429: "rate-limit",
    504: "timeout",
}

_CODES: Final[Mapping[str, Kind]] = {
    # OpenAI's `code`, and `type` where there is no code.
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "invalid_api_key": "credential",
    "model_not_found": "not-found",
    "context_length_exceeded": "too-large",
    "string_above_max_length": "too-large",
    "rate_limit_exceeded": "rate-limit",
    "server_error": "overloaded",
    "content_filter": "refused",
    "content_policy_violation": "refused",
    # Anthropic's `type`.
    "authentication_error": "credential",
    "permission_error": "credential",
    "billing_error": "quota",
    "not_found_error": "not-found",
    "request_too_large": "too-large",
    "rate_limit_error": "rate-limit",
    "timeout_error": "timeout",
    "api_error": "overloaded",
    "overloaded_error": "overloaded",
    "invalid_request_error": "refused",
    # Google's `reason` in the details, and `status` where they have none. A key that is none is an invalid argument to
    # it, so the reason comes first.
    "API_KEY_INVALID": "credential",
    "API_KEY_SERVICE_BLOCKED": "credential",
    "BILLING_DISABLED": "quota",
    "RESOURCE_EXHAUSTED": "rate-limit",
    "UNAUTHENTICATED": "credential",
    "PERMISSION_DENIED": "credential",
    "NOT_FOUND": "not-found",
    "INVALID_ARGUMENT": "refused",
    "FAILED_PRECONDITION": "refused",
    "DEADLINE_EXCEEDED": "timeout",
    "INTERNAL": "overloaded",
    "UNAVAILABLE": "overloaded",
}
"""What providers call their errors, where they do it in a word for programs."""
_VAGUE: Final = frozenset({"invalid_request_error", "server_error", "api_error", "INVALID_ARGUMENT", "INTERNAL"})
"""Words that say no more than whose fault it is. A status that says more is heard first: OpenAI calls a request that is
too large, or not allowed, invalid."""

WAIT_S_MAX: Final = 86_400.0
"""Longest wait that is believed, in seconds: limits by the day are the longest that providers have."""

_SAID: Final[Mapping[Kind, tuple[str, str]]] = {
    "credential": ("does not accept the key", "check llm.api_key and llm.base_url"),
    "quota": ("says that its account has no money left", "look at the account of llm.api_key"),
    "rate-limit": ("takes no more requests now", "try again later"),
    "overloaded": ("cannot answer now", "try again"),
    "refused": ("refuses the request", "check llm.model"),
    "not-found": ("refuses the request: it has no such model", "check llm.model and llm.base_url"),
    "too-large": ("refuses the request: it is more than the model reads", "ask with fewer sources"),
    "timeout": ("did not answer in time", "ask again"),
    "unreachable": ("does not answer", "check llm.base_url, then ask again"),
    "broken-stream": ("broke off", "ask again"),
    "not-understood": ("sent what is not understood", "check llm.provider and llm.base_url"),
    "misconfigured": ("cannot be asked", "check llm.base_url"),
    "ours": ("was asked wrongly", "the log has the reason"),
}


class Failure(msgspec.Struct, frozen=True):
    """Why there will be no more of an answer.

    `status` is the HTTP status where there was one; `retry_after_s` what the provider asks to wait, in seconds.
    """

    kind: Kind
    provider: str
    detail: str = ""
    hint: str = ""
    status: int | None = None
    retry_after_s: float | None = None

    def error(self) -> AdriaticError:
        """What it is to the caller."""
        said, hint = _SAID[self.kind]
        parts = [f"HTTP {self.status}" if self.status else "", self.detail]
        detail = ": ".join(filter(None, [f"{self.provider} {said}", ", ".join(filter(None, parts))]))
        if self.retry_after_s is not None and self.kind == "rate-limit":
            hint = f"it asks to wait {self.retry_after_s:g} s"
        waits = {} if self.retry_after_s is None else {"retry_after_s": self.retry_after_s}
        kinds = {"misconfigured": Unprepared, "ours": Defect}
        error = kinds.get(self.kind, DependencyUnavailable)(detail, hint=self.hint or hint, coordinates=waits)
        error.quoted = "" if self._is_in_our_words else self.detail
        return error

    @property
    def _is_in_our_words(self) -> bool:
        """Whether `detail` is ours. A provider that refuses may quote the prompt: its caller sees that, no log does."""
        return self.kind in ("unreachable", "broken-stream", "ours") or (self.kind == "timeout" and bool(self.hint))


def name_kind(status: int | None, *codes: str | None) -> Kind:
    """The kind of an error that a provider names: by its own word for it, else by the status. The first word counts."""
    for code in codes:
        if code and code in _CODES and not (code in _VAGUE and status in _STATUS):
            return _CODES[code]
    if status is None:
        return "overloaded"
    if 300 <= status < 400:  # not followed: the key and the prompt would go wherever it points
        return "misconfigured"
    return _STATUS.get(status, "overloaded" if status >= 500 else "refused")


class StatusError(Exception):
    """An answer of HTTP that is a refusal; `body` is decoded JSON, else text, and None where it was too long."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Any) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


def read_status(error: StatusError, provider: str, clock: Clock = SYSTEM_CLOCK) -> Failure:
    """A refusal. A message about a key can hold a part of it, so it is left out."""
    body = error.body[0] if isinstance(error.body, list) and error.body else error.body
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    named = inner if isinstance(inner, Mapping) else {"message": inner if isinstance(inner, str) else ""}
    kind = name_kind(error.status, *codes_of(named))
    detail = "" if kind == "credential" else str(named.get("message") or "")[:REASON_CHARS_MAX]
    wait_s = read_wait(error.headers, clock)
    if wait_s is None:
        wait_s = read_delay(named)
    return Failure(kind, provider, detail, status=error.status, retry_after_s=wait_s)


def codes_of(error: Mapping[str, Any]) -> Iterator[str]:
    """The words for programs in the body of an error, those that say most first."""
    for detail in _details_of(error):
        yield str(detail.get("reason") or "")
    for field in ("code", "type", "status"):
        yield str(error.get(field) or "")


def read_wait(headers: Mapping[str, str], clock: Clock = SYSTEM_CLOCK) -> float | None:
    """What the headers of a refusal ask to wait, in seconds: `retry-after-ms`, else `retry-after` as a number or a
    date. A date counts from the server's own, where it says one, since clocks differ."""
    for field, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (wait := read_seconds(headers.get(field, ""))) is not None:
            return min(wait * unit_s, WAIT_S_MAX)
    if (until := _read_date(headers.get("retry-after", ""))) is None:
        return None
    since = _read_date(headers.get("date", "")) or clock.now()
    return min(max(0.0, (until - since).total_seconds()), WAIT_S_MAX)


def read_delay(error: Mapping[str, Any]) -> float | None:
    """What the body of a refusal asks to wait, in seconds: Google's `retryDelay`, such as `"34.5s"`."""
    for detail in _details_of(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (wait := read_seconds(delay.removesuffix("s"))) is not None:
            return min(wait, WAIT_S_MAX)
    return None


def _details_of(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield detail


def _read_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read_exception(error: Exception, provider: str, clock: Clock = SYSTEM_CLOCK) -> Failure:
    """Any exception that the client or a decoder raised while an answer was read. Total."""
    if isinstance(error, msgspec.DecodeError):
        return Failure("not-understood", provider, str(error)[:REASON_CHARS_MAX])
    if isinstance(error, StatusError):
        return read_status(error, provider, clock)
    ours = error if isinstance(error, AdriaticError) else map_error(error, provider)
    if ours is None:
        return Failure("broken-stream", provider, type(error).__name__)
    if isinstance(ours, Defect):
        return Failure("ours", provider, type(error).__name__)
    if isinstance(ours, Unprepared):
        return Failure("misconfigured", provider, type(error).__name__)
    kind: Kind = "timeout" if isinstance(error, TimeoutError) else "unreachable"
    return Failure(kind, provider, type(error).__name__)
