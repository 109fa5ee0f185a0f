"""How a route is declared: its path, a summary, and an example of its answer; all else is in its function.

Owns the decorators of handlers, and the arguments that most handlers have. What a function says is not said again: its
name is the operation's id, its docstring the description, and what it returns is the type of the answer. Refuses to
know any route. Next: `api/openapi.py`, for the document that comes of it.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from uuid import UUID

import litestar
from litestar import Response
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import BodyKwarg, HeaderParameter, PathParameter

from api.auth.users import Principal
from api.db import Database
from api.openapi import answers
from api.requests import KEY_CHARS_MAX

Handler = Callable[..., Awaitable[Any]]

Db = NamedDependency[Database]
By = NamedDependency[Principal]
AdrId = Annotated[UUID, PathParameter(description="The ADR's id.")]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="ETag of the answer that you have already.")
]


def key_header(description: str) -> HeaderParameter:
    return HeaderParameter(name="Idempotency-Key", min_length=1, max_length=KEY_CHARS_MAX, description=description)


def body(summary: str, example: Any) -> BodyKwarg:
    """What stands beside the type of `data`: an example of it."""
    return BodyKwarg(examples=[Example(summary, value=example)])


def locate(path: str, *, replayed: bool) -> dict[str, str]:
    """The headers of what a request has made; `replayed`: an earlier request with the same key had made it."""
    return {"location": path} | ({"idempotent-replay": "true"} if replayed else {})


def _route(
    method: Callable[..., HTTPRouteHandler],
    path: str,
    summary: str,
    example: Any,
    description: str,
    *,
    errors: Sequence[int] = (),
    status: int = 200,
    answer: Any = None,
    also: Mapping[int, tuple[Any, str]] | None = None,
    media_type: str | None = None,
    public: bool = False,
    describe: Callable[[int], ResponseSpec] | None = None,
    **options: Any,
) -> Callable[[Handler], HTTPRouteHandler]:
    """Declare a route that answers `description`, such as `example`, or one of `errors`.

    `answer`: what the body is, where the function's own type does not say it. `also`: other answers that are none of
    the errors, each with its example (None: it has no body) and description. `describe`: what an error looks like,
    where it is no problem details. `options` are Litestar's.
    """
    shape: Callable[..., Any] = functools.partial(
        answers, media_type=media_type or "application/json", public=public, describe=describe
    )

    def declare(function: Handler) -> HTTPRouteHandler:
        data = answer or _find_answer(function)
        responses = shape(data, example, status=status, description=description, errors=errors)
        for code, (other, about) in (also or {}).items():
            responses[code] = shape(None if other is None else data, other, status=code, description=about)[code]
        named = {"operation_id": _name_operation(function.__name__)} | options
        return method(path, summary=summary, status_code=status, responses=responses, media_type=media_type, **named)(
            function
        )

    return declare


get = functools.partial(_route, litestar.get)
post = functools.partial(_route, litestar.post)
put = functools.partial(_route, litestar.put)
patch = functools.partial(_route, litestar.patch)
delete = functools.partial(_route, litestar.delete)


def _name_operation(function: str) -> str:
    """`read_live` → `readLive`."""
    first, *others = function.split("_")
    return first + "".join(map(str.title, others))


def _find_answer(function: Handler) -> Any:
    """The type of the body that a handler returns; None for none."""
    found = get_type_hints(function)["return"]
    found = get_args(found)[0] if get_origin(found) is Response else found
    return None if found is type(None) else found
