"""A bad release, on demand. Python imports this file at the start of every process that has its folder on PYTHONPATH.

The file `bad-release` in the state directory names a flow; its processes then run a version of it that raises on every
record. Take the file away, and the next start is the fixed release. Nothing of the product knows of this.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def install(flow: str) -> None:
    from dataflows.catalog import build
    from runtime.settings import Settings

    def transform(_flow: Any, _events: Sequence[Any]) -> Any:
        raise RuntimeError("this release cannot do anything")

    setattr(type(build(flow, Settings())), "transform", transform)  # noqa: B010 - a type checker is not to know


_marker = Path(os.environ.get("ADRIATIC_HOME", "."), "bad-release")
if _marker.is_file():
    install(_marker.read_text().strip())
