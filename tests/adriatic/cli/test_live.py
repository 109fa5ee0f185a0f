"""A view in the terminal: it goes on when it is cut, and it ends when it was told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from adriatic.cli import live as command
from adriatic.cli.live import Picture, live, table
from api.sse import encode_frame
from connectors.llm.sse import ServerEvent, SseDecoder
from runtime.errors import NotFound
from tests.patience import PATIENCE_S

SNAPSHOT = {"rows": [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}], "more": False, "as_of": {"state": "fresh", "age_s": 1.0}}
UPSERT = {"op": "upsert", "key": {"k": 1}, "row": {"k": 1, "v": "A"}}
DELETE = {"op": "delete", "key": {"k": 2}, "row": None}
WATERMARK = {"as_of": {"state": "stale", "age_s": 12.0}, "waits_for": ["kafka"]}


def event(name: str, number: int, data: Any) -> bytes:
    return encode_frame(name, msgspec.json.encode(data), f"id{number}")


class Server:
    """Answers each request with the next of `bodies`, and closes; the last one again and again."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.headers["last-event-id"])
                body = server.bodies.pop(0) if len(server.bodies) > 1 else server.bodies[0]
                self.send_response(server.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def run(server: Server, *more: str) -> Result:
    return CliRunner().invoke(live, ["numbers", "--url", server.url, "--token", "t", "--for", "5", *more])


def test_it_goes_on_behind_the_last_whole_event(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = command.follow  # until four events have come, however long they take
    monkeypatch.setattr(command, "follow", lambda remote, view, _: islice(follow(remote, view, PATIENCE_S), 4))
    first = event("snapshot", 1, SNAPSHOT) + event("delta", 2, UPSERT) + event("delta", 3, DELETE)[:20]
    server.bodies = [first, event("delta", 3, DELETE), event("watermark", 4, WATERMARK)]
    result = run(server, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["snapshot", "delta", "delta", "watermark"]
    assert lines[1] == {"event": "delta", "id": "id2", "data": UPSERT}
    assert server.asked == [None, "id2", "id3"]


def test_a_refusal_is_an_error_and_an_outage_is_not_waited_for_without_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status, server.bodies = 404, [b'{"code":"not-found","detail":"there is no view","hint":"there are: x"}']
    result = run(server)
    assert isinstance(result.exception, NotFound)
    monkeypatch.setattr("adriatic.cli.remote.OUTAGE_S_MAX", 2.0)
    server.status, server.bodies = 503, [b'{"code":"behind","detail":"not yet","hint":"ask again"}']
    assert "not yet" in str(run(server).exception)
    assert len(server.asked) > 2


def test_without_a_terminal_it_prints_the_rows_at_the_end(server: Server) -> None:
    server.bodies = [
        event("snapshot", 1, SNAPSHOT) + event("delta", 2, UPSERT) + event("delta", 3, DELETE),
        event("watermark", 4, WATERMARK),
    ]
    result = run(server)
    assert result.exit_code == 0, result.output
    assert "1 of 1 rows, 2 changes, stale, 12.0 s old, waits for kafka" in result.stdout
    assert "A" in result.stdout


def events(*parts: bytes) -> Iterator[ServerEvent]:
    return SseDecoder().feed(b"".join(parts))


def test_rows_follow_the_events_and_a_reset_forgets_them() -> None:
    picture = Picture()
    for each in events(event("snapshot", 1, SNAPSHOT), event("delta", 2, {**UPSERT, "row": {"k": 1, "w": 9}})):
        picture.take(each)
    assert picture.rows == [{"k": 2, "v": "b"}, {"k": 1, "v": "a", "w": 9}], "what changed last comes last"
    for each in events(event("reset", 3, {"reason": "behind"}), event("snapshot", 4, {**SNAPSHOT, "rows": []})):
        picture.take(each)
    assert picture.rows == []
    assert table("numbers", picture).row_count == 0


def test_cells_and_rows_are_bounded() -> None:
    picture = Picture()
    many = [{"k": number, "v": "x" * 500} for number in range(100)]
    for each in events(event("snapshot", 1, {**SNAPSHOT, "rows": many})):
        picture.take(each)
    assert table("numbers", picture).row_count == command.ROWS_SHOWN_MAX
    assert len(command._cell("x" * 500)) == command.CELL_CHARS_MAX
