"""SQL that can be read, and that the database understands.

Every statement of the code is found (`sql_statements.py`), is one string in one layout (`sql_layout.py`), and is
prepared by the real schema as the role that runs it, so that a missing column or grant fails here with file and line.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from api.live import rows
from api.usage import sql as usage_sql
from dataflows import catalog, comparison, usage
from runtime.settings import Role, Settings
from tests import databases
from tests.docs.markdown import ROOMS, ROOT, tracked
from tests.schemas.sql_layout import LINE_CHARS_MAX, lay_out, on_one_line, tokens
from tests.schemas.sql_statements import NO_DRIVERS, Loose, Statement, find

FILES = [name for name in tracked("*.py") if name.split("/", 1)[0] in {*ROOMS, "bench"} - {"tests"}]


@cache
def found() -> tuple[list[Statement], list[Loose]]:
    return find(ROOT, FILES)


COMPOSED: Final[Mapping[tuple[str, str], str]] = {
    ("adriatic/recovery/emptying.py", "sql.SQL"): "tables that are emptied, as flows declare them",
    ("api/db.py", "_BEGIN[read_only]"): "begins a transaction with its tenant: two commands, which take no parameters",
    ("adriatic/recovery/machine.py", "view.waiting"): "the query that a view declares, a constant of its flow",
    ("adriatic/stack/postgres.py", "sql.SQL"): "a role's password: utility statements take no parameters",
    ("api/live/rows.py", "statement_of"): "columns and table of a view, as a flow declares it",
    ("api/usage/service.py", "sql.QUERIES[by]"): "key and order of a view, as they are declared",
    ("bench/search.py", "sql.SQL"): "the name of a database of its own",
    ("bench/search_plain.py", "sql.SQL"): "a column's dimension: utility statements take no parameters",
    ("connectors/capture/transport.py", "query"): "columns and row filter of a published table, which is any table",
    ("connectors/capture/transport.py", "sql.SQL"): "the name of an exported snapshot",
    ("connectors/capture/transport.py", "command"): "the replication protocol takes no parameters",
    ("connectors/postgres/migrator.py", "migration.sql"): "a file of SQL, which migrating runs",
    ("connectors/postgres/provision.py", "migrations.BOOTSTRAP_FILE"): "a file of SQL, which migrating runs",
    ("connectors/postgres/provision.py", "sql.SQL"): "names of the database and of roles are settings",
    ("connectors/postgres/provision.py", "statement"): "a role's password: utility statements take no parameters",
    ("dataflows/comparison.py", "query"): "columns, table and query of a comparison, as a flow declares it",
    ("dataflows/flow.py", "_forget_in"): "a table, as a flow declares it",
    ("dataflows/oracle.py", "view.waiting"): "the query that a view declares, a constant of its flow",
    ("dataflows/oracle_feeds.py", "query"): "one of the constants above it",
    ("dataflows/usage.py", "_STATEMENT"): "groups and measures of the aggregates, as they are declared",
    ("dataflows/usage.py", "statement"): "names of the aggregates, as they are declared",
}
"""What drivers are given that is no string of the code, by file and the beginning of its expression: why it is so."""

UNPREPARED: Final[Mapping[str, str]] = {
    "begin": "a transaction's own",
    "commit": "a transaction's own",
    "rollback": "a transaction's own",
    "savepoint": "a transaction's own",
    "release": "a transaction's own",
    "declare": "names a table that is known at run time",
    "close": "a cursor's own",
    "copy": "the protocol of copy",
    "IDENTIFY_SYSTEM": "a replication command",
    "CREATE_REPLICATION_SLOT": "a replication command",
    "START_REPLICATION": "a replication command",
    "set": "a utility statement",
    "lock": "a utility statement",
    "grant": "a utility statement",
    "revoke": "a utility statement",
    "alter": "a utility statement",
    "create": "a utility statement",
    "drop": "a utility statement",
    "vacuum": "a utility statement",
}
"""Statements that the server does not prepare, by their first word: why."""

OTHER_SCHEMAS: Final[Mapping[str, str]] = {
    "bench/cdc.py": "a table that the benchmark makes for itself",
    "bench/search_plain.py": "a table that the benchmark makes for itself",
}
"""Files whose statements are about another schema: which."""

ROLES: Final[tuple[tuple[str, Role], ...]] = (
    ("api/tenants/", "owner"),
    ("api/agents/job.py", "flows"),
    ("api/research/job.py", "flows"),
    ("api/", "api"),
    ("connectors/capture/", "cdc"),
    ("connectors/postgres/migrator.py", "owner"),
    ("connectors/postgres/provision.py", "owner"),
    ("connectors/", "flows"),
    ("dataflows/", "flows"),
    ("streams/", "flows"),
    ("schemas/", "owner"),
    ("adriatic/recovery/emptying.py", "owner"),
    ("adriatic/recovery/ledger.py", "owner"),
    ("adriatic/backup/", "admin"),
    ("adriatic/stack/", "admin"),
    ("adriatic/", "flows"),
    ("bench/", "admin"),
)
"""Who runs the statements of a file: the first beginning that fits."""


def role_of(statement: Statement) -> Role:
    return next(role for start, role in ROLES if statement.file.startswith(start))


def unneeded(roles: tuple[tuple[str, Role], ...]) -> list[str]:
    """Beginnings that are the first to fit for no statement."""
    files = {one.file for one in (*found()[0], *composed())}
    needed = {next(start for start, _ in roles if file.startswith(start)) for file in files}
    return [start for start, _ in roles if start not in needed]


def test_every_row_of_the_roles_is_needed() -> None:
    assert unneeded(ROLES) == []
    assert unneeded((*ROLES, ("api/usage/", "owner"), ("api/no_such.py", "owner"))) == ["api/usage/", "api/no_such.py"]


def first_word(text: str) -> str:
    return re.split(r"[\s(;]", text.strip(), maxsplit=1)[0]


# --- how they are written -------------------------------------------------------------------------------------------


def test_what_drivers_are_given_is_a_string_or_has_a_reason() -> None:
    without = [one for one in found()[1] if not any(_is_excused(one, *key) for key in COMPOSED)]
    assert without == []
    assert [key for key in COMPOSED if not any(_is_excused(one, *key) for one in found()[1])] == [], "nobody needs it"


def test_what_is_no_driver_is_still_there() -> None:
    assert [key for key in NO_DRIVERS if key[1] not in (ROOT / key[0]).read_text(encoding="utf-8")] == []


def _is_excused(one: Loose, file: str, code: str) -> bool:
    return one.file == file and one.code.startswith(code)


def test_a_statement_is_one_string() -> None:
    assert [f"{one} is {one.how}" for one in found()[0] if one.how not in ("one line", "triple quoted")] == []


def test_a_statement_of_several_lines_is_a_constant() -> None:
    assert [str(one) for one in found()[0] if one.how == "triple quoted" and not one.is_constant] == []


def test_statements_are_laid_out() -> None:
    unlike = []
    for one in found()[0]:
        wanted = lay_out(one.text) if one.how == "triple quoted" else on_one_line(one.text)
        if one.text != wanted:
            unlike.append(f"{one}\n" + "\n".join(difflib.ndiff(one.text.split("\n"), wanted.split("\n"))))
    assert unlike == [], "\n\n".join(unlike)


# --- the layout itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("select a from t where b", "\n  select a\n  from t\n  where b\n"),
        ("SELECT a\n\tFROM t", "\n  select a\n  from t\n"),
        (
            "insert into t (a) values (%s) on conflict (a) do update set b = 1 returning a",
            "\n  insert into t (a)\n  values (%s)\n  on conflict (a)\n  do update set b = 1\n  returning a\n",
        ),
        (
            f"select a from t where {'x' * 60} and b is distinct from {'y' * 60} or c between 1 and 2",
            f"\n  select a\n  from t\n  where {'x' * 60}\n    and b is distinct from {'y' * 60}\n"
            "    or c between 1 and 2\n",
        ),
        (
            f"with a as (select {'x' * 60} from {'y' * 60}), b as (select 1) select 'from  where'",
            f"\n  with a as (\n    select {'x' * 60}\n    from {'y' * 60}\n  ),\n  b as (select 1)\n"
            "  select 'from  where'\n",
        ),
        (
            "delete from t using u where a -- why\n and b",
            "\n  delete from t\n  using u\n  where a\n    -- why\n    and b\n",
        ),
    ],
)
def test_one_clause_a_line(written: str, wanted: str) -> None:
    assert lay_out(written) == wanted


def test_a_new_layout_changes_nothing() -> None:
    for one in found()[0]:
        laid_out = lay_out(one.text)
        assert [word.lower() for word in tokens(laid_out)] == [word.lower() for word in tokens(one.text)]
        assert lay_out(laid_out) == laid_out
        assert max(map(len, laid_out.splitlines())) <= LINE_CHARS_MAX


# --- that nothing is missed -----------------------------------------------------------------------------------------


def test_the_finder_follows_names_functions_and_modules(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "from b import run, OTHER\nimport b\n"
        "A = 'delete from x'\nB = 'lock a'\n"
        "def f(connection, query): connection.execute(B); connection.execute(query)\n"
        "def g(name):\n    f(None, 'vacuum x')\n    run('analyze x')\n    connection.execute(OTHER)\n"
        "    connection.execute(f'reset {name}')\n    connection.execute(name.upper())\n"
        "    connection.execute('discard ' 'all')\n    connection.execute('show ' + name)\n"
    )
    (tmp_path / "b.py").write_text("OTHER = 'listen x'\ndef run(query): connection.execute(query.encode())\n")
    statements, loose = find(tmp_path, ["a.py", "b.py"])
    assert {(one.text, one.how) for one in statements} == {
        ("delete from x", "one line"),
        ("lock a", "one line"),
        ("vacuum x", "one line"),
        ("analyze x", "one line"),
        ("listen x", "one line"),
        ("reset {}", "f-string"),
        ("discard all", "adjacent pieces"),
        ("show {}", "joined with +"),
    }
    assert [one.code for one in loose] == ["name.upper()"]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("'reset x'", "one line"),
        ("f'reset {x}'", "f-string"),
        ("'reset ' + x", "joined with +"),
        ("'reset ' 'x'", "adjacent pieces"),
        ("b", None),
    ],
)
def test_a_statement_is_found_on_whatever_it_is_run(code: str, how: str | None, tmp_path: Path) -> None:
    calls = [
        f"    {receiver}.{method}({keyword}{code})\n"
        for receiver in ("connection", "c", "self._own", "pool()", "x.cursor(binary=True)")
        for method in ("execute", "executemany", "fetch", "fetchrow", "fetchval", "copy", "prepare", "cursor")
        for keyword in ("", "query=")
    ]
    (tmp_path / "a.py").write_text("def f(x):\n    b = x.upper()\n" + "".join(calls))
    statements, loose = find(tmp_path, ["a.py"])
    assert [one.how for one in statements] == ([how] * len(calls) if how else [])
    assert [one.code for one in loose] == ([] if how else [code] * len(calls))


@pytest.mark.parametrize(
    "code",
    [
        "def run(c, *, query): c.execute(query)\nrun(None, query='reset x')",
        "def run(c, query): c.execute(query)\nrun(None, query='reset x')",
        "import a.b\ndef f(query): x.execute(query)\na.f('reset x')",
        "import a as own\ndef run(query): x.execute(query=query)\nown.run('reset x')",
    ],
)
def test_a_statement_is_followed_by_the_name_of_its_parameter(code: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(code)
    statements, loose = find(tmp_path, ["a.py"])
    assert ([one.text for one in statements], loose) == (["reset x"], [])


def test_what_a_module_of_ours_has_is_followed_and_what_it_made_is_a_driver(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import b\nfrom b import made\nb.copy(1)\nmade.copy('reset x')\nb.made.copy('lock x')"
    )
    (tmp_path / "b.py").write_text("def copy(number): ...\nmade = copy(1)")
    statements, loose = find(tmp_path, ["a.py", "b.py"])
    assert ([one.text for one in statements], loose) == (["reset x", "lock x"], [])


def test_a_method_that_is_handed_on_is_loose(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("run = c.execute\nrun('reset x')\nretry(c.fetch, 'reset x')\n")
    assert [one.code for one in find(tmp_path, ["a.py"])[1]] == ["c.execute", "c.fetch"]


# --- that the database understands them -----------------------------------------------------------------------------


def composed() -> Iterator[Statement]:
    """What psycopg.sql makes of the templates, as it is run."""
    statements: dict[str, list[bytes]] = {
        "api/live/rows.py": [rows.statement_of(view).encode() for view in catalog.views() if view.live],
        "api/usage/sql.py": [query.encode() for query in usage_sql.QUERIES.values()],
        "dataflows/usage.py": [usage._STATEMENT, *usage._DELETE_EMPTY],
        "dataflows/comparison.py": [
            query.as_bytes(None)
            for flow in catalog.flows().values()
            for table in flow.tables
            if table.right
            for _, query in comparison._queries(table)
        ],
    }
    for file, values in statements.items():
        for value in values:
            yield Statement(file, 0, value.decode(), "one line", is_constant=True)


@pytest.fixture(scope="module")
def sessions(stack: Settings, template_database: str) -> Iterator[Mapping[Role, psycopg.Connection[Any]]]:
    """A connection of each role to a migrated database."""
    with databases.fresh(stack, template_database, "sql") as settings, ExitStack() as open_:
        postgres = settings.postgres
        roles: tuple[Role, ...] = ("admin", "owner", "api", "flows", "cdc")
        yield {role: open_.enter_context(psycopg.connect(postgres.dsn(role), autocommit=True)) for role in roles}


def numbered(text: str) -> str:
    """A statement of psycopg with the server's parameters; one of asyncpg as it is."""
    if "%" not in text or re.search(r"\$\d", text):
        return text
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        return f"${names.setdefault(match[1] or str(len(names)), len(names) + 1)}"

    return re.sub(r"%%|%s|%\((\w+)\)s", number, text)


