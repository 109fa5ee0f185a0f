"""The API keeps what its document says: requests made from the document find nothing, and reach every operation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.api import promises
from tests.api.live.conftest import world as world  # the topics that live reads need
from tests.api.live.world import World

SEED = int(os.environ.get("ADRIATIC_TEST_SEED", str(promises.SEED)))


@pytest.mark.stack
def test_what_the_document_promises_is_kept(world: World, tmp_path: Path) -> None:
    print(f"seed {SEED}; ADRIATIC_TEST_SEED sets another")
    account, operations = promises.run(
        world, seed=SEED, cases=promises.CASES, seconds=promises.SECONDS_MAX, folder=tmp_path
    )
    told = promises.tell(account, operations, SEED)
    assert not account.faults, told
    assert not account.never_answered(operations), told
    print(told)
