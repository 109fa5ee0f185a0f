"""How an answer looks in a terminal, how it breaks, and that Ctrl-C closes the connection."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli import chat as chat_command
from adriatic.cli import chat_trace
from adriatic.cli.chat import chat
from api.chat.encoding import encode
from api.chat.schemas import ChatEvent, Citations, DoneEvent, Source, Sources, Start, TextDelta, ToolRun, UsageSpent
from api.chat.traces import AnswerTrace, StageTime
from api.problems import Problem
from api.search.schemas import Degraded, SearchFreshness
from api.watermarks import UNKNOWN
from connectors.llm import Tokens
from runtime.errors import DependencyUnavailable, RateLimited
from tests.api.search.corpus import BEGINNING
from tests.patience import PATIENCE_S

ID = UUID("0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f")
START = Start(
    ID, ID, ID, "openai", "m", SearchFreshness(UNKNOWN), [Degraded("meaning", "x", "the embedder is away", "")]
)
SOURCES = Sources(
    [
        Source(1, "adr", ID, 3, "Nobody writes twice", "ADR-12", "default", None, None, "Context", 0, 9),
        Source(2, "document", ID, 1, "Never cited", None, None, None, None, "", 0, 9),
    ]
)
TEXT: list[ChatEvent] = [TextDelta("It fails "), TextDelta("in the middle [1].")]
END: list[ChatEvent] = [Citations([1], [7]), UsageSpent(Tokens(), "provider", 0, None, 5), DoneEvent("stop", BEGINNING)]
BROKEN = Problem(
    "urn:x", "X", 503, "dependency-unavailable", "the provider is away", "/v1/chat/stream", "r", "ask again"
)


def frames(*events: ChatEvent) -> bytes:
    return b"".join(encode(ID, number, event) for number, event in enumerate(events))


class Server:
    """Sends `body`, then holds the connection while `hold`, and says when it was closed."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.hold = False
        self.asked: list[Any] = []
        self.traces: list[AnswerTrace] = []
        """What is answered to who asks for the times, one after the other; the last one stays."""
        self.found: dict[str, bytes] = {}
        """What is answered to other questions, by their paths."""
        self.sent = threading.Event()
        self.closed = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if self.path.endswith("/stop"):
                    server.asked.append(self.path)
                    self.send_response(202)
                    self.send_header("content-length", "4")
                    self.end_headers()
                    self.wfile.write(b"null")
                    return
                server.asked.append(msgspec.json.decode(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(server.status)
                self.end_headers()
                self.wfile.write(server.body)
                self.wfile.flush()
                server.sent.set()
                if server.hold:
                    self.connection.settimeout(30)
                    self.connection.recv(1)
                    server.closed.set()

            def do_GET(self) -> None:
                server.asked.append(self.path)
                if server.found:
                    body = server.found.pop(self.path.partition("?")[0])
                    self.send_response(200)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                body = msgspec.json.encode(server.traces.pop(0) if len(server.traces) > 1 else server.traces[0])
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def ask(server: Server, *options: str) -> Result:
    return CliRunner().invoke(chat, ["why", "so", "--url", server.url, "--token", "t", *options])


def test_an_answer_and_what_it_stands_on(server: Server) -> None:
    server.body = frames(START, SOURCES, *TEXT, *END)
    result = ask(server, "--session", str(ID), "--sources", "3")
    assert result.exit_code == 0, result.output
    assert click.unstyle(result.stdout) == (
        "It fails in the middle [1].\n[1] ADR-12  Nobody writes twice › Context  default, version 3\n"
    )
    assert "without search by meaning: the embedder is away" in result.stderr
    assert "1 citation(s) pointed to no source" in result.stderr
    assert server.asked == [{"question": "why so", "session_id": str(ID), "sources": 3}]


def test_json_is_a_line_for_each_event(server: Server) -> None:
    server.body = frames(START, SOURCES, *TEXT, *END)
    result = ask(server, "--json")
    lines = [msgspec.json.decode(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == [
        *("start", "sources", "delta", "delta", "citations", "usage", "done"),
    ]
    assert lines[2] == {"event": "delta", "id": f"{ID}.2", "data": {"text": "It fails "}}


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize(("last", "says"), [([BROKEN], "the provider is away"), ([], "broke off")])
def test_an_answer_that_breaks(server: Server, options: tuple[str, ...], last: Sequence[ChatEvent], says: str) -> None:
    server.body = frames(START, SOURCES, *TEXT, *last)
    result = ask(server, *options)
    assert isinstance(result.exception, DependencyUnavailable)
    assert says in str(result.exception)
    assert "in the middle" in result.stdout


def test_a_refusal(server: Server) -> None:
    server.status = 429
    server.body = msgspec.json.encode({"code": RateLimited.code, "detail": "16 answers are being written", "hint": ""})
    result = ask(server)
    assert "16 answers" in str(result.exception)
    assert len(server.asked) == 1, "a question is never asked twice by itself"


def test_what_is_looked_up_is_told_beside_the_answer(server: Server) -> None:
    runs = [
        ToolRun("c", "read_adr", "begun", '{"number":7}'),
        ToolRun("c", "read_adr", "failed", '{"number":7}', error="there is no ADR 7 here"),
        ToolRun("d", "search_adrs", "begun", '{"query":"x"}'),
        ToolRun("d", "search_adrs", "done", '{"query":"x"}', [1]),
    ]
    server.body = frames(START, SOURCES, *runs, *TEXT, *END)
    result = ask(server, "--tools")
    assert result.exit_code == 0, result.output
    assert server.asked[0]["tools"] is True
    assert result.stdout.startswith("It fails in the middle [1]."), "what is piped is the answer alone"
    assert 'read_adr {"number":7}: there is no ADR 7 here' in result.stderr
    assert result.stderr.count("search_adrs") == 1
    assert "tools" not in (ask(server), server.asked[1])[1]


def test_ctrl_c_closes_the_connection(server: Server) -> None:
    server.body, server.hold = frames(START, SOURCES, *TEXT), True
    server.found[f"/v1/chat/answers/{ID}"] = stopped_answer()
    command = [sys.executable, "-m", "adriatic", "chat", "why", "--url", server.url, "--token", "t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        assert server.sent.wait(PATIENCE_S)
        assert process.stdout.read(len("It fails ")) == "It fails ", "it is shown as it comes"
        process.send_signal(signal.SIGINT)
        assert server.closed.wait(PATIENCE_S)
        assert process.wait(PATIENCE_S) == 130
        said = process.stderr.read()
        assert "stopped" in said
        assert "billed once: about 30 tokens read, 4 written, $0.000123" in said
    assert server.asked[1:] == [f"/v1/chat/answers/{ID}/stop", f"/v1/chat/answers/{ID}"]


def test_ctrl_c_leaves_what_is_kept_and_says_how_to_go_on(server: Server) -> None:
    server.body, server.hold = frames(START, SOURCES, *TEXT), True
    command = [sys.executable, "-m", "adriatic", "chat", "why", "--keep", "--url", server.url, "--token", "t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(len("It fails ")) == "It fails "
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        assert f"adriatic chat --resume {ID}" in process.stderr.read()
    (asked,) = server.asked
    assert asked["on_disconnect"] == "keep"


def stopped_answer() -> bytes:
    used = UsageSpent(Tokens(input_uncached=30, output_visible=4), "estimated", 100, 123, 5)
    return msgspec.json.encode({"answer_id": ID, "state": "stopped", "usage": used})


def test_a_kept_answer_goes_on_after_a_cut_each_event_once(server: Server) -> None:
    server.body = frames(START, SOURCES, *TEXT[:1])
    events = [START, SOURCES, *TEXT, *END]
    rest = b"".join(encode(ID, number, event) for number, event in list(enumerate(events))[3:])
    server.found[f"/v1/chat/answers/{ID}/stream"] = rest
    result = ask(server, "--keep")
    assert result.exit_code == 0, result.output
    assert click.unstyle(result.stdout).startswith("It fails in the middle [1].\n[1] ADR-12")
    assert server.asked[1:] == [f"/v1/chat/answers/{ID}/stream"]


@pytest.mark.parametrize("named", [str(ID), "last"])
def test_an_answer_of_before_is_read_from_its_first_word(server: Server, named: str) -> None:
    server.found = {
        "/v1/chat/sessions": msgspec.json.encode({"items": [{"session_id": ID}], "next_cursor": None}),
        f"/v1/chat/sessions/{ID}": msgspec.json.encode({"items": [{"answer_id": "x"}, {"answer_id": ID}]}),
        f"/v1/chat/answers/{ID}/stream": frames(START, SOURCES, *TEXT, *END),
    }
    result = CliRunner().invoke(chat, ["--resume", named, "--url", server.url, "--token", "t"])
    assert result.exit_code == 0, result.output
    assert click.unstyle(result.stdout).startswith("It fails in the middle [1].")


@pytest.mark.parametrize(
    ("words", "says"), [(["--resume", "x"], "id of an answer"), (["why", "--resume", "last"], "leave the question")]
)
def test_what_cannot_be_resumed_is_said(server: Server, words: list[str], says: str) -> None:
    result = CliRunner().invoke(chat, [*words, "--url", server.url, "--token", "t"])
    assert (result.exit_code, says in result.stderr) == (2, True)


def test_tokens_and_cost_are_said_beside_the_answer(server: Server) -> None:
    used = UsageSpent(Tokens(input_uncached=30, cache_read=1_000, output_visible=4), "provider", 0, 1_250, 310)
    server.body = frames(START, SOURCES, *TEXT, Citations([1], []), used, DoneEvent("stop", BEGINNING))
    result = ask(server)
    assert "1,030 tokens read, 4 written, $0.001250 · first text after 0.31 s" in result.stderr
    assert f"conversation {ID}" in result.stderr
    assert "tokens" not in result.stdout, "what is piped is the answer alone"


def test_a_question_comes_from_a_pipe(server: Server) -> None:
    server.body = frames(START, SOURCES, *TEXT, *END)
    where = ["--url", server.url, "--token", "t"]
    assert CliRunner().invoke(chat, where, input="why\nso\n").exit_code == 0
    assert server.asked == [{"question": "why\nso"}]
    assert CliRunner().invoke(chat, where, input=" \n").exit_code == 2


def test_a_conversation_goes_on_over_an_answer_that_breaks(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = iter(["why", "", "and then"])
    monkeypatch.setattr("builtins.input", lambda _: next_or_end(questions))
    monkeypatch.setattr(chat_command, "_is_terminal", lambda: True)
    server.body = frames(START, SOURCES, *TEXT, *END)
    result = CliRunner().invoke(chat, ["--url", server.url, "--token", "t"])
    assert result.exit_code == 0, result.output
    assert [asked.get("session_id") for asked in server.asked] == [None, str(ID)]


def next_or_end(questions: Iterator[str]) -> str:
    for question in questions:
        return question
    raise EOFError


def times(*, settled: bool) -> AnswerTrace:
    """An answer that a provider began, with or without the end of its books."""
    saves = StageTime("db_save_usage", "handle_chat_request", 900.0, 100.0 if settled else None, False)
    return AnswerTrace(
        ID,
        "0af7651916cd43dd8448eb211c80319c",
        settled,
        [
            StageTime("handle_chat_request", None, 0.0, 900.0, False),
            StageTime("call_openai_api", "handle_chat_request", 100.0, 800.0, True),
            StageTime("http_connect", "call_openai_api", 100.0, 50.04, False),
            saves,
        ],
    )


def test_a_trace_is_shown_when_the_answer_is_settled(server: Server) -> None:
    server.body, server.traces = frames(START, SOURCES, *TEXT, *END), [times(settled=False), times(settled=True)]
    result = ask(server, "--trace")
    assert result.exit_code == 0, result.output
    assert server.asked[1:] == [f"/v1/chat/answers/{ID}/trace"] * 2
    assert "db_save_usage" not in result.stdout, "what is piped is the answer alone"
    shown = [line.split() for line in click.unstyle(result.stderr).splitlines() if " ms " in line]
    assert [line[:3] for line in shown] == [
        ["handle_chat_request", "900.0", "ms"],
        ["call_openai_api", "800.0", "ms"],
        ["http_connect", "50.0", "ms"],
        ["db_save_usage", "100.0", "ms"],
    ]
    assert shown[1][-1] == "failed"
    assert "trace 0af7651916cd43dd8448eb211c80319c" in result.stderr
    assert "    http_connect" in result.stderr, "a part is indented below its stage"


def test_a_trace_that_is_not_whole_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_trace, "SETTLE_S_MAX", 0.1)
    server.body, server.traces = frames(START, SOURCES, *TEXT, *END), [times(settled=False)]
    result = ask(server, "--trace")
    assert result.exit_code == 0, result.output
    assert "not settled" in result.stderr
    assert "…" in next(line for line in result.stderr.splitlines() if "db_save_usage" in line)


def test_a_trace_is_one_more_line_of_json(server: Server) -> None:
    server.body, server.traces = frames(START, SOURCES, *TEXT, *END), [times(settled=True)]
    last = msgspec.json.decode(ask(server, "--trace", "--json").stdout.splitlines()[-1])
    assert (last["event"], last["data"]["stages"][0]["name"]) == ("trace", "handle_chat_request")
