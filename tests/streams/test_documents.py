"""Uploads on the way to text, with the real parser, storage and database, and workers that are killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from connectors.objects import Objects, key_of
from connectors.parsers import Limits
from connectors.parsers.pool import Parsers
from runtime import logs
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings, TelemetrySettings
from schemas.jobs import ERASE_ORIGINAL, PARSE_DOCUMENT
from streams.documents import EraseOriginal, ParseDocument
from streams.worker import Worker
from tests.connectors.parsers import samples
from tests.dataflows.world import until
from tests.patience import PATIENCE_S
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

HOSTILE = (sys.executable, "-m", "tests.connectors.parsers.hostile")
LIMITS = Limits(seconds_max=60, pages_max=20, unpacked_bytes_max=4_000_000)
ENDED = "select count(*) from app.documents where state in ('processed', 'refused')"


class Desk:
    """Where documents are handed in, as the API does it, and where they are asked for."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.objects = Objects(bench.settings)

    def upload(self, tenant_id: UUID, content: bytes, name: str = "file") -> UUID:
        document_id, content_hash = uuid4(), hashlib.sha256(content).digest()
        self.objects.put(key_of(tenant_id, content_hash), io.BytesIO(content))
        # One statement: a worker that saw the job before its document would rightly say that there is none.
        self.bench.rows(
            "with job as (insert into app.jobs (tenant_id, job_id, kind, params) values (%s, %s, %s, %s)) "
            "insert into app.documents (tenant_id, document_id, job_id, content_hash, size_bytes, file_name) "
            "values (%s, %s, %s, %s, %s, %s)",
            *(tenant_id, job_id := uuid4(), PARSE_DOCUMENT, json.dumps({"document_id": str(document_id)})),
            *(tenant_id, document_id, job_id, content_hash, len(content), name),
        )
        return document_id

    def state(self, document_id: UUID) -> tuple[str, str | None]:
        """State, and the code of a refusal."""
        query = "select state, reason ->> 'code' from app.documents where document_id = %s"
        (row,) = self.bench.rows(query, document_id)
        return row[0], row[1]

    def versions(self, document_id: UUID) -> list[tuple[Any, ...]]:
        query = "select version, kind, title, media_type, body from app.document_versions where document_id = %s"
        return self.bench.rows(query + " order by version", document_id)

    @contextmanager
    def working(self, limits: Limits = LIMITS) -> Iterator[None]:
        parsers = Parsers(limits, HOSTILE)
        kinds = (ParseDocument(self.objects, parsers), EraseOriginal(self.objects))
        try:
            with self.bench.working({kind.name: kind for kind in kinds}):
                yield
                parsers.close()
        finally:
            parsers.close()

    def process(self, log: Path) -> subprocess.Popen[bytes]:
        described = self.bench.settings.model_dump(mode="json", include={"home"})
        postgres = self.bench.settings.postgres
        described["postgres"] = {
            **{name: getattr(postgres, name) for name in ("host", "port", "database", "sslmode")},
            "flows_password": postgres.flows_password.get_secret_value(),
        }
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.streams.test_documents"],
                env={**os.environ, "DESK": json.dumps(described)},
                stdout=out,
                stderr=out,
                cwd=Path(__file__).resolve().parents[2],
            )


@pytest.fixture
def desk(bench: Bench) -> Desk:
    return Desk(bench)


def ten(make: Any, suffix: str) -> list[tuple[str, bytes]]:
    return [(f"{number}{suffix}", make(number)) for number in range(10)]


