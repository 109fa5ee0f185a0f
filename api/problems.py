"""What a caller gets when something is wrong: RFC 9457 problem details, always with a code, a reason and a next step.

Owns the shape, the mapping from our errors and from Litestar's to a status, and the headers that go with it
(`WWW-Authenticate`, `Retry-After`, `Allow`). Refuses to leak: an unexpected exception shows its request id and nothing
else; the log has the rest under the same id.
"""

from __future__ import annotations

import http
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.types import ExceptionHandlersMap

from api.db import RETRY_AFTER_S
from api.edge import CLIENT_GONE
from api.requests import explain, find_literals
from runtime.errors import AdriaticError, CallerError, Defect, OperatingError, Unauthenticated
from runtime.logs import get_logger

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:adriatic:problem:"
REALM = "adriatic"
DETAIL_CHARS_MAX = 2000
"""Longest text of a problem in one field: values come from callers, and an answer must not echo a megabyte back."""

log = get_logger("api")


class CallerGone(Exception):
    """Nobody is there any more to be told what became of the request."""


class FieldProblem(msgspec.Struct, frozen=True):
    """One field that is wrong: where (`body`, `query`, `path`, `header`), which, and why."""

    source: str
    field: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details. `code` is stable: match on it, not on the texts. `hint` says what to do next."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    request_id: str
    hint: str = ""
    errors: list[FieldProblem] = []
    current_version: int | None = None
    position: int | None = None
    budget_id: UUID | None = None
    limit_micro_usd: int | None = None
    resets_at: datetime | None = None


_OF_A_BUDGET = ("budget_id", "limit_micro_usd", "resets_at")
_ROUTING_CODES = {404: "no-such-route", 405: "method-not-allowed", 413: "too-large"}
_ROUTING_HINTS = {
    404: "GET /openapi.json lists the routes; ids in paths are UUIDs",
    405: "the Allow header lists the methods",
    413: "send less in one request; GET /openapi.json has the limit of each route",
}


def handlers() -> ExceptionHandlersMap:
    """What the app registers: every exception has exactly one way out."""
    return {
        AdriaticError: _ours,
        Defect: _answer_unexpected,
        HTTPException: _litestars,
        CallerGone: _answer_nobody,
        Exception: _answer_unexpected,
    }


def _answer_nobody(request: Request[Any, Any, Any], error: Exception) -> Response[None]:
    return Response(None, status_code=CLIENT_GONE)


def problem_of(error: AdriaticError, path: str, request_id: str) -> Problem:
    """The same for a response that has begun, whose status nobody can change any more."""
    problem = _problem(_status(error), error.code, error.detail, error.hint, path, request_id)
    known = {name: value for name, value in error.coordinates.items() if name in _OF_A_BUDGET}
    return msgspec.structs.replace(problem, **known)


def _problem(status: int, code: str, detail: str, hint: str, path: str, request_id: str) -> Problem:
    return Problem(
        type=TYPE_PREFIX + code,
        title=http.HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail[:DETAIL_CHARS_MAX],
        hint=hint[:DETAIL_CHARS_MAX],
        instance=path[:DETAIL_CHARS_MAX],
        request_id=request_id,
    )


def _status(error: AdriaticError) -> int:
    if isinstance(error, CallerError):
        return error.status
    return 503 if isinstance(error, OperatingError) and not isinstance(error, Defect) else 500


def _ours(request: Request[Any, Any, Any], error: AdriaticError) -> Response[dict[str, Any]]:
    headers: dict[str, str] = {}
    status = _status(error)
    if not isinstance(error, CallerError):
        log.warning("request failed", code=error.code, detail=error.loggable, status=status)
    if status in (429, 503):
        # Whole seconds, which is all that the header can say.
        headers["retry-after"] = str(math.ceil(error.coordinates.pop("retry_after_s", RETRY_AFTER_S)))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = _challenge(error)
    if scope := error.coordinates.pop("scope", None):
        headers["www-authenticate"] = f'Bearer realm="{REALM}", error="insufficient_scope", scope="{scope}"'
    return _answer(request, status, error.code, error.detail, error.hint, headers, error.coordinates)


def _litestars(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    status = error.status_code
    if status >= 500:
        return _answer_unexpected(request, error)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == 400:
        faults = tuple(_fault(request, each) for each in error.extra) if isinstance(error.extra, list) else ()
        detail = "; ".join(_sentence(each) for each in faults) or error.detail
        hint = "GET /openapi.json documents what each field may be"
        return _answer(request, 400, "invalid-input", detail, hint, headers, {"errors": faults} if faults else {})
    path = request.scope["path"]
    detail = {
        404: f"nothing answers to {request.method} {path}",
        405: f"{path} does not take {request.method}",
        413: _too_large(request),
    }.get(status, error.detail)
    code = _ROUTING_CODES.get(status, "bad-request")
    return _answer(request, status, code, detail, _ROUTING_HINTS.get(status, ""), headers, {})


def _too_large(request: Request[Any, Any, Any]) -> str:
    handler = request.scope.get("route_handler")
    limit = handler.resolve_request_max_body_size() if isinstance(handler, HTTPRouteHandler) else None
    length = request.headers.get("content-length", "")
    sent = f"has {length[:20]} bytes, and" if length.isdigit() else "is too large:"
    return f"the body {sent} this route takes at most {limit} bytes"


def _answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    log.error("unexpected exception", exc_info=error, route=request.scope.get("path_template"))
    hint = "the log has the reason under this request id"
    return _answer(request, 500, "internal", "something went wrong on our side", hint, {}, {})


def _answer(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    detail: str,
    hint: str,
    headers: Mapping[str, str],
    extension: Mapping[str, Any],
) -> Response[dict[str, Any]]:
    request_id = request.scope.get("state", {}).get("request_id", "")
    content = msgspec.to_builtins(_problem(status, code, detail, hint, request.scope["path"], request_id))
    content |= {name: value for name, value in extension.items() if name not in content}
    return Response(content, status_code=status, headers=dict(headers), media_type=MEDIA_TYPE)


def _challenge(error: Unauthenticated) -> str:
    """RFC 6750: no error code when no token was shown, `invalid_token` when one was and is not good."""
    if not error.coordinates.pop("presented", False):
        return f'Bearer realm="{REALM}"'
    description = error.detail.replace("\\", "'").replace('"', "'").encode("ascii", "replace").decode()
    return f'Bearer realm="{REALM}", error="invalid_token", error_description="{description}"'


def _sentence(fault: FieldProblem) -> str:
    return f"{fault.source} {fault.field}: {fault.detail}" if fault.field else fault.detail


def _fault(request: Request[Any, Any, Any], raw: Any) -> FieldProblem:
    message = dict(raw) if isinstance(raw, Mapping) else {"message": str(raw)}
    key = str(message.get("key", ""))
    if key == "data":
        return FieldProblem("body", "", "this route needs a JSON body")
    handler = request.scope.get("route_handler")
    field = handler.parsed_fn_signature.parameters.get(key) if isinstance(handler, HTTPRouteHandler) else None
    source = message.get("source", "body")
    if field is not None and isinstance(field.kwarg_definition, ParameterKwarg):
        source, key = field.kwarg_definition.param_type, _name_on_the_wire(field.kwarg_definition, key)
    detail = explain(str(message["message"]), [] if field is None else find_literals(field.raw))
    return FieldProblem(str(getattr(source, "value", source)), key, detail)


def _name_on_the_wire(kwarg: ParameterKwarg, name: str) -> str:
    return kwarg.name or name
