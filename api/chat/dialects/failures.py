"""Errors in the words of another protocol, so that its SDKs raise the right exceptions.

Owns the two envelopes, the handlers of a route that has one, and its part of the document. What is wrong, and with
which status, is decided by `api/problems.py` for every route alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from litestar import Request, Response
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.types import ExceptionHandlersMap

from api import openapi, problems, shapes
from api.problems import Problem

Envelope = Callable[[Problem], msgspec.Struct]


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    """What went wrong. `param` is the field that is wrong, `code` a word for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct, frozen=True):
    """An error as OpenAI's API has it, in a response or as the last chunk of a stream."""

    error: OpenAIErrorBody


class AnthropicErrorBody(msgspec.Struct, frozen=True):
    """What went wrong, `type` for programs."""

    type: str
    message: str


class AnthropicError(msgspec.Struct, frozen=True):
    """An error as Anthropic's API has it, in a response or as the last event of a stream."""

    error: AnthropicErrorBody
    request_id: str
    type: Literal["error"] = "error"


_OPENAI_CODES = {
    401: "invalid_api_key",
    404: "model_not_found",
    413: "context_length_exceeded",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
}
_OPENAI_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
"""LiteLLM takes an `invalid_request_error` for a bad request, whatever its status, unless it has OpenAI's own words."""
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def to_openai(problem: Problem) -> OpenAIError:
    status = problem.status
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    param = problem.errors[0].field or None if problem.errors else None
    code = _OPENAI_CODES.get(status, problem.code.replace("-", "_"))
    return OpenAIError(OpenAIErrorBody(_tell(problem), kind, param, code))


def to_anthropic(problem: Problem) -> AnthropicError:
    other = "api_error" if problem.status >= 500 else "invalid_request_error"
    kind = _ANTHROPIC_TYPES.get(problem.status, other)
    return AnthropicError(AnthropicErrorBody(kind, _tell(problem)), problem.request_id)


def _tell(problem: Problem) -> str:
    return f"{problem.detail} ({problem.hint})" if problem.hint else problem.detail


def handlers(envelope: Envelope) -> ExceptionHandlersMap:
    """The handlers of every route, which answer in the words of another protocol."""
    handlers = problems.handlers()
    gone = {problems.CallerGone: handlers[problems.CallerGone]}
    return {kind: _translate(handler, envelope) for kind, handler in handlers.items()} | gone


def _translate(handler: Any, envelope: Envelope) -> Any:
    def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        answer: Response[Mapping[str, Any]] = handler(request, error)
        problem = msgspec.convert(msgspec.to_builtins(answer.content), Problem)
        return Response(
            envelope(problem),
            status_code=answer.status_code,
            headers=dict(answer.headers),
            media_type="application/json",
        )

    return handle


def describe(envelope: Envelope) -> Callable[[int], ResponseSpec]:
    """What the document says of an error of such a route, by its status."""

    def describe_status(status: int) -> ResponseSpec:
        problem = openapi.exemplify(status)
        made = envelope(problem)
        return ResponseSpec(
            type(made),
            generate_examples=False,
            description=problem.detail[0].upper() + problem.detail[1:],
            media_type="application/json",
            examples=[Example(summary=problem.code, value=shapes.Verbatim(msgspec.to_builtins(made)))],
        )

    return describe_status
