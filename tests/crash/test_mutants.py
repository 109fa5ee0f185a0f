"""A mutant breaks what it says it breaks, in the process that it names, and nothing without its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.mutants.sitecustomize import MUTANTS

FOLDER = Path(__file__).parent / "mutants"
ASK = {
    "no-ledger": "from connectors.capture.ledger import Ledger as c; print(c.has.__qualname__)",
    "offsets-first": "from connectors.postgres.sink import TransactionalSink as c; print(c.commit.__qualname__)",
}


def asked(mutant: str, command: str, name: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "CRASH_MUTANT": name}
    arguments = [sys.executable, "-c", ASK[mutant], command, "run"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_mutant_is_what_it_says(mutant: str) -> None:
    command, breakage = MUTANTS[mutant]
    assert asked(mutant, command, mutant).startswith(f"{breakage.__name__}.<locals>")
    assert "<locals>" not in asked(mutant, command, "")
    assert "<locals>" not in asked(mutant, "api", mutant)
