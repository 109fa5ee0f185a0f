"""Examples of research for the API's document."""

from __future__ import annotations

from typing import Any

_ID = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"

REQUEST: dict[str, Any] = {"question": "Why is there no dual write, and how are deletes handled?", "passes": 2}
SUBMITTED: dict[str, Any] = {
    "research_id": _ID,
    "question": REQUEST["question"],
    "state": "queued",
    "phase": "",
    "done": 0,
    "total": None,
    "unit": "items",
    "cancel_requested": False,
    "result": None,
    "last_error": None,
    "created_at": "2026-01-15T09:00:00Z",
    "finished_at": None,
}
RESULT: dict[str, Any] = {
    "answered": True,
    "sources": [
        {
            "number": 1,
            "kind": "adr",
            "source_id": "0199f0c2-0000-7c3d-8e4f-5a6b7c8d9e0f",
            "version": 2,
            "label": "ADR-2",
            "log": "main",
            "title": "Everything enters Kafka through the WAL",
            "status": "accepted",
            "heading": "Decision Outcome",
            "path": "/v1/adrs/0199f0c2-0000-7c3d-8e4f-5a6b7c8d9e0f",
        }
    ],
    "parts": [
        {
            "question": "Why is there no dual write",
            "answered": True,
            "claims": [
                {
                    "text": "Between the two writes the service can be killed.",
                    "source": 1,
                    "char_start": 210,
                    "char_end": 259,
                    "support": 1.0,
                    "pages": None,
                    "path": "/v1/adrs/0199f0c2-0000-7c3d-8e4f-5a6b7c8d9e0f",
                }
            ],
            "dropped": 0,
        },
        {"question": "how are deletes handled?", "answered": False, "claims": [], "dropped": 0},
    ],
    "text": "Why is there no dual write\n\nBetween the two writes the service can be killed. [1]\n",
    "passes": [
        {"queries": [REQUEST["question"]], "found": 12, "missing": ["how are deletes handled?"], "words_of": []}
    ],
    "reranked": "late-interaction",
    "rerank_error": None,
    "written": None,
    "write_error": None,
    "degraded": [],
    "as_of": None,
    "withdrawn": 0,
}
ANSWERED: dict[str, Any] = SUBMITTED | {
    "state": "succeeded",
    "phase": "answered",
    "done": 3,
    "total": 3,
    "unit": "steps",
    "result": RESULT,
    "finished_at": "2026-01-15T09:00:02Z",
}
