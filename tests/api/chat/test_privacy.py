"""What people ask and what models answer is nowhere but where it is declared to be, and a key is nowhere at all.

A marked question goes through the chat and through every protocol of other clients, to a provider that answers with
the mark, and to one that breaks and quotes it, with every level of the log on, of libraries too. Then everything that
the process says, and every table of the database, is searched for the marks.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adriatic.cli.settings import settings as settings_command
from runtime import logs, stages
from runtime.settings import LimitSettings, LlmSettings, Settings, TelemetrySettings
from tests.api.chat.test_routes import furnished, idle, ledger
from tests.api.search.corpus import Corpus
from tests.api.world import World, running
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import StandIn, standing_in
from tests.docs.markdown import ROOT

pytestmark = pytest.mark.stack

ASKED, ANSWERED, KEY = "zebraquestion", "zebraanswer", "sk-zebra-key-0123456789"
QUESTION = f"Why is a dual write forbidden, {ASKED}?"
DECLARED = {"app.answers", "app.answer_parts"}
"""Tables that keep questions and answers, for as long as the settings say."""
SAID = [{"role": "user", "content": QUESTION}]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/stream", {"question": QUESTION}),
    ("/v1/chat/stream?protocol=ai-sdk", {"question": QUESTION}),
    ("/v1/chat/completions", {"model": "adriatic", "messages": SAID}),
    ("/v1/chat/completions", {"model": "adriatic", "messages": SAID, "stream": True}),
    ("/v1/responses", {"model": "adriatic", "input": QUESTION}),
    ("/v1/responses", {"model": "adriatic", "input": QUESTION, "stream": True}),
    ("/v1/messages", {"model": "adriatic", "messages": SAID, "max_tokens": 100}),
    ("/v1/messages", {"model": "adriatic", "messages": SAID, "max_tokens": 100, "stream": True}),
    # What makes no sense is told to its caller, and to nobody else.
    ("/v1/chat/completions", {"model": "adriatic", "messages": [{"role": "user", "content": {"x": QUESTION}}]}),
    ("/v1/messages", {"model": ASKED, "messages": SAID, "max_tokens": 100}),
]
_TABLES = """
  select schemaname || '.' || tablename from pg_tables where schemaname in ('app', 'mv', 'ops') order by 1
