"""A flow as a process of its own, for tests that kill it.

`python -m tests.dataflows.process FLOW`, with the world in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from connectors.registry import RegistryClient
from dataflows.catalog import build
from dataflows.embed import Embed
from dataflows.feeds import Feeds
from dataflows.flow import Flow
from dataflows.runner import Runner
from runtime import logs
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings, TelemetrySettings
from tests.connectors.embedders.stand_in import FakeEmbedder


def main(name: str) -> None:
    world = json.loads(os.environ["WORLD"])
    topics = world.pop("topics")
    logs.configure(name, TelemetrySettings())
    settings = Settings(**world)
    life = Lifecycle(Health())
    signal.signal(signal.SIGTERM, lambda *_: life.stop())
    makers: dict[str, Callable[[], Flow[Any]]] = {
        "embed": lambda: Embed(FakeEmbedder()),
        "feeds": lambda: Feeds(RegistryClient(settings.registry)),
    }
    flow = makers[name]() if name in makers else build(name, settings)
    Runner(flow, settings, life, topics=topics).run()


if __name__ == "__main__":
    main(sys.argv[1])
