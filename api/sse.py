"""Server-sent events, written: the one place where an event of a stream becomes bytes.

Owns the frame (WHATWG HTML, section 9.2.6), the comment that keeps a silent connection open, and the headers that keep
caches and proxies from collecting a stream. Refuses to know any event: chat and live reads name and encode their own.
Reading is `connectors/llm/sse.py`.
"""

from __future__ import annotations

from typing import Final

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""No cache keeps it, no proxy collects it."""
KEEP_ALIVE_S: Final = 15.0
"""Silence after which a comment is sent. Proxies close what is silent for 30 to 60 s."""
KEEP_ALIVE: Final = b": still here\n\n"
"""A comment: clients skip it, proxies see that the connection lives."""


def encode_frame(name: str, data: bytes, event_id: str) -> bytes:
    """One event. `data` is JSON, which has no line break of its own; neither name nor id has one."""
    return f"id: {event_id}\nevent: {name}\ndata: ".encode() + data + b"\n\n"
