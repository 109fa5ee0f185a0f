"""Every way in which a provider fails has one kind, by what is written for programs, and none is left to chance."""

from __future__ import annotations

from typing import Any, get_args

import aiohttp
import msgspec
import pytest

from connectors.llm.failures import _SAID, WAIT_S_MAX, Failure, Kind, StatusError, name_kind, read_exception, read_wait
from runtime.clock import ManualClock
from runtime.errors import AdriaticError, DependencyUnavailable
from tests.connectors.test_http_errors import raised_by

PROVIDERS = ("openai", "anthropic", "gemini")


def refused(status: int, body: Any, headers: dict[str, str] | None = None) -> StatusError:
    return StatusError(status, headers or {}, body)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", raised_by(aiohttp), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_the_client_has_a_kind(kind: type[Exception], provider: str) -> None:
    error = kind.__new__(kind, "sk-secret")
    failure = read_exception(error, provider)
    assert failure.kind in get_args(Kind)
    assert isinstance(failure.error(), AdriaticError)
    assert "sk-secret" not in str(failure.error()), "a library's own words may quote a key"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aiohttp.ConnectionTimeoutError(), "timeout"),
        (aiohttp.SocketTimeoutError(), "timeout"),
        (aiohttp.ClientOSError(), "unreachable"),
        (aiohttp.ServerDisconnectedError(), "unreachable"),
        (aiohttp.ClientPayloadError(), "unreachable"),
        (aiohttp.NonHttpUrlClientError("ftp://x"), "misconfigured"),
        (aiohttp.InvalidURL("x"), "misconfigured"),
        (msgspec.ValidationError("no"), "not-understood"),
        (msgspec.DecodeError("no"), "not-understood"),
        (ConnectionResetError("no"), "broken-stream"),
        (RuntimeError("no"), "broken-stream"),
    ],
)
def test_the_class_of_an_exception_says_what_happened(error: Exception, kind: Kind) -> None:
    assert read_exception(error, "it").kind == kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"code": "invalid_api_key"}, "credential"),
        (403, {}, "credential"),
        (404, {"code": "model_not_found"}, "not-found"),
        (429, {"code": "rate_limit_exceeded"}, "rate-limit"),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, "quota"),
        (429, {}, "rate-limit"),
        (400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, "too-large"),
        (400, {"code": None, "type": "invalid_request_error"}, "refused"),
        (422, {}, "refused"),
        (500, {}, "overloaded"),
        (503, {"type": "server_error"}, "overloaded"),
        (504, {}, "timeout"),
        (500, {"type": "api_error"}, "overloaded"),
        (529, {"type": "overloaded_error"}, "overloaded"),
        (413, {"type": "request_too_large"}, "too-large"),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_word_for_programs_beats_the_status(provider: str, status: int, error: dict[str, Any], kind: Kind) -> None:
    body = {"error": {"message": "rate limit? no: context length!", **error}}
    failure = read_exception(refused(status, body), provider)
    assert (failure.kind, failure.status) == (kind, status)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"status": "INVALID_ARGUMENT"}, "refused"),
        (400, {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}, "credential"),
        (400, {"status": "FAILED_PRECONDITION"}, "refused"),
        (403, {"status": "PERMISSION_DENIED"}, "credential"),
        (404, {"status": "NOT_FOUND"}, "not-found"),
        (413, {"status": "INVALID_ARGUMENT"}, "too-large"),
        (429, {"status": "RESOURCE_EXHAUSTED"}, "rate-limit"),
        (500, {"status": "INTERNAL"}, "overloaded"),
        (503, {"status": "UNAVAILABLE"}, "overloaded"),
        (504, {"status": "DEADLINE_EXCEEDED"}, "timeout"),
        (418, {}, "refused"),
    ],
)
def test_a_word_of_googles(status: int, error: dict[str, Any], kind: Kind) -> None:
    for body in ({"error": error}, [{"error": error}]):
        failure = read_exception(refused(status, body), "gemini")
        assert (failure.kind, failure.status) == (kind, status)


@pytest.mark.parametrize("body", [None, "text", [], [1], {"error": "a sentence"}, {"error": {"details": [1, {}]}}])
def test_a_body_of_any_shape_is_read_of_gemini(body: Any) -> None:
    assert read_exception(refused(418, body), "gemini").kind == "refused"


@pytest.mark.parametrize(
    ("delay", "wait_s"),
    [("7s", 7.0), ("34.074824224s", 34.074824224), ("0s", 0.0), ("-1s", None), ("soon", None), (7, None), (None, None)],
)
def test_a_wait_in_the_body(delay: Any, wait_s: float | None) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure"}, {"retryDelay": delay}]
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert read_exception(refused(429, body), "gemini").retry_after_s == wait_s


def test_a_wait_in_a_header_comes_before_one_in_the_body() -> None:
    body = {"error": {"details": [{"retryDelay": "7s"}]}}
    asked = refused(429, body, {"retry-after": "3"})
    assert read_exception(asked, "gemini").retry_after_s == 3.0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, ""),
        ("a page", "a page"),
        ([], ""),
        ({"error": "a sentence"}, "a sentence"),
        ({"error": {"code": 17, "message": 3}}, "3"),
        ({"message": "bare"}, "bare"),
    ],
)
def test_a_body_of_any_shape_is_read(body: Any, said: str) -> None:
    failure = read_exception(refused(418, body), "openai")
    assert (failure.kind, failure.detail) == ("refused", said)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "Thu, 01 Jan 2026 00:00:20 GMT"}, 10.0),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30.0),
        ({"retry-after": "Thu, 99 Jan 2026 00:00:30 GMT"}, None),
        ({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}, WAIT_S_MAX),
        ({"retry-after": "99999999999"}, WAIT_S_MAX),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_what_a_refusal_asks_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    assert read_wait(headers, ManualClock()) == wait_s  # it begins at midnight of 2026-01-01


def test_every_kind_says_something() -> None:
    kinds = set(get_args(Kind))
    assert set(_SAID) == kinds
    for kind in kinds:
        error = Failure(kind, "openai").error()
        assert error.detail.startswith("openai ")
        assert error.hint


def test_what_to_wait_is_said_where_it_helps() -> None:
    error = Failure("rate-limit", "openai", retry_after_s=7).error()
    assert isinstance(error, DependencyUnavailable)
    assert (error.hint, error.coordinates) == ("it asks to wait 7 s", {"retry_after_s": 7})


def test_an_unknown_word_leaves_it_to_the_status() -> None:
    assert name_kind(429, "something_new", None) == "rate-limit"
    assert name_kind(None, "something_new") == "overloaded"
