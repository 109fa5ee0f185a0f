"""Fetching: verified, resumed, whole or not at all. A repository on loopback stands for the real one."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adriatic.stack import artifacts, kafka
from adriatic.stack.artifacts import Pinned
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable, Halted

CONTENT = bytes(range(256)) * 4_000
GOOD = Pinned("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest())


class Repository:
    """Serves `files`; `fail` is how many answers break off in the middle first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fail = 0
        self.ranges: list[str | None] = []
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = repository.files.get(self.path)
                asked = self.headers.get("Range")
                repository.ranges.append(asked)
                if content is None:
                    self.send_error(404)
                    return
                begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                body = content[begin:]
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if repository.fail:
                    repository.fail -= 1
                    body = body[: len(body) // 2]
                    self.close_connection = True
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/maven"

    def add(self, name: str, content: bytes, packaging: str = "jar") -> None:
        self.files[f"/maven/org/example/{name}/1.0/{name}-1.0.{packaging}"] = content

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Told:
    def __init__(self) -> None:
        self.size, self.moved = 0, 0

    def total(self, size_bytes: int) -> None:
        self.size += size_bytes

    def advance(self, size_bytes: int) -> None:
        self.moved += size_bytes


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    found = Repository()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(artifacts, "repositories", lambda: [found.url])
    monkeypatch.setattr("adriatic.stack.artifacts.SYSTEM_CLOCK", ManualClock())
    yield found
    found.close()


def fetch(*files: Pinned, unpack: bool = False, told: Callable[[], Told] = Told) -> Path:
    return artifacts.directory("things", files, told, unpack=unpack)


def test_fetches_once(repository: Repository) -> None:
    repository.add("thing", CONTENT)
    told = Told()
    place = fetch(GOOD, told=lambda: told)
    assert (place / "thing-1.0.jar").read_bytes() == CONTENT
    assert told.size == told.moved == len(CONTENT)
    assert fetch(GOOD) == place
    assert len(repository.ranges) == 1
    assert list((artifacts.cache_dir() / "downloads").iterdir()) == []


def test_broken_connection_is_resumed(repository: Repository) -> None:
    repository.add("thing", CONTENT)
    repository.fail = 2
    assert (fetch(GOOD) / "thing-1.0.jar").read_bytes() == CONTENT
    assert repository.ranges[0] is None
    assert repository.ranges[1] is not None


def test_other_content_is_refused_and_not_kept(repository: Repository) -> None:
    repository.add("thing", CONTENT + b"!")
    with pytest.raises(Halted, match="is pinned"):
        fetch(GOOD)
    assert not list(artifacts.cache_dir().glob("things-*"))
    repository.add("thing", CONTENT)
    assert (fetch(GOOD) / "thing-1.0.jar").read_bytes() == CONTENT


def test_missing_file_says_where_it_was_looked_for(repository: Repository) -> None:
    with pytest.raises(DependencyUnavailable, match="does not have it"):
        fetch(GOOD)
    assert not list(artifacts.cache_dir().glob("things-*"))


def test_local_maven_repository_saves_a_download(repository: Repository, tmp_path: Path) -> None:
    local = tmp_path / ".m2/repository/org/example/thing/1.0/thing-1.0.jar"
    local.parent.mkdir(parents=True)
    local.write_bytes(CONTENT)
    fetch(GOOD)
    assert repository.ranges == []


def test_archive_is_unpacked(repository: Repository) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("lib/run.jar")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"jar"))
    repository.add("app", packed.getvalue(), "tar.gz")
    pinned = Pinned("org.example", "app", "1.0", hashlib.sha256(packed.getvalue()).hexdigest(), packaging="tar.gz")
    assert (fetch(pinned, unpack=True) / "lib/run.jar").read_bytes() == b"jar"


def test_mirror_of_maven_settings_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = tmp_path / ".m2" / "settings.xml"
    settings.parent.mkdir()
    settings.write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors>'
        "<mirror><mirrorOf>other</mirrorOf><url>https://no.example</url></mirror>"
        "<mirror><mirrorOf>central</mirrorOf><url>https://mirror.example/maven/</url></mirror>"
        "</mirrors></settings>"
    )
    found = artifacts.repositories()
    assert found[0] == "https://mirror.example/maven"
    assert len(found) == 2


def test_lock_pins_every_jar_of_kafka() -> None:
    files = artifacts.read_lock(kafka.LOCK)
    assert ("kafka_2.13", kafka.VERSION) in {(file.name, file.version) for file in files}
    assert len(files) == len({file.name for file in files})
    assert all(len(file.sha256) == 64 for file in files)
