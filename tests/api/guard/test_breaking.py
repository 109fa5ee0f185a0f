"""What a record refuses, what a change uses, and when one is held against the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.guard.breaking import find_breaches
from api.guard.change import read_change
from api.guard.limits import breaks_limit, read_limits, read_numbers
from api.guard.stances import NAMES_MAX, read_stances
from api.guard.uses import LINE_CHARS_MAX, USES_MAX, read_uses

RECORD = """\
# Keep the work queue in Postgres

## Context and Problem Statement

The team knows Kafka, and somebody asked for Sidekiq.

## Considered Options

- Rows that are locked, in Postgres
- RabbitMQ, with a plugin for delays
- Celery
- A cron job in each container, woken by `pg_cron`
- A file for each job on a shared disk
- Temporal for everything

## Decision Outcome

Chosen option: **rows that are locked, in Postgres**.

- A worker takes one with `skip locked`. No worker calls `pg_advisory_lock`.
- A worker takes at most 20 jobs (`queue.jobs_max`), and `queue.wait_s` 30 s is the pause.
- Scripts use `httpx`, instead of `curl_cffi`.

| what | with | what else |
|---|---|---|
| retries | `tenacity` (it is small; `backoff` has no clock) | `retrying`, Resilience4j (Java), black |

## Pros and Cons of the Options

### RabbitMQ

