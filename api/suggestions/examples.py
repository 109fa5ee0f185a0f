"""The example of the OpenAPI document: one suggestion, in the form in which routes show it."""

from __future__ import annotations

from typing import Any

from api.adrs import examples
from schemas.suggestions import CONFIDENCE

_ADR: dict[str, Any] = {"log": "main", "status": "accepted", "version": 3}
QUOTE = "We move away from Jenkins."
SUGGESTION: dict[str, Any] = {
    "suggestion_id": "0f5f5c1e-6d8a-4b7e-9a59-4d3f0c4cf1aa",
    "kind": "supersedes",
    "state": "open",
    "newer": _ADR | {"adr_id": examples.OTHER_ID, "label": "ADR-19", "title": "Use GitHub Actions"},
    "older": _ADR | {"adr_id": examples.ADR_ID, "label": "ADR-12", "title": "Use Jenkins"},
    "reason": {
        "evidence": "words",
        "text": "the newer one says that it leaves this",
        "confidence": CONFIDENCE["supersedes", "words"],
        "terms": ["jenkin"],
        "newer": {"field": "body", "start": 24, "end": 50, "quote": QUOTE},
        "older": {"field": "title", "start": 0, "end": 11, "quote": "Use Jenkins"},
    },
    "answered_by": None,
    "answered_at": None,
}
ANSWERED = {"answered_by": "Ada", "answered_at": "2026-02-03T10:00:00Z"}
AS_OF = examples.RELATED["as_of"]
OF_ONE = {"suggestions": [SUGGESTION], "as_of": AS_OF}
PAGE = {"items": [SUGGESTION], "next_cursor": None, "as_of": AS_OF}
