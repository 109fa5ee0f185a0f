"""A process is known by its name, and only one that has certainly ended counts as ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import processes
from runtime.processes import has_ended, name_self


@pytest.fixture
def sleeper() -> subprocess.Popen[str]:
    code = "from runtime.processes import name_self; print(name_self(), flush=True); input()"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_another_process_is_seen_to_run_and_to_end(sleeper: subprocess.Popen[str]) -> None:
    assert sleeper.stdout is not None
    name = sleeper.stdout.readline().strip()
    assert name != name_self()
    assert not has_ended(name)
    sleeper.kill()
    for _ in range(100):
        if has_ended(name):
            break
        time.sleep(0.05)
    assert has_ended(name), "a zombie has ended too"
    sleeper.communicate()
    assert has_ended(name)


def test_we_run() -> None:
    assert not has_ended(name_self())


def test_a_number_that_was_given_again_is_another_process() -> None:
    machine, _, _ = name_self().rpartition("/")
    assert has_ended(f"{machine}/1.00")


def test_nobody_knows_of_a_process_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"another/machine/{os.getpid()}/1.00"
    assert not has_ended(name)
    monkeypatch.setattr(processes, "_name_machine", lambda: "")
    assert not has_ended(f"/{os.getpid()}/1.00"), "a machine that does not say who it is, is nobody's"


@given(st.text() | st.from_regex(r"[^/]*/[^/]*/\d*/[\d.]*", fullmatch=True))
def test_a_name_may_be_anything(name: str) -> None:
    assert not has_ended(name)
