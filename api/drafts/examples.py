"""The examples of the OpenAPI document: a draft and suggestions, in the forms in which routes show them."""

from __future__ import annotations

from typing import Any

from api.adrs.examples import ADR_ID, BODY, OTHER_ID

REQUEST: dict[str, Any] = {"task": "summarise", "adr_id": ADR_ID}
_USAGE: dict[str, Any] = {
    "tokens": {
        "input_uncached": 1200,
        "cache_read": 0,
        "cache_write_5m": 0,
        "cache_write_1h": 0,
        "output_visible": 240,
        "reasoning": 0,
    },
    "usage_source": "provider",
    "unseen_tokens_max": 0,
    "cost_micro_usd": 7200,
    "first_token_ms": 310,
}
DRAFT: dict[str, Any] = {
    "draft_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "task": "expand",
    "adr_id": ADR_ID,
    "version": 3,
    "prompt_version": 1,
    "state": "completed",
    "text": BODY,
    "model": "a-model",
    "sources": [],
    "citations": {"cited": [], "unsupported": []},
    "usage": _USAGE,
    "error": None,
    "finish": "stop",
    "accepted": None,
    "withdrawn": 0,
}
SUGGESTED: dict[str, Any] = {
    "adr_id": ADR_ID,
    "version": 3,
    "title": "Keep the ledger in Postgres",
    "tags": [{"tag": "database", "known": True}],
    "related": [
        {
            "adr_id": OTHER_ID,
            "label": "ADR-7",
            "log": "main",
            "title": "Keep ledgers append-only",
            "status": "accepted",
            "why": "The ledger's rows are never changed.",
        }
    ],
    "model": "a-model",
    "usage": _USAGE,
}
