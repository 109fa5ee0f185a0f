"""Examples of what the dialects take and answer, for the document of the API."""

from __future__ import annotations

from typing import Any, Final

_ID: Final = "0199f0c2a1b27c3d8e4f5a6b7c8d9e0f"
_ANSWER: Final = "Everything enters Kafka through the log [1]."

MODEL: Final[dict[str, Any]] = {
    "id": "adriatic",
    "display_name": "adriatic",
    "created": 1_767_225_600,
    "created_at": "2026-01-01T00:00:00Z",
    "uses": ["chat", "embeddings"],
    "object": "model",
    "type": "model",
    "owned_by": "adriatic",
}
MODELS: Final = {"data": [MODEL], "first_id": "adriatic", "last_id": "adriatic", "has_more": False, "object": "list"}

COMPLETION_REQUEST: Final = {"model": "adriatic", "messages": [{"role": "user", "content": "Why no dual write?"}]}
COMPLETION: Final = {
    "id": f"chatcmpl-{_ID}",
    "object": "chat.completion",
    "created": 1_768_467_600,
    "model": "gpt-5",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _ANSWER, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {
        "prompt_tokens": 1325,
        "completion_tokens": 40,
        "total_tokens": 1365,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 25},
    },
    "citations": {"cited": [1], "unsupported": []},
}
COMPLETION_CHUNK: Final = (
    f'data: {{"id":"chatcmpl-{_ID}","object":"chat.completion.chunk","created":1768467600,"model":"gpt-5",'
    '"choices":[{"index":0,"delta":{"content":"Everything"},"finish_reason":null}]}\n\n'
)

MESSAGE_REQUEST: Final = {
    "model": "adriatic",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Why no dual write?"}],
}
MESSAGE: Final = {
    "id": f"msg_{_ID}",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5",
    "content": [{"type": "text", "text": _ANSWER, "citations": None}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 25,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        "output_tokens": 15,
    },
    "citations": {"cited": [1], "unsupported": []},
}
MESSAGE_EVENT: Final = (
    "event: content_block_delta\n"
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Everything"}}\n\n'
)

RESPONSE_REQUEST: Final = {"model": "adriatic", "input": "Why no dual write?"}
RESPONSE: Final = {
    "id": f"resp_{_ID}",
    "created_at": 1_768_467_600,
    "model": "gpt-5",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": f"msg_{_ID}_0",
            "content": [{"type": "output_text", "text": _ANSWER, "annotations": [], "logprobs": []}],
            "status": "completed",
            "role": "assistant",
        }
    ],
    "usage": {
        "input_tokens": 1325,
        "input_tokens_details": {"cached_tokens": 1000},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 25},
        "total_tokens": 1365,
    },
    "object": "response",
}
RESPONSE_EVENT: Final = (
    "event: response.output_text.delta\n"
    f'data: {{"type":"response.output_text.delta","item_id":"msg_{_ID}_0","output_index":0,"content_index":0,'
    '"logprobs":[],"delta":"Everything","sequence_number":4}\n\n'
)