- Good, because it is fast.
"""


def diff(path: str, *lines: str) -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


def broken(path: str, *lines: str, records: tuple[str, ...] = (RECORD,)) -> list[tuple[str, str]]:
    read = [read_stances(text.split("\n")[0].strip("# "), text) for text in records]
    return [(each.evidence, each.named) for each in find_breaches(read_uses(read_change(diff(path, *lines))), read)]


def test_a_record_refuses_what_it_considered_lists_as_alternative_or_denies() -> None:
    found = read_stances("Keep the work queue in Postgres", RECORD)
    assert {each.key for each in found.refused} == {
        *("rabbitmq", "celery", "pg-cron", "pg-advisory-lock", "curl-cffi", "retrying", "resilience4j", "black"),
    }
    assert {"postgres", "tenacity", "backoff"} <= found.chosen
    assert [(limit.name, limit.value, limit.at_most) for limit in found.limits] == [
        ("jobs_max", 20.0, True),
        ("wait_s", 30.0, False),
    ]
    assert [way.stems for way in found.ways][-1][0] == "file"


@pytest.mark.parametrize(
    ("path", "line", "found"),
    [
        ("pyproject.toml", '  "celery[redis]>=5.4",', ("dependency", "celery")),
        ("requirements.txt", "Celery==5.4", ("dependency", "celery")),
        ("package.json", '    "@scope/celery": "^1.0",', ("dependency", "celery")),
        ("go.mod", "\tgithub.com/x/celery/v2 v2.0.1", ("dependency", "celery")),
        ("pom.xml", "<artifactId>celery</artifactId>", ("dependency", "celery")),
        ("Dockerfile", "RUN apt-get install -y rabbitmq-server", ("dependency", "rabbitmq")),
        ("ci.yml", "      - run: pip install celery", ("dependency", "celery")),
        ("a.py", "    from celery.schedules import crontab", ("import", "celery")),
        ("a.ts", 'import { Celery } from "celery";', ("import", "celery")),
        ("a.rs", "use celery::App;", ("import", "celery")),
        ("compose.yml", "    image: docker.io/library/rabbitmq:4", ("service", "rabbitmq")),
        ("settings.py", '    broker = "rabbitmq://queue"', ("service", "rabbitmq")),
        (".env", "RABBITMQ_URL=x", ("service", "rabbitmq")),
        ("a.sql", "select pg_advisory_lock(1);", ("call", "pg-advisory-lock")),
        ("a.py", '    execute("select pg_advisory_lock(1)")', ("call", "pg-advisory-lock")),
        ("docs/a.md", "Jobs are kept in RabbitMQ.", ("prose", "rabbitmq")),
        ("docs/a.md", "Retries use `retrying`.", ("prose", "retrying")),
        (
            "docs/a.md",
            "There is a file for each job on a shared disk.",
            ("way", "A file for each job on a shared disk"),
        ),
        ("a.toml", "jobs_max = 50", ("number", "jobs_max")),
        ("a.py", "    QUEUE__WAIT_S: float = 2 * 60", ("number", "wait_s")),
    ],
)
def test_a_use_of_what_is_refused_is_told(path: str, line: str, found: tuple[str, str]) -> None:
    assert broken(path, line) == [found]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a.py", "# import celery"),
        ("a.py", "celery = 1"),
        ("a.py", "from app.celery import run"),
        ("a.py", "import temporal"),
        ("a.py", "import httpx, tenacity, backoff"),
        ("a.py", "import sidekiq"),
        ("a.py", '    """Nobody calls pg_advisory_lock."""'),
        ("a.py", "# pg_advisory_lock would hold it"),
        ("tests/test_a.py", "jobs_max = 50"),
        ("a.toml", "jobs_max = 5"),
        ("a.toml", "wait_s = 30"),
        ("poetry.lock", 'name = "celery"'),
        ("package-lock.json", '    "celery": "1.0"'),
        ("docs/a.md", "Jobs are not kept in RabbitMQ, nor in Celery."),
        ("docs/a.md", "Jobs would be kept in RabbitMQ."),
        ("docs/a.md", "Black is used by painters, and retrying is human."),
        ("docs/a.md", "On a shared disk there is a job for each file."),
        ("docs/adr/0009-a-queue.md", "We use Celery."),
        ("a.py", "import " + "x" * 5_000 + ", celery"),
    ],
)
def test_what_only_looks_like_it_is_not(path: str, line: str) -> None:
    assert broken(path, line) == []


def test_what_another_decision_chooses_is_refused_by_none() -> None:
    other = "# Send mail by Celery\n\n## Decision Outcome\n\nIt does.\n"
    assert broken("a.py", "import celery", records=(RECORD, other)) == []


def test_a_name_is_told_once_a_decision_where_it_is_used_first() -> None:
    read = [read_stances("Queue", RECORD)]
    change = read_change(diff("a.py", "import celery", "import celery.result") + diff("b.py", "import celery"))
    (one,) = find_breaches(read_uses(change), read)
    assert (one.line.path, one.line.number, one.quote) == ("a.py", 1, "Celery")
    assert one.heading == "Considered Options"


def test_numbers_are_compared_in_one_unit() -> None:
    (limit,) = read_limits("A body has at most 2 MiB of text (`body_bytes_max`).", "")
    (less,), (more,) = read_numbers("body_bytes_max = 1024 * 1024"), read_numbers("body_bytes_max: int = 3 * 1024**2")
    assert (limit.value, less.value, more.value) == (2 * 1024**2, 1024**2, 3 * 1024**2)
    assert not breaks_limit(limit, less)
    assert breaks_limit(limit, more)
    (pause,) = read_limits("The pause `pause_ms` is 2 s.", "")
    assert not list(read_limits("With `kept_days` 0 nothing is kept.", ""))
    assert not breaks_limit(pause, next(read_numbers("pause_ms = 2_000")))
    assert breaks_limit(pause, next(read_numbers("pause_ms = 3_000")))
    (days,) = read_limits("Keep `keys` for at most 30 days.", "")
    assert not breaks_limit(days, next(read_numbers("keys = 400"))), "nobody knows of what"


def test_so_much_is_read() -> None:
    text = "# T\n\n## Options\n\n" + "".join(f"- Name{number}X\n" for number in range(NAMES_MAX + 50))
    assert len(read_stances("T", text).refused) == NAMES_MAX
    lines = [f"import name{number}" for number in range(USES_MAX + 50)]
    assert len(read_uses(read_change(diff("a.py", *lines))).names) == USES_MAX


@given(st.text(max_size=1_500), st.text(alphabet="ab`|-#*:()\n AB1._/@", max_size=1_500))
def test_any_text_is_read(one: str, other: str) -> None:
    for text in (one, other, diff("a.py", *one.split("\n")), diff("pyproject.toml", *other.split("\n"))):
        find_breaches(read_uses(read_change(text)), [read_stances(one[:50], other), read_stances("T", text)])


CODE = ("a_", "_a", "A_URL", "a.", "a/", "a-", '"a', "a, ", "a::", "from a import ")
PROSE = ("1.", "no `a", "a or the ", "Aa ", "| ", "(")


@pytest.mark.parametrize("piece", CODE + PROSE)
def test_what_was_made_to_cost_is_read_as_soon_as_anything(piece: str) -> None:
    """An expression that can match in many ways would not end in the life of whoever waits for it."""
    for end in ("-", "!", "\\"):
        text = piece * (LINE_CHARS_MAX // len(piece) - 1) + end
        for path in ("a.py", "a.sql", "pyproject.toml", "package.json", "a.md", "a.js"):
            read_uses(read_change(diff(path, text)))
        read_uses(read_change(text))
        table = f"| a | else |\n|---|---|\n| {text} |"
        read_stances("A title", f"## Decision\n\n{text}\n\n## Considered Options\n\n- {text}\n\n{table}\n")
