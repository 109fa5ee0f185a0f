"""The contract that the API publishes: what each answer looks like, with an example, and what can go wrong.

Owns the helper with which every route documents itself, and the document's frame. A test walks the document and fails
on a route without an operation id, a summary, an example, or its errors. Refuses pages that load scripts from
elsewhere: the document is served as JSON and as YAML.
"""

from __future__ import annotations

import http
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from litestar import Litestar, Request, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import (
    Components,
    Example,
    License,
    Operation,
    Parameter,
    RequestBody,
    SecurityScheme,
)
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ControllerRouterHandler

from api import shapes
from api.auth.middleware import PUBLIC
from api.auth.roles import SCOPES, scope_of
from api.problems import MEDIA_TYPE, TYPE_PREFIX, FieldProblem, Problem
from runtime import __version__
from schemas.flows import KeptView

ALWAYS = (400, 401, 403, 503)
"""What every route that needs a token can answer; the others can answer 400."""

_PROBLEMS: dict[int, tuple[str, str, str]] = {
    # status: code, detail, hint
    400: ("invalid-input", "unknown field(s): titel", "this body takes: title, body, status, log, tags"),
    401: ("unauthenticated", "the token has expired", "ask for a new one"),
    403: ("forbidden", "this needs the role admin (scope admin), and you have chat, read, write", "ask an admin"),
    404: ("not-found", "there is no such ADR", "GET /v1/adrs lists them"),
    408: ("too-slow", "the body did not arrive in time", "send at least 16384 bytes a second"),
    409: ("conflict", "the ADR is at version 4, the change was made from 3", "read it again, then repeat"),
    410: ("gone", "the ADR was deleted", "POST …/restore brings it back"),
    413: ("too-large", "the text has 2000000 bytes", "at most 1048576"),
    415: ("unsupported-media-type", "this route does not read text/plain", "send JSON"),
    422: ("unprocessable", "the text cannot be read", "see detail"),
    428: ("precondition-required", "no version is named", "send If-Match or expected_version"),
    429: ("rate-limited", "too many requests", "try again later"),
    503: ("dependency-unavailable", "the database cannot serve right now", "try again in 2 s"),
}


def answers(
    data: Any,
    example: Any,
    *,
    status: int = 200,
    description: str = "Done.",
    errors: Sequence[int] = (),
    media_type: str = "application/json",
    public: bool = False,
    describe: Callable[[int], ResponseSpec] | None = None,
) -> dict[int, ResponseSpec]:
    """The `responses=` of a route: its answer with an example, and its errors: as problem details, or as `describe` has
    them."""
    documented = {
        status: ResponseSpec(
            data,
            generate_examples=False,
            description=description,
            media_type=media_type,
            examples=[Example(summary="Example", value=shapes.Verbatim(example))],
        )
    }
    slow = (408,) if 415 in errors else ()
    for code in sorted({*errors, *slow, *((400,) if public else ALWAYS)}):
        documented[code] = (describe or _describe)(code)
    return documented


def exemplify(status: int) -> Problem:
    """A problem as it could be, of this status."""
    code, detail, hint = _PROBLEMS[status]
    return Problem(
        type=TYPE_PREFIX + code,
        title=http.HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        hint=hint,
        instance="/v1/adrs",
        request_id="0199f0c2a1b27c3d8e4f5a6b7c8d9e0f",
        errors=[FieldProblem("body", "titel", "unknown")] if status == 400 else [],
        current_version=4 if status == 409 else None,
    )


def _describe(status: int) -> ResponseSpec:
    problem = exemplify(status)
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=problem.detail[0].upper() + problem.detail[1:],
        media_type=MEDIA_TYPE,
        examples=[Example(summary=problem.code, value=msgspec.to_builtins(problem))],
    )


def operations(app: Litestar) -> Iterator[Operation]:
    """What the document has."""
    for path in (app.openapi_schema.paths or {}).values():
        yield from filter(None, (path.get, path.post, path.put, path.patch, path.delete))


