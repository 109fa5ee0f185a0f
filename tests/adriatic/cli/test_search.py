"""How an answer looks in a terminal, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.search import freshness, lines, search
from api.search.schemas import (
    ArmRank,
    ChunkPlace,
    Correction,
    Degraded,
    Facet,
    FacetCounts,
    Facets,
    FacetValue,
    Hit,
    HitDocument,
    HitExplanation,
    SearchFreshness,
    SearchResult,
    Snippet,
)
from api.watermarks import UNKNOWN, AsOf
from runtime.errors import DependencyUnavailable
from runtime.ids import new_id

AT = datetime(2026, 1, 15, 9, tzinfo=UTC)
HIT = Hit(
    kind="adr",
    source_id=new_id(),
    number=2,
    log="default",
    title="Nobody writes twice",
    status="accepted",
    tags=["kafka"],
    version=1,
    effective_at=AT,
    score=4.685,
    snippet=Snippet("A dual write fails", [(2, 12)]),
    chunk=ChunkPlace(1, 0, "Context", 0, 20),
)
EXPLAINED = HitExplanation(
    words=ArmRank(1, 9.83, 0.25, 1, 0, ["dual", "write"]),
    meaning=ArmRank(3, 0.61, 0.435, 1, 0, second=0.55),
    named=True,
)
FRESH = AsOf("fresh", "0/1A2B3C8", AT, 0.8)


def shown(*hits: Hit) -> list[str]:
    return [click.unstyle(line) for line in lines(SearchResult("hybrid", list(hits), [], SearchFreshness(FRESH)))]


def test_a_hit() -> None:
    assert shown(HIT) == [
        "1. ADR-2  Nobody writes twice  accepted · default · kafka",
        "   Context",
        "   A dual write fails",
    ]


def test_hits_are_numbered_and_apart() -> None:
    second = shown(HIT, msgspec.structs.replace(HIT, number=None))
    assert second[3:5] == ["", "2. ADR  Nobody writes twice  accepted · default · kafka"]


def test_matches_are_emphasised_word_by_word() -> None:
    (line,) = [line for line in lines(SearchResult("hybrid", [HIT], [], SearchFreshness(FRESH))) if "fails" in line]
    emphasised = click.style("dual", fg="yellow", bold=True) + " " + click.style("write", fg="yellow", bold=True)
    assert line == f"   A {emphasised} fails"


def test_long_snippets_are_wrapped_and_nothing_is_lost() -> None:
    text = "word " * 100 + "end"
    wrapped = shown(msgspec.structs.replace(HIT, snippet=Snippet(text, [])))[2:]
    assert all(len(line) <= 104 for line in wrapped)
    assert " ".join(line.strip() for line in wrapped) == text


def test_an_explanation() -> None:
    assert shown(msgspec.structs.replace(HIT, explain=EXPLAINED))[-1].strip() == (
        "4.6850 = asked for by its number + 0.2500 by words 1. (BM25 9.83: dual, write) "
        "+ 0.4350 by meaning 3. (cosine 0.610 and 0.550)"
    )
    alone = HitExplanation(None, EXPLAINED.meaning, named=False, unlisted=0.1)
    assert shown(msgspec.structs.replace(HIT, score=0.535, explain=alone))[-1].strip() == (
        "0.5350 = not by words + 0.4350 by meaning 3. (cosine 0.610 and 0.550) + 0.1000 as the last that was found so"
    )


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (FRESH, "(0.8 s ago)"),
        (AsOf("stale", None, AT, 42.0), "(42.0 s ago), stale"),
        (AsOf("unknown", None, AT, 4200.0), "(4200.0 s ago), unknown"),
        (UNKNOWN, "up to an unknown time"),
    ],
)
def test_freshness_is_never_better_than_known(as_of: AsOf, expected: str) -> None:
    line = freshness(SearchResult("words", [], [], SearchFreshness(words=as_of)))
    assert line.startswith("complete by words")
    assert expected in line


# --- the command ----------------------------------------------------------------------------------------------------


class Answers:
    """An API that answers every request to a path with the same bytes."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.requests: list[Any] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answers.bodies[self.path.partition("?")[0]]
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                answers.requests.append(msgspec.json.decode(self.rfile.read(int(self.headers["content-length"]))))
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def run(answers: Answers, result: SearchResult, *arguments: str) -> Any:
    answers.bodies["/v1/search"] = msgspec.json.encode(result)
    return CliRunner().invoke(search, [*arguments, "--url", answers.url, "--token", "t"], catch_exceptions=False)