GOOD: dict[str, list[tuple[str, bytes]]] = {
    "text/markdown": ten(lambda n: f"# Note {n}\n\nThe heron of {n} fishes.".encode(), ".md"),
    "text/plain": ten(lambda n: f"The heron of {n} fishes.".encode(), ".txt"),
    "text/html": ten(lambda n: samples.page(f"Page {n}", [f"The heron of {n} fishes."]), ".html"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ten(
        lambda n: samples.word(f"Letter {n}", [f"The heron of {n} fishes."]), ".docx"
    ),
    "application/pdf": ten(lambda n: samples.pdf([f"The heron of {n} fishes."] * (n + 1)), ".pdf"),
}
BAD: list[tuple[str, str, bytes]] = [
    ("empty", "empty.md", b""),
    ("empty", "blank.txt", b" \n"),
    ("encrypted", "secret.pdf", samples.pdf(["x"], encrypted=True)),
    ("encrypted", "secret.docx", samples.locked_word()),
    ("broken", "cut.pdf", samples.pdf(["x"])[:80]),
    ("broken", "cut.docx", samples.word("x", ["y"])[:500]),
    ("no-text", "scan.pdf", samples.pdf([""])),
    ("too-many-pages", "long.pdf", samples.pdf(["x"] * 21)),
    ("too-much-text", "huge.txt", b"words and words " * 100_000),
    ("zip-bomb", "bomb.docx", samples.bomb(8_000_000)),
    ("invalid-encoding", "none.txt", bytes(range(0x80, 0x100)) * 9),
    ("unsupported-type", "notes.docx", samples.packed({"content.xml": b"<x/>"})),
    ("broken", "picture.pdf", b"\x89PNG\r\n\x1a\n" + b"\0" * 64),
    ("crashed", "poison.txt", b"DIE"),
    ("memory", "grows.txt", b"GROW"),
]
MISNAMED = [("application/pdf", "really.docx", samples.pdf(["A pdf."])), ("text/plain", "really.pdf", b"Only words.")]


def test_ten_of_each_type_and_every_kind_of_bad_one_end_with_text_or_a_reason(desk: Desk) -> None:
    tenant = desk.bench.tenant()
    good = {desk.upload(tenant, content, name): kind for kind, all_ in GOOD.items() for name, content in all_}
    bad = {desk.upload(tenant, content, name): code for code, name, content in BAD}
    misnamed = {desk.upload(tenant, content, name): kind for kind, name, content in MISNAMED}
    expected = len(good) + len(bad) + len(misnamed)
    assert len(good) == 50
    with desk.working():
        until(lambda: desk.bench.rows(ENDED) == [(expected,)], wait_s=200)
    for document, kind in {**good, **misnamed}.items():
        assert desk.state(document) == ("processed", None)
        ((version, change, title, media_type, body),) = desk.versions(document)
        assert (version, change, media_type) == (1, "create", kind)
        assert title
        assert "heron" in body or document in misnamed
    for document, code in bad.items():
        assert desk.state(document) == ("refused", code)
        assert desk.versions(document) == []
    reasons = desk.bench.rows(
        "select reason ->> 'detail', reason ->> 'hint' from app.documents where reason is not null"
    )
    assert all(detail and hint for detail, hint in reasons)
    assert desk.bench.rows("select distinct state, phase from app.jobs order by 2") == [
        ("succeeded", "indexing"),
        ("succeeded", "refused"),
    ]


@pytest.mark.crash
def test_a_worker_that_is_killed_in_the_middle_is_taken_over_and_each_text_is_there_once(
    desk: Desk, tmp_path: Path
) -> None:
    tenant = desk.bench.tenant()
    documents = [desk.upload(tenant, f"SLOW 0.2 number {n}".encode()) for n in range(12)]
    first = desk.process(tmp_path / "first")
    until(lambda: 3 <= desk.bench.rows(ENDED)[0][0] < 12)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE_S)
    assert desk.bench.rows(ENDED)[0][0] < 12
    desk.bench.rows("update app.jobs set lease_until = now() where lease_until is not null")  # not waiting for it
    second = desk.process(tmp_path / "second")
    until(lambda: desk.bench.rows(ENDED) == [(12,)])
    for number, document in enumerate(documents):
        ((_, _, _, _, body),) = desk.versions(document)
        assert body == f"SLOW 0.2 number {number}"
    second.terminate()
    assert second.wait(PATIENCE_S) == 0


def test_a_document_that_hangs_holds_up_nobody_elses(desk: Desk) -> None:
    slow, other = desk.bench.tenant(), desk.bench.tenant()
    hung = [desk.upload(slow, f"HANG {n}".encode()) for n in range(3)]
    with desk.working():
        until(lambda: desk.state(hung[0])[0] == "processing" or desk.state(hung[1])[0] == "processing")
        quick = [desk.upload(other, f"quick {n}".encode()) for n in range(5)]
        until(lambda: all(desk.state(one) == ("processed", None) for one in quick))
        assert all(desk.state(one)[0] in ("stored", "processing") for one in hung)


def test_a_document_that_hangs_is_refused_at_the_bound(desk: Desk) -> None:
    document = desk.upload(desk.bench.tenant(), b"HANG")
    with desk.working(Limits(seconds_max=1)):
        until(lambda: desk.state(document) == ("refused", "timeout"))


def test_what_was_deleted_meanwhile_is_left_alone_and_its_original_is_erased_unless_it_came_again(desk: Desk) -> None:
    tenant = desk.bench.tenant()
    document = desk.upload(tenant, b"text")
    key = key_of(tenant, hashlib.sha256(b"text").digest())
    desk.bench.rows("update app.documents set deleted_at = now()")
    with desk.working():
        until(lambda: desk.bench.rows("select phase from app.jobs") == [("nothing to do",)])
        again = desk.upload(tenant, b"text")
        kept = desk.bench.job(tenant, ERASE_ORIGINAL, content_hash=key.partition("/")[2])
        until(lambda: desk.bench.rows("select phase from app.jobs where job_id = %s", kept) == [("kept",)])
        assert desk.objects.exists(key)
        until(lambda: desk.state(again) == ("processed", None))
        desk.bench.rows("update app.documents set deleted_at = now()")
        erased = desk.bench.job(tenant, ERASE_ORIGINAL, content_hash=key.partition("/")[2])
        until(lambda: desk.bench.rows("select phase from app.jobs where job_id = %s", erased) == [("erased",)])
    assert not desk.objects.exists(key)
    assert desk.versions(document) == []


def test_a_refused_document_can_be_tried_again(desk: Desk) -> None:
    tenant = desk.bench.tenant()
    document = desk.upload(tenant, b"SLOW 3")
    with desk.working(Limits(seconds_max=1)):
        until(lambda: desk.state(document) == ("refused", "timeout"))
    job = desk.bench.job(tenant, PARSE_DOCUMENT, document_id=str(document))
    with desk.working():
        until(lambda: desk.state(document) == ("processed", None))
    assert desk.bench.rows("select job_id from app.documents") == [(job,)]


def main() -> None:
    logs.configure("jobs", TelemetrySettings())
    settings = Settings(**json.loads(os.environ["DESK"]))
    life = Lifecycle(Health())
    signal.signal(signal.SIGTERM, lambda *_: life.stop())
    parsers = Parsers(LIMITS, HOSTILE)
    kind = ParseDocument(Objects(settings), parsers)
    worker = Worker({kind.name: kind}, settings.postgres, life)
    worker.start()
    life.wait_for_stop()
    parsers.close()
    worker.join(PATIENCE_S)


if __name__ == "__main__":
    main()
