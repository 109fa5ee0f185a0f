"""The examples of the OpenAPI document: one ADR, in the forms in which routes show it."""

from __future__ import annotations

from typing import Any

ADR_ID = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"
OTHER_ID = "0199f0c2-b3c4-7d5e-9f60-718293a4b5c6"
USER_ID = "0199f0c2-0000-7000-8000-00000000beef"
BODY = "# Use Postgres for the ledger\n\n## Status\n\nAccepted\n\n## Context\n\nWe need one source of truth.\n"

SUMMARY: dict[str, Any] = {
    "adr_id": ADR_ID,
    "log": "main",
    "number": 12,
    "label": "ADR-12",
    "title": "Use Postgres for the ledger",
    "status": "accepted",
    "version": 3,
    "tags": ["database"],
    "created_at": "2026-01-15T09:00:00Z",
    "updated_at": "2026-02-01T12:30:00Z",
    "deleted_at": None,
}
VERSION_SUMMARY: dict[str, Any] = {
    "adr_id": ADR_ID,
    "version": 3,
    "change": "update",
    "title": "Use Postgres for the ledger",
    "status": "accepted",
    "message": "Accepted in the review of 1 February",
    "author": "Ada",
    "author_id": USER_ID,
    "effective_at": "2026-02-01T12:30:00Z",
    "recorded_at": "2026-02-01T12:30:00Z",
    "source_key": None,
    "source_ref": None,
    "size_bytes": len(BODY),
    "has_original": False,
}
VERSION: dict[str, Any] = VERSION_SUMMARY | {"body": BODY}
ADR: dict[str, Any] = SUMMARY | {key: value for key, value in VERSION.items() if key != "size_bytes"}
LINK: dict[str, Any] = {"kind": "supersedes", "target": "ADR-7", "target_id": OTHER_ID, "origin": "user"}
LINKS: dict[str, Any] = {
    "outgoing": [LINK],
    "incoming": [{"kind": "relates-to", "adr_id": OTHER_ID, "title": "Keep ledgers append-only", "origin": "text"}],
    "truncated": False,
}
RELATED: dict[str, Any] = {
    "related": [
        {
            "id": OTHER_ID,
            "label": "ADR-7",
            "log": "main",
            "title": "Keep ledgers append-only",
            "status": "accepted",
            "score": 1.4321,
            "reasons": [
                {"kind": "link", "text": "this ADR supersedes it", "link": "supersedes", "direction": "to"},
                {
                    "kind": "words",
                    "text": "both speak of ledger, rows",
                    "words": ["ledger", "rows"],
                    "share": 0.4127,
                },
                {"kind": "meaning", "text": "passages alike in meaning, cosine 0.46", "cosine": 0.4612},
            ],
        }
    ],
    "as_of": {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-02-01T12:30:04Z", "age_s": 0.8},
}
DIFF: dict[str, Any] = {
    "adr_id": ADR_ID,
    "from_version": 2,
    "to_version": 3,
    "fields": [{"field": "status", "old": "proposed", "new": "accepted"}],
    "unified": "--- version 2\n+++ version 3\n@@ -3,3 +3,3 @@\n ## Status\n \n-Proposed\n+Accepted\n",
    "hunks": [
        {
            "old_start": 3,
            "old_lines": 3,
            "new_start": 3,
            "new_lines": 3,
            "lines": [
                {"op": " ", "text": "## Status"},
                {"op": " ", "text": ""},
                {"op": "-", "text": "Proposed"},
                {"op": "+", "text": "Accepted"},
            ],
        }
    ],
    "coarse": False,
    "truncated": False,
}
NEW_ADR: dict[str, Any] = {"body": BODY, "tags": ["database"], "message": "First draft"}
CHANGE: dict[str, Any] = {"body": BODY, "message": "Accepted in the review of 1 February", "expected_version": 2}
ROLLBACK: dict[str, Any] = {"to_version": 1, "message": "Back to the wording of January", "expected_version": 3}
RESTORE: dict[str, Any] = {"message": "Deleted by mistake", "expected_version": 4}
