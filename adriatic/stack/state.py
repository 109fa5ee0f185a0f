"""The state that the migrations make, as SQL to read: `schemas/sql/schema.sql`.

Owns what of `pg_dump`'s text is kept, and its order: by table, so that rights and policies stand beside the columns
that they are about, and equal databases give equal texts. Refuses to be run. `adriatic schemas generate` writes the
file; a test compares it with a database that the migrations made.
"""

from __future__ import annotations

import os
import re
import subprocess

from adriatic.stack.postgres import wheel_install
from runtime.errors import DependencyUnavailable
from runtime.settings import PostgresSettings
from schemas.migrations import SQL_FOLDER

STATE_FILE = SQL_FOLDER / "schema.sql"
HEADER = "-- What the migrations make, written by `adriatic schemas generate`. Change a migration, not this file.\n"
DUMP_S_MAX = 30.0
"""Longest time of `pg_dump`, which reads the catalogue alone: a second or two."""

_TITLE = re.compile(r"^--\n-- (?:Name: .*|PostgreSQL database dump complete)\n--\n", re.MULTILINE)
"""What `pg_dump` writes before each object, and at its end."""
_DAYS = "app.outbox_2*"
"""Partitions of the outbox are those of the day on which somebody looks."""
_NOISE = re.compile(r"^(?:SET .*|ALTER .* OWNER TO adriatic_owner);\n", re.MULTILINE)
"""Settings of the session that would run it, and the owner of nearly everything."""
_ABOUT = re.compile(r"\b(?:app|mv|ops)\.\w+")

_ROLES = re.compile(r"(?<= TO )\w+(?:, \w+)+")
"""Roles of one policy, which come in the order of the server's catalogue."""


def describe(settings: PostgresSettings) -> str:
    """The schemas, functions, tables and publications of this database, as text."""
    text = _ROLES.sub(lambda roles: ", ".join(sorted(roles[0].split(", "))), _dump(settings))
    objects = [_NOISE.sub("", each).strip() for each in _TITLE.split(text)[1:-1]]
    # The first name in a statement is of what it is about. A sort keeps the order of statements about the same.
    objects.sort(key=lambda each: found[0] if (found := _ABOUT.search(each)) else "")
    return "\n\n".join([HEADER.strip(), *filter(None, objects)]) + "\n"


def _dump(settings: PostgresSettings) -> str:
    password = settings.password("owner")
    command = [
        *(str(wheel_install() / "bin" / "pg_dump"), "--schema-only", "--dbname", settings.database),
        *("--host", settings.host, "--port", str(settings.port), "--username", settings.user("owner")),
        *("--exclude-table", _DAYS),
    ]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PGPASSWORD": password, "PGSSLMODE": settings.sslmode},
            capture_output=True,
            text=True,
            check=True,
            timeout=DUMP_S_MAX,
        )
    except subprocess.CalledProcessError as error:
        raise DependencyUnavailable(f"the state of {settings.database} cannot be read: {error.stderr}") from None
    except subprocess.TimeoutExpired:
        raise DependencyUnavailable(f"pg_dump of {settings.database} took more than {DUMP_S_MAX:.0f} s") from None
    return done.stdout
