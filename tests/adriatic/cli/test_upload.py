"""What `adriatic upload` finds, prints and ends with. On a running system: `tests/system/test_documents.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner

from adriatic.cli import upload as command
from adriatic.cli.remote import Remote
from adriatic.cli.upload import UploadOutcome, exit_code, find_files, line, send, summary
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable

DOCUMENT: dict[str, Any] = {
    "id": str(uuid4()),
    "job_id": str(uuid4()),
    "state": "stored",
    "reason": None,
    "file_name": "a.md",
    "title": "",
    "media_type": "",
    "size_bytes": 1,
    "sha256": "00",
    "pages": None,
    "gaps": [],
    "characters": {},
    "recognised": None,
    "parser": 0,
    "version": 0,
    "created_at": "2026-01-15T09:00:00Z",
    "updated_at": "2026-01-15T09:00:00Z",
}
REFUSED = DOCUMENT | {"state": "refused", "reason": {"code": "no-text", "detail": "pictures", "hint": "OCR"}}


def remote(*answers: tuple[int, dict[str, Any]]) -> Remote:
    """The other side gives these answers, one after the other, the last one for ever."""
    left = list(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(status, json=body)

    client = httpx.Client(base_url="http://api", transport=httpx.MockTransport(answer))
    return Remote(client, ManualClock(), outage_s=5)


def test_a_folder_is_taken_whole_and_hidden_files_and_links_are_not(tmp_path: Path) -> None:
    for name in ("b.md", "a.md", ".hidden", "sub/c.pdf", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link.md").symlink_to(tmp_path / "a.md")
    assert [str(file.relative_to(tmp_path)) for file in find_files([tmp_path])] == ["a.md", "b.md", "sub/c.pdf"]
    assert list(find_files([tmp_path / ".hidden"])) == [tmp_path / ".hidden"], "what is named is meant"


def test_each_file_gets_its_outcome_and_one_that_is_refused_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    problem = {"code": "too-large", "detail": "the file has 9 bytes", "hint": "split it"}
    far = remote((413, problem), (200, DOCUMENT | {"state": "processed"}))
    outcomes = send(far, [tmp_path / "a", tmp_path / "gone", tmp_path / "a"])
    assert [(one.state, one.code, one.again) for one in outcomes] == [
        ("refused", "too-large", False),
        ("not-sent", "unreadable", False),
        ("processed", "", True),
    ]


def test_it_waits_until_each_is_over_and_says_when_that_takes_too_long() -> None:
    outcome = UploadOutcome("a", str(DOCUMENT["id"]), "stored")
    command.follow(
        remote((200, DOCUMENT), (200, DOCUMENT | {"state": "processing"}), (200, REFUSED)), [outcome], ManualClock()
    )
    assert (outcome.state, outcome.code, outcome.hint) == ("refused", "no-text", "OCR")
    with pytest.raises(DependencyUnavailable, match="1 of 1"):
        command.follow(remote((200, DOCUMENT)), [UploadOutcome("a", str(DOCUMENT["id"]), "stored")], ManualClock())


def test_what_is_printed_and_the_exit_code() -> None:
    good, again = UploadOutcome("a", "1", "processed"), UploadOutcome("b", "1", "processed", again=True)
    bad = UploadOutcome("c", "2", "refused", "empty", "nothing is in it", "upload another")
    part = UploadOutcome("p", "4", "partial", "picture-pages", "pages 2–9", "OCR")
    assert line(part) == "p: partial: picture-pages: pages 2–9 (OCR)"
    assert exit_code([good, part], waited=True) == 0
    assert [line(one) for one in (good, again, bad)] == [
        "a: processed",
        "b: processed (it was here already)",
        "c: refused: empty: nothing is in it (upload another)",
    ]
    assert summary([good, again, bad]) == "3 files: 2 processed, 1 refused"
    stored = UploadOutcome("d", "3", "stored")
    assert exit_code([good, again], waited=True) == 0
    assert exit_code([good, bad], waited=True) == exit_code([stored], waited=True) == 1
    assert exit_code([stored], waited=False) == 0


@pytest.mark.parametrize("arguments", [[], ["--url", "http://x", "."], ["no-such-file"]])
def test_wrong_usage_is_told_before_anything_is_sent(arguments: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(command.upload, arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["--reread", "."], ["--reread", "--url", "http://x", "."]])
def test_reading_again_takes_no_files(arguments: list[str]) -> None:
    assert CliRunner().invoke(command.upload, arguments).exit_code == 2


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_reading_again_follows_its_job_and_says_what_changed(
    state: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    job: dict[str, Any] = {
        "job_id": str(uuid4()), "kind": "reread_documents", "params": {}, "state": "running", "phase": "reading",
        "done": 1, "total": 3, "unit": "documents", "attempts": 0, "cancel_requested": False, "last_error": None,
        "result": {},
        "created_at": "2026-01-15T09:00:00Z", "started_at": None, "heartbeat_at": None, "finished_at": None,
    }  # fmt: skip
    ended = job | {"state": state, "phase": "3 read again: 2 changed", "finished_at": "2026-01-15T09:00:05Z"}
    far = remote((202, job), (200, job), (200, ended))
    assert command.read_again(far, ManualClock(), wait=True, as_json=False) == code
    assert "3 read again: 2 changed" in capsys.readouterr().err
    assert command.read_again(remote((202, job)), ManualClock(), wait=False, as_json=False) == 0


def test_pages_that_come_one_by_one_are_waited_for_longer_than_a_standstill() -> None:
    clock = ManualClock()
    recognised = {"failed": 0, "lines": 1, "left_out": 0, "confidence": 0.9, "scripts": ["Latin"]}
    slow = [DOCUMENT | {"state": "processing", "recognised": recognised | {"pages": number}} for number in range(9)]
    looks = int(command.WAIT_S / command.POLL_S) - 10
    answers = [(200, each) for each in slow for _ in range(looks)]
    outcome = UploadOutcome("a", str(DOCUMENT["id"]), "stored")
    command.follow(remote(*answers, (200, DOCUMENT | {"state": "processed"})), [outcome], clock)
    assert outcome.state == "processed"
    assert clock.monotonic() > 2 * command.WAIT_S


def test_a_retry_waits_for_its_job_and_prints_what_became_of_the_document() -> None:
    job = {
        "job_id": DOCUMENT["job_id"],
        "kind": "parse_document",
        "params": {},
        "state": "running",
        "phase": "x",
        "done": 0,
        "total": 2,
        "unit": "pages",
        "result": {},
        "attempts": 0,
        "cancel_requested": False,
        "last_error": None,
        "created_at": DOCUMENT["created_at"],
        "started_at": None,
        "heartbeat_at": None,
        "finished_at": None,
    }
    done = job | {"state": "succeeded", "done": 2, "finished_at": DOCUMENT["created_at"]}
    answers = [(202, DOCUMENT), (200, job), (200, done), (200, DOCUMENT | {"state": "processed"})]
    (outcome,) = command.read_further(remote(*answers), [DOCUMENT["id"]], ManualClock(), wait=True)
    assert line(outcome) == "a.md: processed"
