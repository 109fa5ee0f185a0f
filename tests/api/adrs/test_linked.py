"""The task of finding what people linked: what is taken out, what counts as an answer, and how it is scored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from api.adrs.linked import DEPTH, LIST_LINKS_MIN, LinkedAdr, bm25, items, measure, scores
from api.adrs.mentions import strip_mentions
from connectors.history import FileChange

AT = datetime(2026, 1, 15, tzinfo=UTC)


def added(path: str, text: str, *, change: str = "A", old: str | None = None) -> FileChange:
    content = text.encode()
    return FileChange("1", AT, "", "", change, path, old, content, len(content))  # type: ignore[arg-type]


def log(texts: Iterable[tuple[str, str]]) -> list[LinkedAdr]:
    return items(added(path, text) for path, text in texts)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("See [the ledger](0002-ledger.md#why) first.", "See   first."),
        ("As [ADR-7](https://example.org/x) and ADR 0012 and adr#3 say.", "As   and   and   say."),
        ("In docs/adr/0004-use-kafka.md it says so.", "In   it says so."),
        ("Decision 12 was to wait, in decision record 9.", "  was to wait, in  ."),
        ("See [a manual](https://example.org/m), 12 June.", "See [a manual](https://example.org/m), 12 June."),
        ("supersedes: [ADR-1]\nkept: yes", "kept: yes"),
        ("Related-To: 0003\n[led]: 0002-ledger.md\n[web]: https://example.org", "[web]: https://example.org"),
    ],
)  # fmt: skip
def test_what_refers_to_other_records_is_taken_out(text: str, left: str) -> None:
    assert strip_mentions(text) == left


def test_links_count_both_ways_and_leave_no_trace() -> None:
    one, other, third = log(
        [
            ("adr/0001-use-kafka.md", "# 1. Use Kafka\n\nBecause of [the ledger](0002-keep-a-ledger.md).\n"),
            ("adr/0002-keep-a-ledger.md", "# 2. Keep a ledger\n\nUse kafka, as we do. ADR-1 says why.\n"),
            ("adr/0003-count.md", "# 3. Count\n\nHerons.\n"),
        ]
    )
    assert [sorted(each.linked) for each in (one, other, third)] == [[1], [0], []]
    assert (one.links, other.links) == (((1, "relates-to"),), ((0, "relates-to"),))
    assert one.text.split() == ["#", "Use", "Kafka", "Because", "of", "."]
    assert other.text.split() == ["#", "Keep", "a", "ledger", ",", "as", "we", "do.", "says", "why."]


def test_a_file_is_found_under_the_name_that_it_had() -> None:
    found = items(
        [
            added("adr/0001-a.md", "# A thing\n\nOne.\n"),
            added("adr/0002-b.md", "# B thing\n\nSee [a](0001-a.md).\n"),
            added("adr/0009-c.md", "# A thing\n\nOne.\n", change="R", old="adr/0001-a.md"),
            added("adr/0004-gone.md", "# Gone\n"),
            FileChange("1", AT, "", "", "D", "adr/0004-gone.md", None, None, 0),
        ]
    )
    assert [(item.path, sorted(item.linked)) for item in found] == [("adr/0002-b.md", [1]), ("adr/0009-c.md", [0])]


def test_an_index_and_a_list_neither_ask_nor_answer() -> None:
    records = [(f"adr/{n:04}-r.md", f"# Record {n}\n\nText.\n") for n in range(1, LIST_LINKS_MIN + 1)]
    every = " ".join(f"[x]({n:04}-r.md)" for n in range(1, LIST_LINKS_MIN + 1))
    found = log([*records, ("adr/0090-all.md", f"# All\n\n{every}\n"), ("adr/README.md", "# Log\n\n[x](0001-r.md)\n")])
    assert not any(item.linked for item in found)
    fewer = log([*records, ("adr/0090-some.md", f"# Some\n\n{every.rpartition('[')[0]}\n")])
    assert sum(bool(item.linked) for item in fewer) == LIST_LINKS_MIN, "one link less is no list"


def test_bm25_ranks_rare_shared_words_first() -> None:
    texts = ["kafka ledger", "ledger heron", "kafka heron", "kafka else"]
    assert bm25([LinkedAdr("", "", text) for text in texts])[0] == [1, 2, 3]
    assert all(at not in others for at, others in enumerate(bm25([LinkedAdr("", "", text) for text in texts])))
    assert max(len(others) for others in bm25([LinkedAdr("", "", "same") for _ in range(DEPTH + 5)])) == DEPTH


def test_scores() -> None:
    corpus = [
        LinkedAdr("a", "A", "", linked=frozenset({1, 2})),
        LinkedAdr("b", "B", "", linked=frozenset({0})),
        LinkedAdr("c", "C", "", linked=frozenset({0})),
        LinkedAdr("d", "D", ""),
    ]
    found = measure(corpus, [[3, 1, 4, 5, 6, 2], [0], [3, 1], [0]])
    assert found == [(0.5, 0.5), (1.0, 1.0), (0.0, 0.0)]
    result = scores(found)
    assert (result.queries, result.recall, result.mrr) == (3, 0.5, 0.5)
    assert result.low <= result.recall <= result.high
    assert scores([]).queries == 0