def parameters_of(operation: Operation) -> list[Parameter]:
    return [each for each in operation.parameters or () if isinstance(each, Parameter)]


def kind_of(parameter: Parameter) -> shapes.ParameterKind:
    """How a parameter of the completed document is read."""
    schema = parameter.schema.to_schema() if parameter.schema else {}
    if schema.get("type") == "array":
        return "list"
    if schema.get("format") == "date-time":
        return "time"
    return "text" if schema.get("type") == "string" and not schema.keys() & {"format", "enum"} else "value"


def complete(app: Litestar, views: Iterable[KeptView]) -> None:
    """Write into the document what Litestar's description of the routes leaves out."""
    shapes.complete(app)
    _state_body_limits(app)
    _name_views(app, views)
    _state_security(app)
    _require_preconditions(app)


def _state_security(app: Litestar) -> None:
    """Say of each route which scope its token or key needs, or that it takes none."""
    needed: dict[str, list[dict[str, list[str]]]] = {
        str(handler.operation_id): [] if handler.opt.get("public") else [{"bearer": [scope_of(handler)]}]
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
    for operation in operations(app):
        operation.security = needed[str(operation.operation_id)]


def _require_preconditions(app: Litestar) -> None:
    """Mark `If-Match` as required: a client that is made from the document must not be able to forget it."""
    for operation in operations(app):
        for parameter in parameters_of(operation):
            if parameter.name == "If-Match":
                parameter.required = True


def _state_body_limits(app: Litestar) -> None:
    """Write into the document how large the body of each route may be, as the route itself has it."""
    limits = {
        handler.operation_id: handler.resolve_request_max_body_size()
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
    for operation in operations(app):
        if isinstance(operation.request_body, RequestBody):
            limit = limits[operation.operation_id]
            operation.request_body.description = f"At most {limit} bytes."
            if operation.responses and "413" in operation.responses:
                too_large = operation.responses["413"]
                too_large.description = f"The body has more than {limit} bytes, or a text is too large."


def _name_views(app: Litestar, views: Iterable[KeptView]) -> None:
    """Write into the document which views can be read live."""
    about = "One of: " + " ".join(f"`{view.name}` ({view.about})" for view in views if view.live)
    for operation in operations(app):
        for parameter in parameters_of(operation) if operation.operation_id == "readLive" else ():
            if parameter.name == "view":
                parameter.description = about


class _PlainYaml(YamlRenderPlugin):
    """YAML that every reader takes: defaults that are tuples would become Python's own tags."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, msgspec.json.decode(msgspec.json.encode(openapi_schema)))


class DocumentRouter(Router):
    """Serves the document at `/openapi.json` and `/openapi.yaml`, and nothing else.

    Litestar adds a page for unknown documents to this router, which at the root would answer for every unknown path,
    and the document at the root itself, where our page is.
    """

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        if isinstance(value, HTTPRouteHandler):
            if "/{path:str}" in value.paths:
                return []
            value.paths.discard("/")
        return super().register(value)


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Adriatic",
        version=__version__,
        summary="Architecture decision records with history, search and freshness.",
        description=(
            "Every route under `/v1` needs a bearer token or an API key, of a tenant and with the scope that the "
            "route names. Errors are RFC 9457 problem details: match on `code`, show `detail` and `hint`. Writes name "
            "the version that they were made from. Reads of materialized views say how fresh they are in `as_of`."
        ),
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description=(
                        "A token of the configured issuer (RS256, ES256 or EdDSA), or an API key (`adr_…`). Scopes: "
                        + ", ".join(f"`{scope}`" for scope in SCOPES)
                    ),
                )
            }
        ),
        security=[{"bearer": []}],
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin(path="/openapi.json"), _PlainYaml(path="/openapi.yaml")],
        openapi_router=DocumentRouter(path="/", route_handlers=[], opt=PUBLIC, include_in_schema=False),
    )