"""


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything is written: ours, and what libraries have to say when somebody turns them up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("api", TelemetrySettings(log_level="DEBUG"))
    # Loggers of modules would else write to what was captured here, for as long as the process lives.
    structlog.configure(cache_logger_on_first_use=False)
    libraries = [logging.getLogger(name) for name in ("openai", "anthropic", "httpx", "httpx2", "httpcore", "asyncpg")]
    before = [library.level for library in libraries]
    for library in libraries:
        library.setLevel(logging.DEBUG)
    yield stream
    for library, its in zip(libraries, before, strict=True):
        library.setLevel(its)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def spans() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    return file


@asynccontextmanager
async def asking(settings: Settings, server: StandIn, dialect: str, key_file: Path) -> AsyncIterator[World]:
    """An API whose provider is `server`, with a key that is kept in a file."""
    base = f"{server.url}/v1" if dialect == "openai" else server.url
    llm = {"provider": dialect, "model": "m", "base_url": base, "api_key": f"file:{key_file}"}
    changed = {"llm": LlmSettings.model_validate(llm), "limits": LimitSettings(user_streams=0, new_user_requests=0)}
    async with running(settings.model_copy(update=changed)) as world:
        yield world


def script(server: StandIn, dialect: str) -> None:
    """Answer with the mark."""
    server.script = {
        "openai": [recorded.OPENAI_START, recorded.openai_text(f"{ANSWERED} [1]."), recorded.OPENAI_END],
        "anthropic": [recorded.ANTHROPIC_START, recorded.anthropic_text(f"{ANSWERED} [1]."), recorded.ANTHROPIC_END],
        "gemini": [recorded.gemini_text(f"{ANSWERED} [1]."), recorded.GEMINI_END],
    }[dialect]


def marks_in(text: str, *, key: bool = True) -> set[str]:
    return {mark for mark in (ASKED, ANSWERED, *([KEY] if key else [])) if mark in text}


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
async def test_marks_are_only_where_they_are_declared_to_be(
    fresh_database: Settings,
    corpus: Corpus,
    log_lines: io.StringIO,
    spans: tuple[TracerProvider, InMemorySpanExporter],
    monkeypatch: pytest.MonkeyPatch,
    key_file: Path,
    dialect: str,
) -> None:
    provider, exporter = spans
    async with standing_in() as server, asking(fresh_database, server, dialect, key_file) as world:
        caller = await furnished(world, corpus)
        await world.http.get("/health/live")  # the edge is made with the first request
        monkeypatch.setattr(stages, "_TRACER", provider.get_tracer("test"))
        monkeypatch.setattr(world.app._edge, "_tracer", provider.get_tracer("test"))
        answers = []
        script(server, dialect)
        for path, body in REQUESTS:
            answers.append((await caller.post(path, body)).text)
        assert [ANSWERED in text for text in answers] == [True] * (len(REQUESTS) - 2) + [False] * 2, answers
        assert any(ASKED in str(request) for request in server.requests)
        # A provider that refuses quotes what it was asked, and once the key.
        for status in (400, 401, 429, 500):
            server.status, server.body = status, {"error": {"message": f"no {ASKED} for {KEY}", "type": "x"}}
            answers.append((await caller.post("/v1/chat/stream", {"question": QUESTION})).text)
        assert not any(KEY in text for text in answers)
        await idle(world)
        await ledger(world, caller, len(server.requests))
        await world.app.state.supervisor.keeper.close(30)

        assert marks_in((await world.http.get("/metrics")).text) == set()
        assert marks_in((await world.http.get("/health/ready")).text) == set()
        assert await find_tables(world) <= DECLARED
        assert await find_tables(world) != set(), "the search finds what is there"
    told = [span.to_json() for span in exporter.get_finished_spans()]
    assert any("call_" in span for span in told)
    assert [span for span in told if marks_in(span)] == []
    written = log_lines.getvalue()
    assert '"message":"chat"' in written
    assert [line for line in written.splitlines() if marks_in(line)] == []


async def find_tables(world: World) -> set[str]:
    """Tables that have a mark in any row, as text or as bytes."""
    found = set()
    async with world.admin() as admin:
        for (table,) in await admin.fetch(_TABLES):
            for (row,) in await admin.fetch(f"select t::text from {table} t"):
                hidden = [mark for mark in (ASKED, ANSWERED, KEY) if mark.encode().hex() in row]
                if marks_in(row) or hidden:
                    found.add(table)
                assert KEY not in row
    return found


def test_no_topic_is_made_of_the_tables_that_keep_them() -> None:
    captured = {
        entry
        for file in (ROOT / "topics").glob("*.toml")
        for entry in str(tomllib.loads(file.read_text(encoding="utf-8"))).split("'")
    }
    assert captured
    assert captured & {*DECLARED, *(table.partition(".")[2] for table in DECLARED)} == set()


async def test_no_command_shows_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADRIATIC_HOME", str(tmp_path / ".adriatic"))
    monkeypatch.setenv("ADRIATIC_LLM__API_KEY", KEY)
    monkeypatch.setenv("ADRIATIC_LLM__KEYS", json.dumps({"a": KEY}))
    monkeypatch.setenv("ADRIATIC_LLM__USER_KEY", KEY)
    monkeypatch.setenv("ADRIATIC_EMBEDDER__API_KEY", KEY)
    monkeypatch.setenv("ADRIATIC_SECRETS__VAULT_TOKEN", KEY)
    for options in ([], ["--json"], ["--markdown"], ["--check"]):
        result = CliRunner().invoke(settings_command, options)
        assert result.exit_code == 0, result.output
        assert KEY not in result.output
    monkeypatch.setenv("ADRIATIC_LLM__PROVIDER", "nobody")
    monkeypatch.setenv("ADRIATIC_POSTGRES__API_PASSWORD", f"vault:{KEY}")
    result = CliRunner().invoke(settings_command, ["--check"])
    assert result.exit_code
    assert KEY not in f"{result.output} {result.exception}"
