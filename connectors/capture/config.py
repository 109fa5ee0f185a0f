"""What change capture is told: its own configuration, made of the settings where the process is put together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """One capture. `heartbeat_s`: time between two heartbeats. `kafka_down_max_s`: how long a silent broker is borne
    before the replication connection is closed, so that Postgres can shut down (R6)."""

    slot: str
    publication: str
    heartbeat_s: float
    kafka_down_max_s: float