def test_what_is_asked(answers: Answers) -> None:
    result = SearchResult("words", [HIT], [], SearchFreshness(FRESH))
    done = run(
        answers, result, "dual", "write", "--mode", "words", "--tag", "a", "--tag", "b", "--since", "2026-01-15T00:00Z"
    )
    assert done.exit_code == 0
    assert done.stdout.startswith("1. ADR-2")
    (request,) = answers.requests
    assert (request["q"], request["mode"], request["tag"]) == ("dual write", "words", ["a", "b"])
    assert datetime.fromisoformat(request["since"]) == datetime(2026, 1, 15, tzinfo=UTC)


def test_json_is_the_answer_of_the_api(answers: Answers) -> None:
    result = SearchResult("hybrid", [HIT], [], SearchFreshness(FRESH))
    done = run(answers, result, "dual", "--json")
    assert msgspec.json.decode(done.stdout, type=SearchResult) == result
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("items", "arguments", "hint"),
    [
        ([], ["kafka"], "nothing is here yet: `adriatic import docs/decisions`"),
        ([1], ["kafka"], "try other words"),
        ([1], ["kafka", "--status", "accepted"], "drop a filter"),
        ([1], ["kafka -redis"], "drop a filter"),
    ],
)
def test_when_nothing_is_found_the_next_step_is_said(
    answers: Answers, items: list[int], arguments: list[str], hint: str
) -> None:
    adr = {
        "adr_id": str(new_id()),
        "log": "default",
        "number": 1,
        "label": "ADR-1",
        "title": "A",
        "version": 1,
        "status": "accepted",
        "tags": [],
        "created_at": AT,
        "updated_at": AT,
        "deleted_at": None,
    }
    answers.bodies["/v1/adrs"] = msgspec.json.encode({"items": [adr for _ in items], "next_cursor": None})
    done = run(answers, SearchResult("hybrid", [], [], SearchFreshness(FRESH)), *arguments)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert hint in done.stderr


def test_an_arm_that_is_missing_is_said(answers: Answers) -> None:
    degraded = Degraded("meaning", "dependency-unavailable", "the embedder is away", "")
    done = run(answers, SearchResult("hybrid", [HIT], [degraded], SearchFreshness(FRESH)), "dual")
    assert "without search by meaning: the embedder is away" in done.stderr


def test_counts_stand_behind_the_hits(answers: Answers) -> None:
    by: dict[Facet, FacetCounts] = {
        "status": FacetCounts([FacetValue("accepted", 8), FacetValue("rejected", 1)], 3),
        "tag": FacetCounts([], 0),
    }
    for at_least, head in ((False, "9 sources with a word"), (True, "at least 9 sources with a word")):
        counts = Facets("sources with a word", 9, at_least, by)
        done = run(answers, SearchResult("hybrid", [HIT], [], SearchFreshness(FRESH), facets=counts), "x", "--facets")
        assert done.stdout.splitlines()[-4:] == [
            "",
            head,
            "   status  accepted 8, rejected 1, and 3 more",
            "   tag     -",
        ]
    assert answers.requests[0]["facets"] == ["status", "tag", "log", "author", "kind", "year"]


def test_what_was_searched_for_is_said(answers: Answers) -> None:
    result = SearchResult(
        *("hybrid", [HIT], [], SearchFreshness(FRESH)),
        corrected=[Correction("kafak", "Kafka")],
        by_meaning_alone="no word is found",
    )
    done = run(answers, result, "kafak", "--as-typed")
    assert "showing results for Kafka: nobody here has written kafak" in done.stderr
    assert "no word is found: these are near in meaning" in done.stderr
    assert answers.requests[0]["correct"] is False


def test_an_api_that_is_down(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adriatic.cli.search.PATIENCE_S_MAX", 0.1)
    with pytest.raises(DependencyUnavailable, match="does not answer") as caught:
        CliRunner().invoke(search, ["kafka", "--url", "http://127.0.0.1:1", "--token", "t"], catch_exceptions=False)
    assert "adriatic up" in caught.value.hint


@pytest.mark.parametrize(
    "arguments", [["kafka", "--url", "http://x"], ["kafka", "--since", "soon"], ["kafka", "--limit", "0"], []]
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(search, arguments).exit_code == 2


def test_a_document_says_where_it_is_from() -> None:
    about = HitDocument("feed", "text/html", "https://wiki.example/7")
    hit = msgspec.structs.replace(HIT, kind="document", number=None, log=None, tags=[], document=about)
    assert shown(hit)[0] == "1. Document  Nobody writes twice  feed · https://wiki.example/7"
