"""`POST /v1/decisions/check`: a diff or a text against the tenant's decisions. It changes nothing."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller
from litestar.di import NamedDependency

from api.auth.roles import NEEDS_READ
from api.guard import service
from api.guard.schemas import CheckRequest, CheckResult
from api.routes import By, Db, body, post
from api.search.embedding import QueryEmbedder

_DECISION = {
    "adr_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "address": "adr://main/2",
    "label": "ADR-2",
    "log": "main",
    "title": "Everything enters Kafka through the WAL",
    "status": "accepted",
}
_OLD = _DECISION | {"address": "adr://main/1", "label": "ADR-1", "title": "Write to both", "status": "superseded"}
_REQUEST = {"change": "--- a/app.py\n+++ b/app.py\n@@ -1,0 +2 @@\n+# Publishes by itself, see ADR-1\n", "limit": 5}
_AS_OF = {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:00Z", "age_s": 0.8}
_RESULT = {
    "cited": [
        {
            "decision": _OLD,
            "by": "number",
            "place": {"path": "app.py", "line": 2, "text": "# Publishes by itself, see ADR-1"},
            "superseded_by": [_DECISION],
            "reason": "ADR-1 is superseded; see ADR-2 Everything enters Kafka through the WAL",
        }
    ],
    "seems_to_break": [
        {
            "decision": _DECISION,
            "evidence": "import",
            "likelihood": "likely",
            "confidence": 0.95,
            "place": {"path": "app.py", "line": 3, "text": "import celery"},
            "heading": "Considered Options",
            "passage": "A queue of tasks, such as Celery, that the service writes to after its commit",
            "reason": "imports celery, which this decision does not want",
        }
    ],
    "proposals": [
        {
            "title": "Publish by the log",
            "number": 2,
            "status": "proposed",
            "place": {"path": "docs/adr/0002-publish-by-the-log.md", "line": 1, "text": "# Publish by the log"},
            "findings": [
                {
                    "kind": "number-taken",
                    "likelihood": "certain",
                    "confidence": 1.0,
                    "decision": _DECISION,
                    "proposed": "2",
                    "standing": "Everything enters Kafka through the WAL",
                    "reason": "the number 2 is taken by Everything enters Kafka through the WAL",
                }
            ],
        }
    ],
    "governing": [
        {
            "decision": _DECISION,
            "heading": "Decision Outcome",
            "passage": "Nobody writes twice.",
            "score": 0.016393,
            "near_to": ["app.py"],
            "support": "both",
            "reason": "shares publish and is alike in meaning (cosine 0.41)",
        }
    ],
    "lines": 1,
    "files": 1,
    "topics": 1,
    "degraded": [],
    "as_of": {"words": _AS_OF, "meaning": _AS_OF},
}
CHANGE_BYTES_MAX = 3 * 262_144 + 65_536
"""Largest body: a client that escapes everything beyond ASCII needs up to three bytes for one."""


class GuardController(Controller):
    """What decisions say of a change."""

    path = "/v1/decisions"
    tags = ("guard",)
    opt = NEEDS_READ

    @post(
        "/check",
        "Check a change against the decisions",
        _RESULT,
        "What the change cites that does not hold, what it seems to break, and what holds and speaks of it.",
        errors=(413, 415),
        request_max_body_size=CHANGE_BYTES_MAX,
    )
    async def check_decisions(
        self,
        database: Db,
        embedder: NamedDependency[QueryEmbedder],
        principal: By,
        data: Annotated[CheckRequest, body("A diff", _REQUEST)],
    ) -> CheckResult:
        """`cited` is certain: records that are superseded, deprecated or rejected, and that an added line names by
        number, by file or by title. A line that says so itself is left out. `seems_to_break` compares what the added
        lines use with what accepted records considered and did not choose, list as alternatives, deny or bound; each
        kind of evidence has the share of right ones that was measured. `proposals` are records that the change adds,
        with numbers that are taken, and accepted records that say the same or else. `governing` is a ranking of
        accepted records by words and meaning: candidates to read, not a verdict."""
        return await service.check(database, embedder, principal.tenant_id, data)
