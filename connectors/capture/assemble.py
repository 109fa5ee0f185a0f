"""Puts change capture together: the core, the adapters, and the watcher of the slot.

The only module of the package that knows the settings of the whole system. Refuses to do anything else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from connectors.capture.config import CaptureConfig
from connectors.capture.log import KafkaLog
from connectors.capture.ports import TopicContracts
from connectors.capture.routing import TenantRouter
from connectors.capture.session import Ports
from connectors.capture.source import Capture
from connectors.capture.store import PostgresState
from connectors.capture.transport import PostgresWal
from connectors.capture.watcher import SlotWatcher
from runtime import processes
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.ops import Health
from runtime.settings import Settings


def configure(settings: Settings) -> CaptureConfig:
    cdc = settings.cdc
    return CaptureConfig(cdc.slot, cdc.publication, cdc.heartbeat_s, cdc.kafka_down_max_s)


def assemble(
    settings: Settings, contracts: TopicContracts, health: Health | None = None, clock: Clock = SYSTEM_CLOCK
) -> Capture:
    """A capture of what the settings name."""
    return Capture(
        configure(settings),
        Ports(
            PostgresWal(settings.postgres, clock),
            KafkaLog(settings.kafka, clock),
            PostgresState(settings.postgres, settings.cdc.slot),
            contracts,
            TenantRouter(settings.cdc.prefix),
            processes.name_self(),
            processes.has_ended,
        ),
        health,
        clock,
    )


@contextmanager
def watch_slot(settings: Settings, capture: Capture) -> Iterator[None]:
    """Look at the slot beside a capture that runs, until the block ends."""
    watcher = SlotWatcher(settings.postgres, settings.cdc.slot, capture.shown.slot)
    thread = threading.Thread(target=watcher.run, name="slot", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watcher.stop()
        thread.join()
