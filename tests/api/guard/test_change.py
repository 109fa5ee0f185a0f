"""What is read of a change: added lines with their files and numbers, what they cite, and what is searched for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.guard.change import (
    CITATIONS_MAX,
    QUERIES_MAX,
    AddedLine,
    find_citations,
    find_titles,
    find_topics,
    gather_words,
    read_change,
)
from api.search.query import QUERY_CHARS_MAX

DIFF = """\
diff --git a/src/outbox.py b/src/outbox.py
index 1..2 100644
--- a/src/outbox.py
+++ b/src/outbox.py
@@ -10,2 +10,3 @@ def publish():
 unchanged, see ADR-1
-removed, see ADR-2
+++ i; // ADR-3, adr://ops/4
+more
@@ -40 +41 @@
-old
+new, docs/adr/0005-use-redis.md
\\ No newline at end of file
diff --git a/gone.py b/gone.py
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-see ADR-6
diff --git a/new file.md b/new file.md
--- /dev/null
+++ b/new file.md
@@ -0,0 +1,2 @@
+# New
+ADR 7
"""


def numbers(text: str) -> list[int]:
    return [each.number for each in find_citations(read_change(text))]


def test_a_diff_is_the_lines_that_it_adds() -> None:
    change = read_change(DIFF)
    assert change.lines == [
        AddedLine("src/outbox.py", 11, "++ i; // ADR-3, adr://ops/4"),
        AddedLine("src/outbox.py", 12, "more"),
        AddedLine("src/outbox.py", 41, "new, docs/adr/0005-use-redis.md"),
        AddedLine("new file.md", 1, "# New"),
        AddedLine("new file.md", 2, "ADR 7"),
    ]
    assert change.files == ["src/outbox.py", "new file.md"]
    assert read_change(DIFF.replace("\n", "\r\n")) == change


def test_a_text_is_all_of_its_lines() -> None:
    change = read_change("One.\n\n- two\n+ three\x0cand four")
    assert [line.text for line in change.lines] == ["One.", "", "- two", "+ three\x0cand four"]
    assert change.files == []


def test_records_are_cited_by_number_address_and_file() -> None:
    found = [(each.number, each.log, each.file) for each in find_citations(read_change(DIFF))]
    assert found == [(4, "ops", None), (3, None, None), (5, None, "0005-use-redis.md"), (7, None, None)]


def test_what_is_no_citation() -> None:
    for text in ("quadr-12", "ADR-12a", "ADR-0", "v1/adr/x", "0012_init.sql", "2 adrs", "ADR-99999999999"):
        assert numbers(text) == [], text
    for text in (
        "Supersedes ADR-7",
        "ADR-7 is deprecated",
        "ADR-7 was replaced",
        "not ADR-7 any more: it is no longer",
    ):
        assert numbers(text) == [], text
    assert numbers("ADR-7's way, (ADR-8), ADR-9.") == [7, 8, 9]


def test_so_many_citations_are_looked_up() -> None:
    assert len(numbers("\n".join(f"ADR-{number}" for number in range(1, CITATIONS_MAX + 50)))) == CITATIONS_MAX


def test_a_title_is_found_where_it_begins() -> None:
    change = read_change(
        "First.\nWe keep to every write\n  goes through the log, here.\nsupersedes Every write goes on\n"
    )
    titles = ["Every write goes through the log", "Every write goes on", "Nothing like this is here"]
    assert find_titles(change, titles) == [change.lines[1], None, None]


def test_the_files_that_add_most_are_searched_for() -> None:
    files = [
        f"--- a/f{index}.py\n+++ b/f{index}.py\n@@ -0,0 +1,{index} @@\n" + "+publishOrderEvents(x)\n" * index
        for index in range(1, QUERIES_MAX + 5)
    ]
    topics = find_topics(read_change("".join(files)))
    assert [each.path for each in topics] == [f"f{index}.py" for index in range(QUERIES_MAX + 4, 4, -1)]
    assert topics[0].query == "publish order events"
    parts = find_topics(read_change("word " * 10_000))
    assert 1 < len(parts) <= QUERIES_MAX
    assert find_topics(read_change("++ 1 2 3")) == []


@given(st.text(max_size=2_000))
def test_any_text_is_read(text: str) -> None:
    change = read_change(text)
    assert len(find_citations(change)) <= CITATIONS_MAX
    topics = find_topics(change)
    assert len(topics) <= QUERIES_MAX
    assert all(0 < len(each.query) <= QUERY_CHARS_MAX for each in topics)
    assert len(gather_words(text)) <= QUERY_CHARS_MAX
