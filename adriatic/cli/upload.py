"""`adriatic upload`: hand documents in, wait for what becomes of each, and say it.

Owns finding the files, sending them, and the exit code: 0 all processed, 1 one was refused, 3 it cannot tell. Refuses
to judge a file: what it is, and whether it can be read, is said by the other side.
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

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.documents.service import Document

POLL_S = 0.3
"""Pause between two looks at what is still under way."""
WAIT_S = 300.0
"""Limit for all files together, after the last one was sent: several times the bound of a single one."""
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
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@where_options
@click.option("--wait/--no-wait", default=True, help="Wait until each is processed or refused.")
@json_option("Print the outcome of each file as JSON.")
def upload(paths: tuple[Path, ...], where: Where, wait: bool, as_json: bool) -> None:
    """Upload documents: Markdown, HTML, plain text, DOCX, and PDF with text.

    \b
    adriatic upload handbook.pdf notes.md
    adriatic upload docs/manuals                    a folder with all below it, hidden files left out
    adriatic search "restart the pump" --kind document

    The bytes say what a file is, not its name. Uploading the same file again changes nothing. Ends with 1 when one was
    refused; the reason is printed.
    """

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
    """Wait until each is processed or refused. Raises `DependencyUnavailable` when that takes too long."""
    from api.documents.service import Document

    deadline = Deadline.after(WAIT_S, clock)
    open_ = [outcome for outcome in outcomes if outcome.id and outcome.state in ("stored", "processing")]
    total = len(open_)
    with click.progressbar(length=total, label="parsing  ", file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        while open_:
            for outcome in open_:
                _note(outcome, remote.request("GET", f"/v1/documents/{outcome.id}", Document))
            left = [outcome for outcome in open_ if outcome.state in ("stored", "processing")]
            shown.update(len(open_) - len(left))
            open_ = left
            if open_ and deadline.passed:
                raise DependencyUnavailable(
                    f"{len(open_)} of {total} documents are not parsed after {WAIT_S:g} s",
                    hint="`adriatic status`: does `jobs` run? They go on; call this again to see them",
                )
            if open_:
                clock.sleep(POLL_S)


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
    fine = ("processed",) if waited else ("processed", "stored", "processing")
    return 0 if all(outcome.state in fine for outcome in outcomes) else 1
