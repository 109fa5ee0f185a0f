"""`adriatic upload`: hand documents in, wait for what becomes of each, and say it.

Owns finding the files, sending them, asking for old results or for pages that failed to be read again, and the exit
code: 0 all processed, 1 one was refused, 3 it cannot tell. Refuses to judge a file: what it is, and whether it can be
read, the other side says.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import Where, where_options
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline
from runtime.errors import CallerError, DependencyUnavailable
from schemas.jobs import REREAD_DOCUMENTS

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.documents.service import Document

POLL_S = 0.3
"""Pause between two looks at what is still under way."""
WAIT_S = 300.0
"""Limit in which something has to move, a file or a page of one: several times the bound of a single one."""
FILES_MAX = 10_000
"""Most files of one call. More than that is an archive, and wants a look first."""


@dataclass(slots=True)
class UploadOutcome:
    """One file. `state` is that of the document, or `not-sent`."""

    file: str
    id: str = ""
    state: str = "not-sent"
    code: str = ""
    detail: str = ""
    hint: str = ""
    again: bool = False
    """These bytes were there already."""


@click.command("upload")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@where_options
@click.option("--reread", is_flag=True, help="Read again what an older release read; no files.")
@click.option("--retry", metavar="ID", multiple=True, help="Read pages of a document that failed once more; no files.")
@click.option("--wait/--no-wait", default=True, help="Wait until each is processed or refused.")
@json_option("Print the outcome of each file as JSON.")
def upload(
    paths: tuple[Path, ...], where: Where, reread: bool, retry: tuple[str, ...], wait: bool, as_json: bool
) -> None:
    """Upload documents: Markdown, HTML, text, DOCX, PDF, PPTX, XLSX, XLS, EPUB, mail and pictures.

    \b
    adriatic upload handbook.pdf notes.md
    adriatic upload docs/manuals                    a folder with all below it, hidden files left out
    adriatic search "restart the pump" --kind document
    adriatic upload --reread                        after a new release: what it reads better than the one before
    adriatic upload --retry ID                      what of a partial document could not be read

    The bytes say what a file is, not its name. Uploading the same file again changes nothing. Ends with 1 when one was
    refused; the reason is printed.
    """

    if bool(reread) + bool(retry) + bool(paths) != 1:
        raise click.UsageError("either files, or --reread, or --retry")
    if reread:
        with where.connect() as remote:
            sys.exit(read_again(remote, SYSTEM_CLOCK, wait=wait, as_json=as_json))
    if retry:
        with where.connect() as remote:
            outcomes = read_further(remote, retry, SYSTEM_CLOCK, wait=wait)
        show(as_json, msgspec.json.encode(outcomes), map(line, outcomes), summary(outcomes))
        sys.exit(exit_code(outcomes, waited=wait))
    files = list(find_files(paths))
    if not files:
        raise click.UsageError("there is no file in these folders")
    if len(files) > FILES_MAX:
        raise click.UsageError(f"{len(files)} files, at most {FILES_MAX} in one call")
    with where.connect() as remote:
        outcomes = send(remote, files)
        if wait:
            follow(remote, outcomes, SYSTEM_CLOCK)
    show(as_json, msgspec.json.encode(outcomes), map(line, outcomes), summary(outcomes))
    sys.exit(exit_code(outcomes, waited=wait))


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named; of a folder all below it, sorted, hidden ones and links left out."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder) / name
                if not name.startswith(".") and file.is_file() and not file.is_symlink():
                    yield file


def send(remote: Remote, files: Sequence[Path]) -> list[UploadOutcome]:
    """One file after the other; one that is refused at the door does not stop the others."""
    from api.documents.service import Document

    outcomes: list[UploadOutcome] = []
    with click.progressbar(files, label="uploading", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        for file in shown:
            outcome = UploadOutcome(str(file))
            outcomes.append(outcome)
            try:
                document, status = remote.upload("/v1/documents", file.name, partial(file.open, "rb"), Document)
            except CallerError as error:
                outcome.state, outcome.code = "refused", error.code
                outcome.detail, outcome.hint = error.detail, error.hint
                continue
            except OSError as error:
                outcome.code, outcome.detail = "unreadable", error.strerror or type(error).__name__
                continue
            outcome.id, outcome.again = str(document.id), status == 200
            _note(outcome, document)
    return outcomes


def follow(remote: Remote, outcomes: Sequence[UploadOutcome], clock: Clock) -> None:
    """Wait until each is processed, partial or refused. Raises `DependencyUnavailable` when nothing moves for long."""
    from api.documents.service import Document

    deadline = Deadline.after(WAIT_S, clock)
    open_ = [outcome for outcome in outcomes if outcome.id and outcome.state in ("stored", "processing")]
    total = len(open_)
    pages: dict[str, int] = {}
    with click.progressbar(length=total, label="parsing  ", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        while open_:
            before = dict(pages)
            for outcome in open_:
                document = remote.request("GET", f"/v1/documents/{outcome.id}", Document)
                _note(outcome, document)
                pages[outcome.id] = _count_pages(document)
            left = [outcome for outcome in open_ if outcome.state in ("stored", "processing")]
            shown.update(len(open_) - len(left))
            if len(left) < len(open_) or pages != before:
                deadline = Deadline.after(WAIT_S, clock)
            open_ = left
            if open_ and deadline.passed:
                raise DependencyUnavailable(
                    f"{len(open_)} of {total} documents are not parsed, and nothing moved for {WAIT_S:g} s",
                    hint="`adriatic status`: does `jobs` run? They go on; call this again to see them",
                )
            if open_:
                clock.sleep(POLL_S)


def read_again(remote: Remote, clock: Clock, *, wait: bool, as_json: bool) -> int:
    """Ask for the job that reads old results again, follow it and print what it changed. Returns the exit code.

    It takes as long as it takes, and goes on without us: each document is a step, and shows."""
    from api.jobs.service import Job

    job = remote.request("POST", "/v1/jobs", Job, body={"kind": REREAD_DOCUMENTS})
    with click.progressbar(length=1, label="reading  ", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        while wait and job.finished_at is None:
            clock.sleep(POLL_S)
            job = remote.request("GET", f"/v1/jobs/{job.job_id}", Job)
            shown.length = max(1, job.total or 1)
            shown.update(job.done - shown.pos)
    failed = f": {job.last_error.code}: {job.last_error.detail}" if job.last_error else ""
    show(as_json, msgspec.json.encode(job), [], f"job {job.job_id} {job.state}: {job.phase or 'waiting'}{failed}")
    return 0 if job.state == "succeeded" or not wait else 1


def read_further(remote: Remote, ids: Sequence[str], clock: Clock, *, wait: bool) -> list[UploadOutcome]:
    """Have documents read once more, one after the other: what of each could not be read. It goes on without us."""
    from api.documents.service import Document
    from api.jobs.service import Job

    outcomes: list[UploadOutcome] = []
    for each in ids:
        document = remote.request("POST", f"/v1/documents/{each}/retry", Document)
        outcome = UploadOutcome(document.file_name, each)
        outcomes.append(outcome)
        job = remote.request("GET", f"/v1/jobs/{document.job_id}", Job)
        with click.progressbar(length=1, label="reading  ", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
            while wait and job.finished_at is None:
                clock.sleep(POLL_S)
                job = remote.request("GET", f"/v1/jobs/{document.job_id}", Job)
                shown.length = max(1, job.total or 1)
                shown.update(job.done - shown.pos)
        _note(outcome, remote.request("GET", f"/v1/documents/{each}", Document))
    return outcomes


def _count_pages(document: Document) -> int:
    """Pages that were looked at so far, of those that are pictures."""
    return document.recognised.pages + document.recognised.failed if document.recognised else 0


def _note(outcome: UploadOutcome, document: Document) -> None:
    outcome.state = document.state
    if document.reason is not None:
        outcome.code, outcome.detail = document.reason.code, document.reason.detail
        outcome.hint = document.reason.hint


def line(outcome: UploadOutcome) -> str:
    if outcome.state == "processed":
        return f"{outcome.file}: processed" + (" (it was here already)" if outcome.again else "")
    if outcome.code:
        hint = f" ({outcome.hint})" if outcome.hint else ""
        return f"{outcome.file}: {outcome.state}: {outcome.code}: {outcome.detail}{hint}"
    return f"{outcome.file}: {outcome.state}"


def summary(outcomes: Sequence[UploadOutcome]) -> str:
    counts = Counter(outcome.state for outcome in outcomes)
    return f"{len(outcomes)} files: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def exit_code(outcomes: Sequence[UploadOutcome], *, waited: bool) -> int:
    fine = ("processed", "partial") if waited else ("processed", "partial", "stored", "processing")
    return 0 if all(outcome.state in fine for outcome in outcomes) else 1
