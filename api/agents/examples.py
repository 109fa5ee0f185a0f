"""What the routes of agents take and give, as the document shows it."""

from __future__ import annotations

from typing import Any

REQUEST: dict[str, Any] = {
    "goal": "Which decisions speak against a second message broker, and is one of them superseded?",
    "tools": ["search_adrs", "read_adr", "related_adrs", "propose_link"],
    "steps": 20,
    "micro_usd": 200_000,
}

SUBMITTED: dict[str, Any] = {
    "task_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "parent_id": None,
    "goal": REQUEST["goal"],
    "tools": REQUEST["tools"],
    "model": None,
    "plan": "model",
    "bounds": {"steps": 20, "tokens": 200_000, "micro_usd": 200_000, "seconds": 600},
    "state": "queued",
    "phase": "",
    "steps": 0,
    "cancel_requested": False,
    "result": None,
    "last_error": None,
    "spent": {"tokens": 0, "micro_usd": 0},
    "created_at": "2026-01-15T09:00:00Z",
    "started_at": None,
    "finished_at": None,
    "withdrawn": 0,
}

FINISHED: dict[str, Any] = SUBMITTED | {
    "state": "succeeded",
    "phase": "done",
    "steps": 5,
    "result": {
        "text": "ADR-12 (adr://main/12) decides for one broker; ADR-31 (adr://main/31) supersedes it.",
        "consulted": ["adr://main/12", "adr://main/31"],
        "proposals": ["0199f0c2-b1b2-7c3d-8e4f-5a6b7c8d9e0f"],
        "model": "claude-sonnet-5",
        "finish": "stop",
    },
    "spent": {"tokens": 9_214, "micro_usd": 31_870},
    "started_at": "2026-01-15T09:00:01Z",
    "finished_at": "2026-01-15T09:00:14Z",
}

STEP: dict[str, Any] = {
    "number": 2,
    "step_id": "0199f0c2-a2b2-7c3d-8e4f-5a6b7c8d9e0f",
    "kind": "tool",
    "name": "read_adr",
    "state": "done",
    "input": {"arguments": '{"adr": "ADR-12"}', "call_id": "call_1"},
    "output": {"result": {"notice": "…", "address": "adr://main/12", "text": "…"}},
    "attempt_id": None,
    "begun_at": "2026-01-15T09:00:03Z",
    "finished_at": "2026-01-15T09:00:03Z",
    "withdrawn": False,
}

PROPOSAL: dict[str, Any] = {
    "proposal_id": "0199f0c2-b1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "task_id": SUBMITTED["task_id"],
    "kind": "link",
    "adr_id": "0199f0c2-c1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "content": {"kind": "supersedes", "target_id": "0199f0c2-d1b2-7c3d-8e4f-5a6b7c8d9e0f"},
    "reason": "ADR-31 says that it replaces ADR-12.",
    "state": "open",
    "answered_by": None,
    "answered_at": None,
    "became_id": None,
    "created_at": "2026-01-15T09:00:12Z",
    "withdrawn": 0,
}

ACCEPTED: dict[str, Any] = PROPOSAL | {
    "state": "accepted",
    "answered_by": "Ada",
    "answered_at": "2026-01-15T10:00:00Z",
    "became_id": PROPOSAL["adr_id"],
}
