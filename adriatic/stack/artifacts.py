"""What the embedded stack fetches from a Maven repository: pinned, verified, cached for every copy on the machine.

Owns the cache (`$XDG_CACHE_HOME/adriatic`), downloads and their progress. Coordinates, the lock format and the
repository's address are jgo's. Refuses a file whose SHA-256 is not the pinned one, and never shows half a directory:
everything is built beside its place and renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tarfile
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import backoff_s
from runtime.errors import DependencyUnavailable, Halted

if TYPE_CHECKING:
    import httpx

ATTEMPTS_MAX = 5
"""Tries of one download before giving up; with the back-off between them they bridge a pause of some seconds."""
DOWNLOADS_AT_ONCE = 4
"""Small files are bound by round trips, so a few at once help; more than this is impolite to a public server."""
CHUNK_BYTES = 262_144
"""One read of a download: large enough to be cheap, small enough that progress moves."""
TIMEOUT_S = 30.0
"""Longest silence of the server before an attempt counts as failed."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """One file of a Maven repository, and the only content that we accept for it."""

    group: str
    name: str
    version: str
    sha256: str
    packaging: str = "jar"
    classifier: str = ""


class DownloadProgress(Protocol):
    """Told about a download. `advance` may be called from several threads."""

    def total(self, size_bytes: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...


def cache_dir() -> Path:
    """Where fetched files lie, shared by every copy that this user runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "adriatic"


def read_lock(path: Path) -> tuple[Pinned, ...]:
    """The files that a lock written by jgo names. Raises `Halted` for one without a checksum."""
    entries: list[dict[str, Any]] = tomllib.loads(path.read_text())["dependencies"]
    if lax := [entry["artifactId"] for entry in entries if not entry.get("sha256")]:
        raise Halted(f"{path.name} pins no checksum for {', '.join(lax)}", hint="write it again with `jgo lock`")
    return tuple(
        Pinned(
            group=entry["groupId"],
            name=entry["artifactId"],
            version=entry["version"],
            sha256=entry["sha256"],
            packaging=entry["packaging"],
            classifier=entry.get("classifier", ""),
        )
        for entry in entries
    )


def repositories() -> list[str]:
    """Base addresses to try, in order: a mirror of Maven's own settings, jgo's settings, then Maven Central."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    named = list(GlobalSettings.load().repositories.values())
    return [url.rstrip("/") for url in (*_mirrors(), *named, MAVEN_CENTRAL_URL)]


def _mirrors() -> list[str]:
    """Mirrors of Central (or of everything) that this user's Maven is told to use."""
    file = Path.home() / ".m2" / "settings.xml"
    if not file.is_file():
        return []
    found = []
    for mirror in ElementTree.parse(file).iterfind(".//{*}mirror"):  # noqa: S314 - the user's own configuration
        of, url = mirror.findtext("{*}mirrorOf", ""), mirror.findtext("{*}url", "")
        if url and {"central", "*", "external:*"} & {part.strip() for part in of.split(",")}:
            found.append(url)
    return found


def directory(
    name: str, files: Sequence[Pinned], progress: Callable[[], DownloadProgress], *, unpack: bool = False
) -> Path:
    """A directory of the cache that holds `files`, fetched when it is not there yet.

    `unpack`: the (one) file is an archive, and the directory holds its content. Raises `DependencyUnavailable` when no
    repository answers, `Halted` when one serves something else than what is pinned.
    """
    pins = hashlib.sha256("".join(sorted(file.sha256 for file in files)).encode()).hexdigest()[:12]
    place = cache_dir() / f"{name}-{pins}"
    if place.is_dir():
        return place
    cache_dir().mkdir(parents=True, exist_ok=True)
    with _alone():
        if not place.is_dir():
            _build(place, files, progress(), unpack=unpack)
    return place


