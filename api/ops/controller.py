"""What operators and machines ask of the process itself: alive, ready, metrics, and the keys of the local issuer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST

from api.auth.issuer import LocalIssuer
from api.auth.middleware import PUBLIC
from api.openapi import answers
from api.ops.readiness import Readiness
from runtime import exposition
from runtime.errors import NotFound


class Live(msgspec.Struct, frozen=True):
    """The process answers; nothing is said about what it depends on."""

    status: str = "live"


class ReadinessReport(msgspec.Struct, frozen=True):
    """`reasons` says what is waited for; `facts` is what is known besides, such as the freshness of search."""

    status: str
    since: datetime
    reasons: dict[str, str]
    facts: dict[str, Any]


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

    @get(
        "/health/live",
        operation_id="getLive",
        summary="Is the process alive",
        responses=answers(Live, {"status": "live"}, description="It is.", public=True),
    )
    async def live(self) -> Live:
        """Answers as soon as the process listens. Never looks at a dependency: restarting us would not heal one."""
        return Live()

    @get(
        "/health/ready",
        operation_id="getReady",
        summary="Can it serve",
        responses={
            **answers(ReadinessReport, _READY, description="It can.", public=True),
            503: answers(
                ReadinessReport, _WAITING, status=503, description="Not now; `reasons` says why.", public=True
            )[503],
        },
    )
    async def ready(self, readiness: NamedDependency[Readiness]) -> Response[ReadinessReport]:
        """503 with reasons until the database answers, is migrated, and there are keys to check tokens with."""
        report = msgspec.convert(await readiness.check(), ReadinessReport)
        return Response(report, status_code=200 if report.status == "ready" else 503)

    @get(
        "/metrics",
        operation_id="getMetrics",
        summary="Metrics for Prometheus",
        media_type="text/plain",
        responses=answers(
            str,
            'adriatic_http_requests_total{method="GET",route="/v1/adrs",status="200"} 42.0\n',
            description="Prometheus text format.",
            media_type="text/plain",
            public=True,
        ),
    )
    async def metrics(self) -> Response[bytes]:
        """Every metric of this process, in the Prometheus text format. Several workers: their sum."""
        return Response(exposition.render(), headers={"content-type": CONTENT_TYPE_LATEST})

    @get(
        "/.well-known/jwks.json",
        operation_id="getKeys",
        summary="Public keys of the local issuer",
        media_type="application/json",
        responses=answers(
            dict[str, Any],
            {"keys": [{"kty": "EC", "crv": "P-256", "kid": "…", "x": "…", "y": "…", "use": "sig", "alg": "ES256"}]},
            description="A JWKS (RFC 7517).",
            errors=(404,),
            public=True,
        ),
    )
    async def keys(self, issuer: NamedDependency[LocalIssuer | None]) -> dict[str, Any]:
        """What others need to check tokens of the local issuer. 404 where an identity provider is configured."""
        if issuer is None:
            raise NotFound("tokens here are of an identity provider", hint="its keys are at its own address")
        return issuer.jwks()
