"""A worker that builds embedding spaces, a few texts a step, as a process of its own for a test that kills it."""

from __future__ import annotations

import os
import signal

from connectors.embedders.spaces import SpaceEmbedders
from dataflows import space_jobs
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import load
from streams.worker import Worker
from tests.api.spaces.town import embedders_at

TEXTS_MAX = 3


def main() -> None:
    space_jobs.TEXTS_MAX = TEXTS_MAX
    life = Lifecycle(Health())
    kind = space_jobs.BuildSpace(SpaceEmbedders.from_settings(embedders_at(os.environ["STAND_IN"])))
    Worker({kind.name: kind}, load().postgres, life).start()
    signal.pause()


if __name__ == "__main__":
    main()
