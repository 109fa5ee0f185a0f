"""Makes a migrated database of an empty Postgres server.

Owns the administrator's part (database, roles, passwords, extension) and the connections that the migrations run on.
Refuses to know what the migrations contain: `schemas/migrations.py` does. Every step is safe to run again and to
interrupt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from psycopg import sql

from connectors.postgres import migrator
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from runtime.deadline import Deadline, backoff_s
from runtime.errors import DependencyUnavailable, Halted, Unprepared
from runtime.settings import PostgresSettings, Role
from schemas import migrations

POSTGRES_MIN = 160_000
"""Oldest server: 16. The publication, the messages of logical decoding and role grants with options need it."""
PGVECTOR_MIN = (0, 8, 4)
"""Oldest extension: the releases before it corrupt HNSW indexes and overflow (fixed in 0.8.2 to 0.8.4)."""
MAINTENANCE_DATABASE = "postgres"
"""Where the administrator connects while ours does not exist yet."""
DROP_S_MAX = 30.0
"""How long the server is waited for when a database is to go."""
LOGIN_ROLES: tuple[Role, ...] = ("owner", "api", "flows", "cdc")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What `provision` found and did."""

    database: str
    created: bool
    pgvector: str
    applied: list[str] = field(default_factory=list)
    version: int = 0
    ahead: int = 0
    """Migrations that the database has and these files do not: a newer release was here."""


def provision(
    settings: PostgresSettings, deadline: Deadline, *, bootstrap: bool = True, progress: Progress = lambda _: None
) -> Report:
    """Make the database what this release needs. With `bootstrap=False` roles, database and extension are somebody
    else's.

    Raises `DependencyUnavailable` when the server does not answer before the deadline, `Unprepared` when it does not
    let us in, `Halted` when a migration cannot be applied or the server is too old.
    """
    created = _bootstrap(settings, deadline, progress) if bootstrap else False
    files = migrations.load()
    with _open(settings, "owner", settings.database, deadline) as connection:
        pgvector = check_pgvector(connection)
        applied = []
        for migration in migrator.apply(connection, files, max(1.0, deadline.left_s)):
            progress(f"applied {migration.title}")
            applied.append(migration.title)
        has = len(migrator.read_applied(connection))
    return Report(settings.database, created, pgvector, applied, has, max(0, has - len(files)))


def drop_scratch(settings: PostgresSettings) -> None:
    """Drop a database that was made for a while, whoever is connected to it; one that is not there is dropped. Raises
    `DependencyUnavailable` when the server does not answer."""
    with _open(settings, "admin", MAINTENANCE_DATABASE, Deadline.after(DROP_S_MAX)) as server:
        server.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(settings.database)))


def check_pgvector(connection: Connection) -> str:
    """The installed version of pgvector. Raises `Halted` when it is missing or one that corrupts indexes."""
    row = connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    if row is None:
        raise Halted("pgvector is not installed in this database", hint="as a superuser: create extension vector")
    if tuple(int(part) for part in row[0].split(".")[:3]) < PGVECTOR_MIN:
        raise Halted(
            f"pgvector is {row[0]}, and versions before {'.'.join(map(str, PGVECTOR_MIN))} can corrupt an index",
            hint="install a newer one on the server, then: alter extension vector update",
        )
    return str(row[0])


def _bootstrap(settings: PostgresSettings, deadline: Deadline, progress: Progress) -> bool:
    """Roles belong to the whole server, so the lock is taken where everybody who might change them meets."""
    with _open(settings, "admin", MAINTENANCE_DATABASE, deadline) as server:
        _require_server(server)
        migrator.lock(server, deadline.left_s, "somebody else is setting this server up")
        created = _create_database(server, settings.database)
        if created:
            progress(f"created the database {settings.database}")
        with _open(settings, "admin", settings.database, deadline) as database:
            _run_bootstrap(database, settings)
    return created


def _require_server(connection: Connection) -> None:
    if connection.info.server_version < POSTGRES_MIN:
        raise Halted(
            f"the server is PostgreSQL {connection.info.server_version // 10_000}",
            hint=f"{POSTGRES_MIN // 10_000} or newer is needed",
        )


def _create_database(server: Connection, name: str) -> bool:
    if server.execute("select from pg_database where datname = %s", [name]).fetchone() is not None:
        return False
    server.execute(sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name)))
    return True


def _run_bootstrap(database: Connection, settings: PostgresSettings) -> None:
    database.execute(migrations.BOOTSTRAP_FILE.read_bytes())
    for role in LOGIN_ROLES:
        _set_password(database, settings.user(role), settings.password(role))


def _set_password(database: Connection, user: str, password: str) -> None:
    """Set it as a SCRAM verifier, so that the server's log never sees the password. An empty one leaves it alone: the
    server authenticates by other means."""
    if not password:
        return
    verifier = database.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("alter role {} password {}").format(sql.Identifier(user), sql.Literal(verifier))
    database.execute(statement)


@contextmanager
def _open(settings: PostgresSettings, role: Role, database: str, deadline: Deadline) -> Iterator[Connection]:
    with (
        closing(_connect(settings, role, database, deadline)) as connection,
        translate(f"set up {database} at {settings.host}:{settings.port}"),
    ):
        yield connection


def _connect(settings: PostgresSettings, role: Role, database: str, deadline: Deadline) -> Connection:
    """Retry while the server is away or on its way up; not while it is there and says no."""
    for pause_s in backoff_s(max_s=1.0):
        try:
            return connect(settings, "migrate", role, name="adriatic-migrate", database=database, autocommit=True)
        except Unprepared:
            raise
        except DependencyUnavailable:
            if deadline.left_s <= pause_s:
                raise
            deadline.clock.sleep(pause_s)
    raise AssertionError("back-off never ends")
