"""How long tests wait for what takes milliseconds: so long that no machine is too slow, and a test that hangs ends.

Nothing may be concluded from how long it took: figures of a machine are those of `make bench`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from runtime.deadline import Deadline

PATIENCE_S = 120.0
PAUSE_S = 0.05
"""Between two looks."""


def until(holds: Callable[[], object], what: str = "it") -> None:
    """Until `holds`. Fails when that is not soon."""
    deadline = Deadline.after(PATIENCE_S)
    while not holds():
        assert not deadline.passed, f"{what} did not happen within {PATIENCE_S:g} s"
        time.sleep(PAUSE_S)


async def soon(holds: Callable[[], object], what: str = "it") -> None:
    """`until`, while the event loop goes on."""
    deadline = Deadline.after(PATIENCE_S)
    while not holds():
        assert not deadline.passed, f"{what} did not happen within {PATIENCE_S:g} s"
        await asyncio.sleep(PAUSE_S)
