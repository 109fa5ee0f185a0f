"""What the running system keeps on disk is its owner's alone: segments of topics hold every tenant's texts."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Tenant, World

pytestmark = pytest.mark.stack


def open_to_others(folder: Path) -> Iterator[Path]:
    """Files below a folder that another user of the machine can read: by their own mode, and by that of every folder on
    the way. Names alone (a folder that can be listed) are nobody's texts."""
    for found in folder.iterdir():
        mode = found.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & (stat.S_IXOTH | stat.S_IXGRP):
            yield from open_to_others(found)
        elif stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IRGRP):
            yield found


def test_nobody_else_can_read_what_the_system_keeps(world: World, tenant: Tenant) -> None:
    tenant.create("# The hidden wren\n\nIt hides.\n")
    home = world.settings.home
    folders = {found.name for found in home.iterdir() if found.is_dir()}
    assert {"kafka", "logs", "run"} <= folders
    assert sorted(str(found.relative_to(home)) for found in open_to_others(home)) == []
    data = world.settings.stack.postgres_data
    assert data is not None
    assert stat.S_IMODE(data.stat().st_mode) & 0o077 == 0
