"""The day that `adriatic demo` plays, as data: a history of decision records, documents, notices, questions.

Owns reading `history.toml` and `day.toml`, and what they mean. Pure: no network, no clock, no randomness. Refuses to
send anything: `acts.py` does. The company and its people are made up.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import resources
from typing import Any, Literal

import msgspec

NAME = "saltmarsh-ferries"
SUCCESSOR = """\
# Search sailings by meaning too

## Status

Accepted

## Context

Visitors ask for "the island with the seals". No spelling of a harbour helps them.

## Decision

Descriptions of the harbours are searched by meaning beside the names. Supersedes ADR-20.

## Consequences

A model runs in the program. When it does not, names are still found.
"""
"""What somebody decides during the day: it supersedes a record of the history."""


class StoryStep(msgspec.Struct, frozen=True, rename={"from_": "from"}, forbid_unknown_fields=True):
    """One entry of `history.toml`."""

    at: datetime
    author: str
    subject: str
    path: str
    text: str | None = None
    edits: tuple[tuple[str, str], ...] = ()
    from_: str | None = None
    deleted: bool = False


class StoryChange(msgspec.Struct, frozen=True):
    """One change of one record, with its whole text; none: it was deleted."""

    ref: str
    at: datetime
    author: str
    subject: str
    change: Literal["A", "M", "R", "D"]
    path: str
    old_path: str | None
    text: str | None


class StoryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that somebody uploads. `refused`: it cannot be read, and the system must say so."""

    name: str
    media_type: str
    text: str
    refused: bool = False


class StoryScan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A notice that is drawn as a scan, and words of it that are looked for."""

    name: str
    lines: tuple[str, ...]
    sought: str


class StoryFeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many notices a producer sends, and what they are made of."""

    slug: str
    name: str
    items: int
    duplicates: int
    deleted: int
    places: tuple[str, ...]
    causes: tuple[str, ...]
    effects: tuple[str, ...]


class StoryDay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    questions: tuple[str, ...]
    research: str
    unanswerable: str
    goal: str
    scan: StoryScan
    document: tuple[StoryFile, ...]
    feed: StoryFeed


def history() -> list[StoryChange]:
    """Every change, oldest first. Raises `ValueError` where an edit does not fit the text before it."""
    texts: dict[str, str] = {}
    return [
        _write(texts, number, step)
        for number, step in enumerate(_read("history.toml", dict[str, list[StoryStep]])["change"])
    ]


def day() -> StoryDay:
    read: StoryDay = _read("day.toml", StoryDay)
    return read


def _read(name: str, kind: Any) -> Any:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), kind)


def _write(texts: dict[str, str], number: int, step: StoryStep) -> StoryChange:
    ref = hashlib.sha256(f"{NAME} {number}".encode()).hexdigest()[:40]
    before = texts.pop(step.from_ or step.path, None)
    if step.deleted:
        return StoryChange(ref, step.at, step.author, step.subject, "D", step.path, None, None)
    after = step.text.lstrip("\n") if step.text is not None else before
    if after is None:
        raise ValueError(f"{step.path} is edited before it is written")
    for old, new in step.edits:
        if after.count(old) < 1:
            raise ValueError(f"{step.path} does not say {old!r}")
        after = after.replace(old, new, 1)
    texts[step.path] = after
    change: Literal["A", "M", "R"] = "R" if step.from_ else "A" if before is None else "M"
    return StoryChange(ref, step.at, step.author, step.subject, change, step.path, step.from_, after)


BROKEN_NOTICE: Mapping[str, Any] = {"id": "", "version": 1, "title": "Sailing", "text": "A notice without an id."}
"""One that the producer gets wrong."""


def notices(feed: StoryFeed) -> Iterator[Mapping[str, Any]]:
    """What the producer sends, in its order: some twice, some newest first, some taken back. Each is an item of
    `POST /v1/feeds/{feed}`."""
    for number in range(feed.items):
        yield _notice(feed, number, 1)
        if number < feed.duplicates:
            yield _notice(feed, number, 1)
    for number in range(feed.items // 4):
        later = [_notice(feed, number, 3), _notice(feed, number, 2)]
        yield from later if number % 2 else reversed(later)
    for number in range(feed.items - feed.deleted, feed.items):
        yield {"id": f"notice-{number:03}", "version": 2, "deleted": True}


def withdrawals(feed: StoryFeed) -> Iterator[Mapping[str, Any]]:
    """The newest version of every notice: that there is none."""
    for number in range(feed.items):
        yield {"id": f"notice-{number:03}", "version": 9, "deleted": True}


def _notice(feed: StoryFeed, number: int, version: int) -> Mapping[str, Any]:
    place = feed.places[number % len(feed.places)]
    cause = feed.causes[(number + version) % len(feed.causes)]
    effect = feed.effects[(number // 2 + version) % len(feed.effects)]
    return {
        "id": f"notice-{number:03}",
        "version": version,
        "title": f"{place}: sailing {number + 1}",
        "text": f"The sailing {number + 1} from {place} {effect}. The reason is {cause}.",
        "uri": f"https://example.com/notices/{number}",
        "deleted": False,
    }
