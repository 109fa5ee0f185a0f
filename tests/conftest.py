"""Fixtures that need real components. They start lazily, once per run, and end with it.

`stack`: Postgres, Kafka and a registry. `fresh_database`: a migrated database of its own. `system`: everything, under
the supervisor. Each of `stack` and `system` is a copy of its own with its own home, so that a test that captures or
consumes never meets the whole system's processes.

`ADRIATIC_TEST_STACK=/path/of/a/stack.toml` makes `stack` use those addresses and start nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from adriatic.supervisor import process
from adriatic.supervisor.supervisor import Files, read_running
from runtime.deadline import Deadline
from runtime.settings import Settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in the background of a shell's script. Every child would inherit it, and no test could press Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

INFRASTRUCTURE = ("postgres", "kafka", "registry")
READY_MAX_S = 300.0
"""A cold start on a machine that runs other things; a download comes on top only the first time."""
STOP_MAX_S = 120.0


def settings_of(home: Path, **overrides: object) -> Settings:
    """The settings of one home, whatever home and variables this process was started with."""
    record = tomllib.loads((home / "stack.toml").read_text()) if (home / "stack.toml").is_file() else {}
    return Settings(**{**record, "home": home, **overrides})


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """Settings of a running Postgres, Kafka and registry."""
    if named := os.environ.get("ADRIATIC_TEST_STACK"):
        with _home() as home:
            yield Settings(**{**tomllib.loads(Path(named).read_text()), "home": home})
        return
    with running_system(only=INFRASTRUCTURE) as settings:
        yield settings


@pytest.fixture(scope="session")
def system_copy() -> Iterator[Copy]:
    """The whole system, running under its supervisor."""
    with running_copy() as copy:
        yield copy


@pytest.fixture(scope="session")
def system(system_copy: Copy) -> Settings:
    """Settings of the whole system."""
    return system_copy.settings


@pytest.fixture(scope="session")
def template_database(stack: Settings) -> Iterator[str]:
    """The name of a database that is migrated and that nobody connects to."""
    from connectors.postgres.provision import provision

    name = f"template_{uuid.uuid4().hex[:12]}"
    postgres = stack.postgres.model_copy(update={"database": name})
    provision(postgres, Deadline.after(60))
    yield name
    _drop(stack, name)


@pytest.fixture
def fresh_database(stack: Settings, template_database: str) -> Iterator[Settings]:
    """Settings whose database is new, migrated and this test's alone."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    database = sql.Identifier(name)
    with _admin(stack) as admin:
        admin.execute(sql.SQL("create database {} template {}").format(database, sql.Identifier(template_database)))
        # Rights on a database belong to its name and are not cloned with it.
        admin.execute(sql.SQL("grant create on database {} to adriatic_owner").format(database))
    yield stack.model_copy(update={"postgres": stack.postgres.model_copy(update={"database": name})})
    _drop(stack, name)


def _drop(stack: Settings, name: str) -> None:
    """Drop the slots that a capture left in a database, and on a server that stays, the database."""
    with _admin(stack) as admin:
        slots = admin.execute("select slot_name from pg_replication_slots where database = %s", [name]).fetchall()
        for (slot,) in slots:
            admin.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s", [slot]
            )
            _drop_slot(admin, str(slot))
        if os.environ.get("ADRIATIC_TEST_STACK"):
            # A drop is a checkpoint, seconds on a busy disk. Our own server is deleted as a whole instead.
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _drop_slot(admin: psycopg.Connection[tuple[object, ...]], slot: str) -> None:
    for _ in range(50):
        try:
            admin.execute("select pg_drop_replication_slot(%s)", [slot])
        except psycopg.errors.ObjectInUse:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"replication slot {slot} stays in use")


def _admin(stack: Settings) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(stack.postgres.dsn("admin", "postgres"), autocommit=True)


@contextmanager
def _home() -> Iterator[Path]:
    """An empty home outside the checkout."""
    folder = Path(tempfile.mkdtemp(prefix="adriatic-test-"))
    try:
        yield folder / ".adriatic"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Copy:
    """A copy of its own of `only` these parts (none named: all), with a home of its own. Use on the main thread.

    It ends with this process whatever happens to it. `more` goes into the environment of everything that runs.
    """

    def __init__(self, home: Path, only: tuple[str, ...], more: Mapping[str, str]) -> None:
        self.files = Files(home)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
        self.environment |= {"ADRIATIC_HOME": str(home)}
        self._more = dict(more)
        self._words = [word for name in only for word in ("--only", name)]
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return settings_of(self.files.run.parent)

    def start(self) -> None:
        """Start its supervisor, also in the place of one that is dead."""
        self.files.make()
        if self._supervisor is not None:
            self._supervisor.wait(STOP_MAX_S)
        self._supervisor = process.start(
            [sys.executable, "-m", "adriatic", "up", "--foreground", *self._words],
            environment=self.environment | self._more,
            log=self.files.log("supervisor"),
            user=None,
            death_signal=signal.SIGTERM,
        )

    def await_ready(self) -> None:
        assert self._supervisor is not None
        _await_ready(self._supervisor, self.files)

    def end(self) -> None:
        if self._supervisor is not None:
            self._supervisor.terminate()
            self._supervisor.wait(STOP_MAX_S)
        subprocess.run(
            [sys.executable, "-m", "adriatic", "reset", "--yes"], env=self.environment, check=False, capture_output=True
        )


@contextmanager
def running_system(toml: str = "", only: tuple[str, ...] = (), **more: str) -> Iterator[Settings]:
    """Settings of a copy of its own of `only` these parts (none named: all), which ends with the block.

    `toml` is its settings file, `more` what else its processes find in their environment.
    """
    with running_copy(toml, only, **more) as copy:
        yield copy.settings


@contextmanager
def running_copy(toml: str = "", only: tuple[str, ...] = (), **more: str) -> Iterator[Copy]:
    """The copy itself, for who ends processes and starts them anew."""
    with _home() as home:
        (home.parent / "adriatic.toml").write_text(toml)
        copy = Copy(home, only, more)
        try:
            copy.start()
            copy.await_ready()
            yield copy
        finally:
            copy.end()


def _await_ready(supervisor: subprocess.Popen[bytes], files: Files) -> None:
    deadline = Deadline.after(READY_MAX_S)
    while not deadline.passed:
        report = read_running(files)
        if report is not None and report.pid == supervisor.pid and report.good:
            return
        if supervisor.poll() is not None:
            break
        if report is not None and any(part.kind == "step" and part.attempts_failed >= 3 for part in report.parts):
            break
        time.sleep(0.1)
    bad = [f"{part.name}: {part.state} {part.reasons or part.last_error}" for part in report.parts] if report else []
    pytest.fail("the stack did not start:\n" + "\n".join(bad) + "\n" + files.log("supervisor").read_text()[-3000:])