def _build(place: Path, files: Sequence[Pinned], progress: DownloadProgress, *, unpack: bool) -> None:
    with draft_of(place) as draft, _fetch_all(files, progress) as paths:
        for path in paths:
            if unpack:
                with tarfile.open(path) as archive:
                    # The content is pinned, so its names are harmless; Pythons before 3.11.4 have no filter.
                    archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                    archive.extractall(draft)  # noqa: S202
            else:
                shutil.copyfile(path, draft / path.name.partition("-")[2])


@contextmanager
def _alone() -> Iterator[None]:
    """One process fetches at a time; the others wait and then find what they need."""
    with (cache_dir() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def draft_of(place: Path) -> Iterator[Path]:
    """A directory to fill that becomes `place` at the end."""
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _fetch_all(files: Sequence[Pinned], progress: DownloadProgress) -> Iterator[list[Path]]:
    """Verified copies of `files`, removed afterwards. An interrupted download is continued the next time."""
    downloads = cache_dir() / "downloads"
    downloads.mkdir(exist_ok=True)
    # Imported here: a start that finds everything in the cache does not need it.
    import httpx

    # The usual store, and the machine's own beside it: a company's proxy has its certificate there.
    trust = httpx.create_ssl_context()
    trust.load_default_certs()
    with (
        httpx.Client(verify=trust, timeout=TIMEOUT_S, follow_redirects=True) as client,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        paths = list(pool.map(lambda file: _fetch(client, file, downloads, progress), files))
    yield paths
    for path in paths:
        path.unlink(missing_ok=True)


def _fetch(client: httpx.Client, file: Pinned, downloads: Path, progress: DownloadProgress) -> Path:
    from jgo.constants import default_maven_repo
    from jgo.maven import MavenContext

    component = MavenContext(offline=True).project(file.group, file.name).at_version(file.version)
    artifact = component.artifact(file.classifier, file.packaging)
    target = downloads / f"{file.sha256[:12]}-{artifact.filename}"
    if target.exists() and _sha256(target) == file.sha256:
        return target
    maven = default_maven_repo() / component.path_prefix / artifact.filename
    if maven.is_file() and _sha256(maven) == file.sha256:
        progress.total(maven.stat().st_size)
        shutil.copyfile(maven, target)
        progress.advance(maven.stat().st_size)
        return target
    part = target.with_name(f"{target.name}.part")
    _download(client, f"{component.path_prefix.as_posix()}/{artifact.filename}", part, progress)
    if (found := _sha256(part)) != file.sha256:
        part.unlink()
        raise Halted(
            f"{artifact.filename} has SHA-256 {found}, and {file.sha256} is pinned",
            hint="a mirror or proxy serves something else; nothing of it was kept",
        )
    part.replace(target)
    return target


def _download(client: httpx.Client, path: str, part: Path, progress: DownloadProgress) -> None:
    """The file at `path` of the first repository that has it, into `part`."""
    import httpx

    fault = "no repository is configured"
    known = False
    pauses = backoff_s(first_s=0.5)
    for attempt in range(ATTEMPTS_MAX):
        for base in repositories():
            try:
                have = part.stat().st_size if part.exists() else 0
                with client.stream("GET", f"{base}/{path}", headers={"Range": f"bytes={have}-"} if have else {}) as got:
                    if got.status_code == httpx.codes.NOT_FOUND:
                        fault = f"{base} does not have it"
                        continue
                    if got.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                        part.unlink()
                    got.raise_for_status()
                    resumed = got.status_code == httpx.codes.PARTIAL_CONTENT
                    if not known:
                        progress.total(int(got.headers.get("Content-Length", 0)))
                        known = True
                    with part.open("ab" if resumed else "wb") as out:
                        for chunk in got.iter_bytes(CHUNK_BYTES):
                            out.write(chunk)
                            progress.advance(len(chunk))
                return
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__}: {error}"
        if attempt + 1 < ATTEMPTS_MAX:
            SYSTEM_CLOCK.sleep(next(pauses))
    raise DependencyUnavailable(
        f"cannot download {path.rpartition('/')[2]}: {fault}",
        hint="check the network or proxy; a mirror in ~/.m2/settings.xml is used. What was fetched is kept",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
