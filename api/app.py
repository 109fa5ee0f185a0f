"""The API, put together: settings in, an ASGI application out.

Owns the list of controllers, what they are given (`database`, `principal`, `settings` …), and the order of starting and
stopping. Refuses to wait for anything at start: without a database it is alive and says why it is not ready.
Read next: `api/edge.py` (every request), `api/auth/middleware.py` (every request with a token), then a controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from api import openapi, problems
from api.activity.controller import ActivityController
from api.adrs.controller import AdrController
from api.adrs.history import HistoryController
from api.adrs.relations import RelationController
from api.agents.controller import AgentController, ProposalController
from api.auth.addresses import AddressHasher
from api.auth.controller import CallerController
from api.auth.issuer import LocalIssuer
from api.auth.keys import KeyStore
from api.auth.middleware import require_token
from api.auth.tokens import TokenChecker
from api.auth.users import CONNECTIONS_MAX, Principal, Users
from api.chat.controller import ChatController
from api.chat.dialects.controller import (
    CompletionController,
    MessageController,
    ModelController,
    ResponseController,
)
from api.chat.dialects.kept_responses import KeptResponseController
from api.chat.history import AnswerController, SessionController
from api.chat.supervisor import AnswerSupervisor
from api.crawls.controller import CrawlController
from api.crawls.schedule_controller import CrawlScheduleController
from api.db import Database
from api.documents.controller import DocumentController
from api.drafts.controller import DraftController, SuggestionController
from api.edge import Edge
from api.embeddings.controller import EmbeddingController
from api.embeddings.service import EmbeddingService
from api.feeds.controller import FeedController
from api.guard.controller import GuardController
from api.hosts.controller import AllowedHostController
from api.imports.controller import FreshnessController, ImportController
from api.jobs.controller import JobController
from api.keys.controller import ApiKeyController
from api.live.controller import LiveController
from api.live.hub import Hub
from api.logs.controller import LogController
from api.logs.numbers_controller import NumberController
from api.mcp.controller import McpController
from api.mcp.endpoint import McpEndpoint
from api.ops.controller import MetricsController, OpsController
from api.ops.pipeline import PipelineController
from api.ops.readiness import Readiness
from api.page.assets import Assets
from api.page.controller import PageController
from api.pages.controller import SitePageController
from api.requests import ApiRequest, refuse_ambiguity
from api.research.controller import ResearchController
from api.search.controller import SearchController
from api.search.embedding import QueryEmbedder
from api.spaces.controller import SpaceController
from api.spend.controller import BudgetController
from api.spend.spending import SpendController
from api.suggestions.controller import RelationSuggestionController
from api.usage.controller import UsageController
from api.words.controller import WordController
from connectors import embedders
from connectors.embedders import Embedder
from connectors.embedders.spaces import space_of
from connectors.jwks import JwksClient
from connectors.llm.pseudonyms import Pseudonyms
from connectors.llm.routing.router import LlmRouter
from connectors.objects import Objects
from connectors.secrets import SecretStore
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.ops import Health
from runtime.settings import EmbedderSettings, Settings
from schemas.flows import KeptView

CONTROLLERS: tuple[ControllerRouterHandler, ...] = (
    OpsController,
    PageController,
    PipelineController,
    LogController,
    NumberController,
    JobController,
    CrawlController,
    CrawlScheduleController,
    AllowedHostController,
    SitePageController,
    FeedController,
    SearchController,
    ResearchController,
    AgentController,
    ProposalController,
    McpController,
    GuardController,
    FreshnessController,
    HistoryController,
    RelationController,
    RelationSuggestionController,
    ChatController,
    ModelController,
    CompletionController,
    ResponseController,
    KeptResponseController,
    MessageController,
    EmbeddingController,
    AnswerController,
    SessionController,
    SuggestionController,
    LiveController,
    ActivityController,
    UsageController,
    BudgetController,
    ApiKeyController,
    CallerController,
    SpendController,
    WordController,
    SpaceController,
)
"""The routes whose bounds are fixed; `routes` has them all."""

SMALL_BODY_BYTES_MAX = 65_536
"""Largest body of a route that does not say otherwise: tags, links, names."""


JSON_EXPANSION_MAX = 3
"""Bytes of a JSON body for one byte of a text: a client that escapes everything beyond ASCII needs up to three."""


def routes(settings: Settings) -> list[ControllerRouterHandler]:
    """Every route of the API. The contract test and the tenant matrix walk whatever is in here."""
    text_bytes_max = JSON_EXPANSION_MAX * settings.api.adr_bytes_max + SMALL_BODY_BYTES_MAX
    return [
        *CONTROLLERS,
        *([MetricsController] if settings.api.operator_routes else []),
        Router("/", route_handlers=[AdrController, DraftController], request_max_body_size=text_bytes_max),
        Router("/", route_handlers=[ImportController], request_max_body_size=settings.api.import_bytes_max),
        Router(
            "/",
            route_handlers=[DocumentController],
            request_max_body_size=settings.api.upload_bytes_max + SMALL_BODY_BYTES_MAX,
        ),
    ]


class Api(Litestar):
    """Litestar inside the `Edge`, which also sees the requests that match no route."""

    _edge: Edge | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._edge is None:
            self._edge = Edge(
                super().__call__, self._methods(), self.state.clock, body_s_max=self.state.settings.api.body_s_max
            )
        await self._edge(scope, receive, send)

    def end_streams(self) -> None:
        """End what would never end by itself. Call it before the server waits for its responses."""
        live: Hub | None = self.state.get("live")
        if live is not None:
            live.end_readers()

    def _methods(self) -> dict[str, frozenset[str]]:
        """What each path takes, by its template."""
        methods: dict[str, frozenset[str]] = {}
        for route in self.routes:
            if isinstance(route, HTTPRoute):
                path = route.path_format
                methods[path] = methods.get(path, frozenset()) | frozenset(map(str, route.methods))
        return methods


def create_app(
    settings: Settings, views: Sequence[KeptView], *, clock: Clock = SYSTEM_CLOCK, health: Health | None = None
) -> Api:
    """The application of one process. `views`: what the flows keep, as they declare it. Nothing is opened before its
    lifespan starts."""
    app = Api(
        route_handlers=routes(settings),
        request_class=ApiRequest,
        request_max_body_size=SMALL_BODY_BYTES_MAX,
        middleware=[require_token()],
        before_request=refuse_ambiguity,
        exception_handlers=problems.handlers(),
        dependencies=_dependencies(),
        openapi_config=openapi.config(),
        cors_config=_cors(settings),
        lifespan=[_lifespan],
        state=State({"settings": settings, "views": views, "clock": clock, "health": health or Health()}),
        logging_config=None,
    )
    openapi.complete(app, views)
    app.state.assets = Assets.load({route.path_format for route in app.routes if isinstance(route, HTTPRoute)})
    return app


def _dependencies() -> Mapping[str, Provide]:
    """What a handler gets by naming it as an argument."""

    def principal(request: Request[Principal, Any, Any]) -> Principal:
        return request.user

    def from_state(name: str) -> Provide:
        def provide(state: State) -> Any:
            return getattr(state, name)

        return Provide(provide, sync_to_thread=False)

    names = (
        "database",
        "settings",
        "clock",
        "issuer",
        "readiness",
        "embedder",
        "embeddings",
        "supervisor",
        "live",
        "objects",
        "assets",
        "mcp",
    )
    return {"principal": Provide(principal, sync_to_thread=False)} | {name: from_state(name) for name in names}


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    state = app.state
    settings: Settings = state.settings
    state.queries = {
        str(operation.operation_id): {
            each.name: openapi.kind_of(each) for each in openapi.parameters_of(operation) if each.param_in == "query"
        }
        for operation in openapi.operations(app)
    }
    state.database = Database(settings.postgres)
    await state.database.open()
    remote = JwksClient(settings.auth.jwks_url) if settings.auth.jwks_url else None
    state.issuer = None if remote else LocalIssuer.open(settings.home, settings.auth, state.clock)
    keys = KeyStore(remote.fetch if remote else _local_keys(settings, state.clock), state.clock)
    state.tokens = TokenChecker(settings.auth, keys)
    state.sights = Database(settings.postgres, connections_max=CONNECTIONS_MAX)
    await state.sights.open()
    state.users = Users(state.sights)
    state.addresses = AddressHasher.open(settings)
    state.embedder = QueryEmbedder(
        lambda: embedders.build(settings.embedder, settings.secrets), state.clock, _other_embedders(settings)
    )
    state.embeddings = EmbeddingService(settings.embedder, lambda chosen: embedders.build(chosen, settings.secrets))
    state.objects = Objects(settings)
    secrets = SecretStore(settings.secrets, state.clock)
    pseudonyms = Pseudonyms.open(settings.home, settings.llm)
    router = LlmRouter(settings.llm, state.clock, secrets=secrets, pseudonyms=pseudonyms)
    state.supervisor = AnswerSupervisor(state.database, settings.llm, settings.limits, router, state.clock)
    state.supervisor.open()
    secrets.open()
    state.live = Hub(settings, state.database, state.clock, state.views)
    state.readiness = Readiness(state.database, keys, state.health, state.clock)
    state.mcp = McpEndpoint(state.database, state.embedder)
    watch = asyncio.create_task(state.readiness.run(), name="readiness")
    try:
        async with state.mcp.run():
            yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await state.live.close()
        await state.supervisor.close()
        await secrets.close()
        await state.embedder.close()
        await state.embeddings.close()
        await keys.close()
        await state.users.close()
        await state.sights.close()
        if remote:
            await remote.close()
        await state.database.close()


def _other_embedders(settings: Settings) -> Mapping[str, Callable[[], Embedder]]:
    """How each embedder is made that fills a space beside that of `embedder`, by the name of the space."""

    def maker(chosen: EmbedderSettings) -> Callable[[], Embedder]:
        return lambda: embedders.build(chosen, settings.secrets)

    found = [settings.embedder.find(each.name) for each in settings.embedder.models]
    makers = {space_of(each).name: maker(each) for each in reversed(found) if each is not None}
    makers.pop(space_of(settings.embedder).name, None)
    return makers


def _local_keys(settings: Settings, clock: Clock) -> Any:
    async def fetch() -> dict[str, Any]:
        # Read again each time, so that a new key in the state directory is a rotation like any other.
        return LocalIssuer.open(settings.home, settings.auth, clock).jwks()

    return fetch


def _cors(settings: Settings) -> CORSConfig | None:
    """Off unless origins are named: bearer tokens make it safe to open, which is not a reason to."""
    if not settings.api.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.api.cors_origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "authorization",
            "content-type",
            "if-match",
            "if-none-match",
            "idempotency-key",
            "traceparent",
            "last-event-id",
            "x-api-key",
            "adriatic-position",
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
        ],
        expose_headers=["etag", "location", "retry-after", "x-request-id", "adriatic-as-of-state", "adriatic-position"],
        allow_credentials=False,
    )
