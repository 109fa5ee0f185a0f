"""What operators and machines ask of the process itself: alive, ready, metrics, and the keys of the local issuer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Controller, Response
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST

from api.auth.issuer import LocalIssuer
from api.auth.middleware import PUBLIC
from api.ops.readiness import Readiness
from api.routes import get
from runtime import exposition
from runtime.errors import NotFound
from runtime.settings import Settings


class Live(msgspec.Struct, frozen=True):
    """The process answers; nothing is said about what it depends on."""

    status: str = "live"


class ReadinessReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """`reasons` says what is waited for; `facts` is what is known besides, such as the freshness of search. Both are
    the operators': on their port, and here with the setting `api.operator_routes`."""

    status: Literal["ready", "waiting"]
    since: datetime
    reasons: dict[str, str] | None = None
    facts: dict[str, Any] | None = None


_READY = {
    "status": "ready",
    "since": "2026-01-15T09:00:00+00:00",
    "reasons": {},
    "facts": {"search.words": {"state": "fresh", "lsn": "0/1A2B3C8", "age_s": 1.2}, "keys": "loaded"},
}
_WAITING = _READY | {
    "status": "waiting",
    "reasons": {"database": "the database cannot serve right now: connection refused"},
}


class OpsController(Controller):
    """Public: an orchestrator has no token. It shows no tenant's data."""

    tags = ("operations",)
    opt = PUBLIC

    @get("/health/live", "Is the process alive", {"status": "live"}, "It is.", public=True)
    async def get_live(self) -> Live:
        """Answers as soon as the process listens. Never looks at a dependency: restarting us would not heal one."""
        return Live()

    @get(
        "/health/ready",
        "Can it serve",
        _READY,
        "It can.",
        also={503: (_WAITING, "Not now; `reasons` says why, to operators.")},
        public=True,
    )
    async def get_ready(
        self, readiness: NamedDependency[Readiness], settings: NamedDependency[Settings]
    ) -> Response[ReadinessReport]:
        """503 until the database answers, is migrated, and there are keys to check tokens with."""
        report = msgspec.convert(await readiness.check(), ReadinessReport)
        if not settings.api.operator_routes:
            report = ReadinessReport(report.status, report.since)
        return Response(report, status_code=200 if report.status == "ready" else 503)

    @get(
        "/.well-known/jwks.json",
        "Public keys of the local issuer",
        {"keys": [{"kty": "EC", "crv": "P-256", "kid": "…", "x": "…", "y": "…", "use": "sig", "alg": "ES256"}]},
        "A JWKS (RFC 7517).",
        errors=(404,),
        public=True,
    )
    async def get_keys(self, issuer: NamedDependency[LocalIssuer | None]) -> dict[str, Any]:
        """What others need to check tokens of the local issuer. 404 where an identity provider is configured."""
        if issuer is None:
            raise NotFound("tokens here are of an identity provider", hint="its keys are at its own address")
        return issuer.jwks()


class MetricsController(Controller):
    """Routes of operators, which show how much is asked. Only where `api.operator_routes` says so."""

    tags = ("operations",)
    opt = PUBLIC

    @get(
        "/metrics",
        "Metrics for Prometheus",
        'adriatic_http_requests_total{method="GET",route="/v1/adrs",status="200"} 42.0\n',
        "Prometheus text format.",
        answer=str,
        media_type="text/plain",
        public=True,
    )
    async def get_metrics(self) -> Response[bytes]:
        """Every metric of this process, in the Prometheus text format. Several workers: their sum."""
        return Response(exposition.render(), headers={"content-type": CONTENT_TYPE_LATEST})
