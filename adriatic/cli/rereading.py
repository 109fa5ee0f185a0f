"""`adriatic import --reread`: asks for the job `reread`, waits for it, and says what changed.

Owns the wording. Refuses to read: the job does, and goes on when nobody waits for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adriatic.cli.output import hide_controls, show
from runtime.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from adriatic.cli.where import Where
    from api.jobs.service import Job

POLL_S = 0.5
"""Pause between two looks at the job: short enough for a person, and nothing to the API."""
EXAMPLES_SHOWN = 3


def reread(where: Where, *, wait: bool, as_json: bool) -> None:
    """Ask for the job, wait for its end unless told otherwise, and print what it found. Ends with 1 when it failed."""
    from api.jobs.service import Job

    with where.connect() as remote:
        asked = {"kind": "reread", "params": {}}
        job = remote.request("POST", "/v1/jobs", Job, body=asked)  # a second one would find nothing to change
        said = ""
        while wait and job.finished_at is None:
            SYSTEM_CLOCK.sleep(POLL_S)
            job = remote.request("GET", f"/v1/jobs/{job.job_id}", Job)
            line = f"{job.phase or 'waiting for a worker'}: {job.done} of {job.total if job.total is not None else '?'}"
            if line != said:
                click.echo(line, err=True)
                said = line
    show(as_json, msgspec.json.encode(job), lines(job))
    if job.state in ("failed", "cancelled"):
        sys.exit(1)


def lines(job: Job) -> Iterator[str]:
    """What the job came to."""
    if job.finished_at is None:
        yield f"asked for: GET /v1/jobs/{job.job_id} says how far it is"
        return
    if job.state != "succeeded":
        yield f"{job.state}: {job.last_error.detail if job.last_error else 'somebody ended it'}"
        yield "what was read again stays; the same command begins anew, and what is up to date costs no write"
        return
    result: dict[str, Any] = job.result
    yield (
        f"{result['adrs']} ADRs in {job.done} versions read by reader {result['reader']}; "
        f"{result['older']} had been read by an older one"
    )
    for name, change in result["changed"].items():
        yield f"  {name:<10} {change['count']} changed"
        for each in change["examples"][:EXAMPLES_SHOWN]:
            yield f"             {_printable(each['adr'])}: {_printable(each['before'])} → {_printable(each['after'])}"
    if not result["changed"]:
        yield "  nothing changed"
    if result["kept"]:
        yield f"  kept       {result['kept']} versions say something else than their text, and may have been told to"


def _printable(text: str) -> str:
    return hide_controls(text) or "nothing"