def fault(connection: psycopg.Connection[Any], statement: Statement) -> str:
    """What the server has against a statement; "" for nothing.

    Preparing finds names and types. A plan looks at the rights too, and runs nothing.
    """
    text = numbered(statement.text)
    prepared = connection.pgconn.prepare(b"", text.encode())
    if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
        return f"{statement}: {prepared.get_error_message()}"
    try:
        connection.execute(b"explain (generic_plan) " + text.encode())
    except psycopg.Error as error:
        return f"{statement}: {error}"
    return ""


def _reason_not_to_prepare(one: Statement) -> str:
    if one.is_template:
        return "a template of psycopg.sql"
    return UNPREPARED.get(first_word(one.text), "") or OTHER_SCHEMAS.get(one.file, "")


@pytest.mark.stack
def test_the_database_prepares_every_statement(sessions: Mapping[Role, psycopg.Connection[Any]]) -> None:
    statements, made = found()[0], list(composed())
    plain = [one for one in statements if not _reason_not_to_prepare(one)]
    faults = [text for one in (*plain, *made) if (text := fault(sessions[role_of(one)], one))]
    reasons = Counter(reason for one in statements if (reason := _reason_not_to_prepare(one)))
    print(f"{len(statements)} statements: {len(plain)} prepared, {reasons.total()} not: {dict(reasons)}")
    print(f"{len(made)} made by psycopg.sql and prepared")
    assert len(statements) == len(plain) + reasons.total()
    assert faults == [], "\n".join(faults)


@pytest.mark.stack
@pytest.mark.parametrize(
    ("text", "role", "wanted"),
    [
        ("select no_such from app.adrs", "api", "no_such"),
        ("select title from app.no_such where adr_id = %s", "flows", "no_such"),
        ("delete from mv.chunks where source_id = $1", "api", "permission denied"),
        (
            "select title from app.adrs where version = %(version)s and title = %(version)s",
            "flows",
            "operator does not",
        ),
    ],
)
def test_a_fault_is_found(text: str, role: Role, wanted: str, sessions: Mapping[Role, psycopg.Connection[Any]]) -> None:
    answer = fault(sessions[role], Statement("a.py", 7, text, "one line", False))
    assert answer.startswith("a.py:7: ")
    assert wanted in answer
