"""The acts against an API that answers as told: what is late, or otherwise than it should be, is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from adriatic.cli.demo import acts, screen, story
from adriatic.cli.demo.live import LiveReader
from adriatic.cli.demo.stage import Stage
from adriatic.cli.remote import Remote
from connectors.llm.sse import ServerEvent
from runtime.clock import ManualClock
from runtime.deadline import Deadline
from runtime.errors import NotFound
from runtime.settings import Settings

Answer = Callable[[httpx.Request], httpx.Response]


@contextmanager
def stage(tmp_path: Path, answer: Answer) -> Iterator[Stage]:
    clock = ManualClock()
    with httpx.Client(base_url="http://api", transport=httpx.MockTransport(answer)) as client:
        yield Stage(
            settings=Settings(home=tmp_path),
            tenant="demo-1",
            url="http://api",
            token="t",
            remote=Remote(client, clock),
            clock=clock,
            deadline=Deadline.after(5, clock),
            day=story.day(),
        )


def test_what_does_not_come_in_time_is_said_and_the_day_goes_on(tmp_path: Path) -> None:
    def never(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, json={"job_id": "1", "state": "running", "done": 0, "unit": "sources", "last_error": None}
        )

    with stage(tmp_path, never) as now:
        now.facts["job_id"] = "1"
        acts.await_jobs(now)
        assert now.faults == ["in time: the job is over", "the job running: None"]


def test_a_document_that_ends_otherwise_is_a_fault(tmp_path: Path) -> None:
    def all_processed(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"state": "processed", "reason": None})

    with stage(tmp_path, all_processed) as now:
        now.facts["document_ids"] = {document.name: document.name for document in now.day.document}
        facts = acts.await_uploads(now)
        assert facts == {"processed": len(now.day.document), "refused": {}}
        assert now.faults == ["lanes-of-the-marram.pdf is processed, and should be refused"]


def test_notices_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    counts: dict[str, Any] = {
        "received": 9, "accepted": 7, "deleted": 1, "duplicates": 1, "superseded": 1, "rejected": {},
    }  # fmt: skip

    with stage(tmp_path, lambda _: httpx.Response(200, json={"feed": counts})) as now:
        now.facts["feed_items"] = 9
        assert acts.await_notices(now) == counts
        assert now.faults == []
        now.facts["feed_items"] = 10
        acts.await_notices(now)
        assert now.faults == ["in time: every notice is counted"]


def test_an_answer_that_fails_is_raised_as_our_error(tmp_path: Path) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"code": NotFound.code, "detail": "there is no such route"})

    with stage(tmp_path, refuse) as now, pytest.raises(NotFound):
        acts.bill(now)


def test_the_history_is_the_story() -> None:
    source = acts.StorySource()
    changes = list(source.changes())
    assert source.count() == len(changes) == len(story.history())
    assert {change.ref for change in changes if hasattr(change, "ref")} == {each.ref for each in story.history()}


def test_screen_and_summary_show_acts_views_counts_and_what_is_unknown(tmp_path: Path) -> None:
    titles = {name: title for name, title, _ in acts.PLAN}
    with stage(tmp_path, lambda _: httpx.Response(404)) as now:
        reader = LiveReader("http://api", "t", "entity_counts")
        rows = [{"kind": "adrs", "label": "accepted", "count": 27}]
        data = msgspec.json.encode({"rows": rows, "more": False, "as_of": {"state": "fresh", "age_s": 0.4}})
        reader.picture.take(ServerEvent("snapshot", data, "1"))
        now.readers.update({"entity_counts": reader, "activity": LiveReader("http://api", "t", "activity")})
        shown = screen.Screen(now, titles)
        shown.begins("import")
        shown.ends("import", {"changes": 36})
        from rich.console import Console

        console = Console(width=120)
        with console.capture() as capture:
            console.print(shown.render())
        text = capture.get()
        for words in ("the log of decisions is brought in", "changes 36", "entity_counts", "0.4 s", "adrs accepted 27"):
            assert words in text
    facts: dict[str, Any] = {"usage": {"cost_micro_usd": None, "attempts": 3}, "verify": {"clean": True}}
    assert screen.summary(facts, titles).split("\n")[0].endswith("cost micro usd unknown, attempts 3")
