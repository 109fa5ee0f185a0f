"""Fixtures that need real components. They start lazily, once per run, and end with it.

`stack`: Postgres, Kafka and a registry. `fresh_database`: a migrated database of its own. `system`: everything, under
the supervisor. Each of `stack` and `system` is a copy of its own with its own home, so that a test that captures or
consumes never meets the whole system's processes.

Where several workers share a run (`tests/parallel.py`), they share `stack` too.

`ADRIATIC_TEST_STACK=/path/of/a/stack.toml` makes `stack` use those addresses and start nothing.

What is heavy is imported by the fixture that needs it: a selection of unit tests answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import parallel, selection

if TYPE_CHECKING:
    from runtime.settings import Settings
    from tests.copies import Copy

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell's script. Every child would inherit it, and no test could press Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(selection.Selection(config), "selection")
    if config.pluginmanager.hasplugin("xdist"):
        parallel.register(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return parallel.workers()


def pytest_sessionfinish() -> None:
    if databases := sys.modules.get("tests.databases"):
        databases.close_kept()


def pytest_pycollect_makemodule(module_path: Path) -> None:
    if b"hypothesis" in module_path.read_bytes():
        _make_properties_patient()


@cache
def _make_properties_patient() -> None:
    """How long an example takes is the machine's, not a property of ours, and examples may share a fixture that costs a
    database. Before a module is imported: its decorators take what they do not name from here."""
    from hypothesis import HealthCheck, settings

    patient = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("any machine", deadline=None, suppress_health_check=patient)
    settings.load_profile("any machine")


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[Settings]:
    """Settings of a running Postgres, Kafka and registry."""
    from runtime.settings import Settings
    from tests.copies import INFRASTRUCTURE, new_home, running_system

    if named := os.environ.get("ADRIATIC_TEST_STACK"):
        with new_home() as home:
            yield Settings(**{**tomllib.loads(Path(named).read_text()), "home": home})
    elif shared := parallel.shared_home(pytestconfig):
        yield parallel.settings_of_shared(shared)
    else:
        with running_system(only=INFRASTRUCTURE) as settings:
            yield settings


@pytest.fixture(scope="session")
def system_copy() -> Iterator[Copy]:
    """The whole system, running under its supervisor."""
    from tests.copies import crawling, running_copy

    with running_copy(crawling()) as copy:
        parallel.idle_later.append(copy)
        yield copy


@pytest.fixture(scope="session")
def system(system_copy: Copy) -> Settings:
    """Settings of the whole system."""
    return system_copy.settings


@pytest.fixture(scope="session")
def template_database(stack: Settings, pytestconfig: pytest.Config) -> Iterator[str]:
    """The name of a database that is migrated and that nobody can connect to. Workers that share a stack share it."""
    from tests import databases

    with parallel.locked(pytestconfig, stack.home / "template") as made:
        if not (name := made.read_text() if made.is_file() else ""):
            name = databases.template(stack)
            made.parent.mkdir(parents=True, exist_ok=True)  # of a stack that is named, the home is new
            made.write_text(name)
    yield name
    if parallel.shared_home(pytestconfig) is None:
        databases.drop(stack, name)


@pytest.fixture
def fresh_database(stack: Settings, template_database: str) -> Iterator[Settings]:
    """Settings whose database is new, migrated and this test's alone."""
    from tests import databases

    with databases.fresh(stack, template_database) as settings:
        yield settings
