"""`POST /mcp`: one message of the Model Context Protocol a request, answered whole.

Owns the HTTP of it: who may send from a browser, what a caller without a credential is told, and where the document of
the protected resource is (RFC 9728). A caller's token ends here: it is checked like on every route, for this API as its
audience, and is passed on to nobody.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, Request, Response
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.types import ExceptionHandlersMap

from api.auth.middleware import PUBLIC
from api.auth.roles import NEEDS_READ
from api.auth.users import Principal
from api.chat.dialects import failures
from api.mcp.endpoint import MESSAGE_BYTES_MAX, McpEndpoint
from api.mcp.messages import McpMessage, McpReply, to_fault
from api.routes import By, body, get, post
from runtime.errors import Forbidden, NotFound
from runtime.settings import Settings

PATH: Final = "/mcp"
METADATA_PATH: Final = f"/.well-known/oauth-protected-resource{PATH}"

_CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "search_adrs", "arguments": {"query": "why is there no dual write"}},
}
_REPLY = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "…"}], "isError": False}}
_METADATA = {
    "resource": "https://adr.example.com/mcp",
    "authorization_servers": ["https://login.example.com"],
    "bearer_methods_supported": ["header"],
    "resource_name": "Adriatic",
}


class ProtectedResource(msgspec.Struct, frozen=True):
    """What a client reads to know who gives tokens for `/mcp`."""

    resource: str
    authorization_servers: list[str]
    bearer_methods_supported: list[str]
    resource_name: str


def _exception_handlers() -> ExceptionHandlersMap:
    """Errors in the words of the protocol. One for want of a credential says where to get one."""
    return {kind: _point_to_issuer(handler) for kind, handler in failures.handlers(to_fault).items()}


def _point_to_issuer(handler: Any) -> Any:
    def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        answer: Response[Any] = handler(request, error)
        settings: Settings = request.app.state.settings
        challenge = answer.headers.get("www-authenticate")
        if challenge and settings.auth.jwks_url:
            where = f"{_public_url(request, settings)}{METADATA_PATH}"
            answer.headers["www-authenticate"] = f'{challenge}, resource_metadata="{where}"'
        return answer

    return handle


def _public_url(request: Request[Any, Any, Any], settings: Settings) -> str:
    """How clients reach this API: as the settings say, else as this one did."""
    return settings.api.public_url.rstrip("/") or str(request.base_url).rstrip("/")


def require_known_origin(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Raise `Forbidden` for a page of an origin that is not named: a name that is made to point here, after a browser
    has loaded a page from it, is such a one."""
    origin = request.headers.get("origin")
    if origin is not None and origin not in settings.api.cors_origins and "*" not in settings.api.cors_origins:
        raise Forbidden(f"pages of {origin[:200]} may not ask here", hint="api.cors_origins names those that may")


class McpController(Controller):
    """The tools of editors and other agents."""

    tags = ("mcp",)

    @post(
        PATH,
        "Send a message of the Model Context Protocol",
        _REPLY,
        "The answer, as one object of JSON; never a stream.",
        answer=McpReply,
        also={202: (None, "A notification, which has no answer.")},
        errors=(404, 413, 415, 429),
        describe=failures.describe(to_fault),
        opt=NEEDS_READ,
        request_max_body_size=MESSAGE_BYTES_MAX,
        exception_handlers=_exception_handlers(),
    )
    async def exchange_message(
        self,
        request: Request[Any, Any, Any],
        settings: NamedDependency[Settings],
        mcp: NamedDependency[McpEndpoint],
        principal: By,
        data: Annotated[McpMessage, body("Search", _CALL)],
    ) -> Response[Any]:
        """Tools that read the decision records of the caller's tenant, records as resources, and prompts, by the
        protocol's streamable HTTP in all its revisions. There are no sessions: each message stands alone, and any
        process answers it. Errors are those of JSON-RPC; a tool that cannot do what was asked says so in its result.
        """
        require_known_origin(request, settings)
        answer = await mcp.exchange(principal, request.headers, await request.body())
        return Response(answer.body, status_code=answer.status, media_type="application/json")

    @get(
        METADATA_PATH,
        "Who gives tokens for /mcp",
        _METADATA,
        "The document of the protected resource (RFC 9728).",
        errors=(404,),
        public=True,
        opt=PUBLIC,
    )
    async def get_protected_resource(self, request: Request[Principal, Any, State]) -> ProtectedResource:
        """404 where no identity provider is set: then tokens come from `adriatic token`, and keys from
        `adriatic keys create`."""
        settings: Settings = request.app.state.settings
        if not settings.auth.jwks_url:
            raise NotFound("no identity provider gives tokens here", hint="`adriatic keys create` makes an API key")
        return ProtectedResource(
            f"{_public_url(request, settings)}{PATH}", [settings.auth.issuer], ["header"], "Adriatic"
        )
