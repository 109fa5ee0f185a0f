"""The drivers: edits, imports, chats, jobs.

Each is the only writer of what it writes, so its record says exactly what the tables must hold: no version less, and no
version more.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
import msgspec

from api.chat.books import SETTLE_S_MAX
from connectors.history import Fault, FileChange, SourceKind
from connectors.llm.sse import SseDecoder
from runtime.clock import SYSTEM_CLOCK
from tests.crash.load import HEALED_S_MAX, Away, Driver
from tests.crash.schedule import SUPERVISOR, Hit

WORDS = ("otter", "heron", "ledger", "queue", "tide", "buoy", "harbour", "lantern", "pilot", "rope", "anchor", "chart")
ANSWER_S_MAX = 5.0
"""From the last event that the reader saw back to the first; an answer without a model takes milliseconds."""
LIVE_MAX = 30
"""ADRs that are edited: few enough that each gets a history."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def text_of(dice: Any, title: str) -> str:
    """An ADR of a few passages, some of which other versions have too."""
    parts = [f"## {dice.choice(WORDS).title()}\n\nThe {dice.choice(WORDS)} holds.\n" for _ in range(dice.randint(1, 4))]
    return f"# {title}\n\n## Status\n\nAccepted\n\n" + "\n".join(parts)


class Edits(Driver):
    """Creates, changes and deletes ADRs. `history`: of each ADR, (change, digest of the body) by version."""

    name = "edits"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.history: dict[str, list[tuple[str, str]]] = {}
        self._numbers = itertools.count()

    def step(self) -> None:
        live = [adr for adr, versions in self.history.items() if versions[-1][0] != "delete"]
        chance = self.dice.random()
        if not live or (chance < 0.35 and len(live) < LIVE_MAX):
            self._create()
        elif chance < 0.92:
            self._change(self.dice.choice(live))
        else:
            self._delete(self.dice.choice(live))

    def _create(self) -> None:
        number = next(self._numbers)
        body = text_of(self.dice, f"Decision {number}")
        key = {"Idempotency-Key": f"{self.tenant.slug}-{number}"}
        answer = self.patiently(lambda: self.ask("POST", "/v1/adrs", json={"body": body}, headers=key))
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert made["version"] == 1, "a create that was repeated made a version of its own"
        self.history[made["adr_id"]] = [("create", digest(body))]

    def _change(self, adr: str) -> None:
        before = len(self.history[adr])
        body = text_of(self.dice, f"Decision {self.dice.choice(WORDS)} {before}")

        def change() -> dict[str, Any]:
            answer = self.ask("PATCH", f"/v1/adrs/{adr}", json={"body": body, "expected_version": before})
            if answer.status_code == 409:  # the answer to an earlier try was lost
                answer = self.ask("GET", f"/v1/adrs/{adr}")
            assert answer.status_code == 200, answer.text
            seen: dict[str, Any] = answer.json()
            return seen

        seen = self.patiently(change)
        assert (seen["version"], seen["body"]) == (before + 1, body), f"{adr} is at version {seen['version']}"
        self.history[adr].append(("update", digest(body)))

    def _delete(self, adr: str) -> None:
        before = len(self.history[adr])

        def delete() -> httpx.Response:
            return self.ask("DELETE", f"/v1/adrs/{adr}", params={"expected_version": before})

        answer = self.patiently(delete)
        assert answer.status_code in (200, 409, 410), answer.text
        self.history[adr].append(("delete", self.history[adr][-1][1]))

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        rows = self.world.rows(
            "select v.adr_id::text, v.change, v.body from app.adr_versions v join app.adrs a using (tenant_id, adr_id) "
            "where v.tenant_id = %s and a.source_key is null order by v.adr_id, v.version",
            self.tenant.tenant_id,
        )
        found: dict[str, list[tuple[str, str]]] = {}
        for adr, change, body in rows:
            found.setdefault(adr, []).append((change, digest(body)))
        for adr in sorted(found.keys() | self.history.keys()):
            have, want = found.get(adr, []), self.history.get(adr, [])
            if have != want:
                changes = [[change for change, _ in versions] for versions in (have, want)]
                yield f"{adr} has versions {changes[0]}, and {changes[1]} were acknowledged"


@dataclass
class Made:
    """A history that grows: what `adriatic import` would read from a repository that somebody works in."""

    commits: list[FileChange] = field(default_factory=list)
    name: str = "made/up"
    kind: SourceKind = "git"
    snapshot: bool = False

    def count(self) -> int:
        return len(self.commits)

    def changes(self) -> Iterator[FileChange | Fault]:
        yield from self.commits

    def notes(self) -> list[str]:
        return []


class Imports(Driver):
    """Imports one history again and again, each time with some commits more."""

    name = "imports"
    pause_s = 0.3
    files: ClassVar[int] = 20
    commits_a_time: ClassVar[int] = 8

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.source = Made()
        self.versions: Counter[str] = Counter()
        self.newest: dict[str, str] = {}

    def step(self) -> None:
        from adriatic.cli.remote import connect
        from adriatic.cli.sending import IntoLog, send

        for _ in range(self.commits_a_time):
            self._commit()
        token = self.tenant.token
        with connect(str(self.tenant.http.base_url), token, outage_s=HEALED_S_MAX) as remote:
            limit = self.world.settings.api.import_bytes_max
            sent = send(remote, self.source, IntoLog("imported"), SYSTEM_CLOCK, lambda _: None, bytes_max=limit)
        assert sent.finished is not None
        assert not sent.finished.report.refused, f"refused: {sent.finished.report.refused}"

    def _commit(self) -> None:
        number = len(self.source.commits)
        path = f"adr/{self.dice.randrange(self.files):04}-made-up.md"
        body = text_of(self.dice, f"Imported {path[4:8]}") + f"\n## Note {number}\n\nSeen again.\n"
        self.source.commits.append(
            FileChange(
                ref=f"{number:040x}",
                committed_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
                author="Ada <ada@example.com>",
                subject=f"Change {number}",
                change="M" if self.versions[path] else "A",
                path=path,
                content=body.encode(),
            )
        )
        self.versions[path] += 1
        self.newest[path] = digest(body)

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        rows = self.world.rows(
            "select a.source_key, count(*), (array_agg(v.body order by v.version desc))[1] "
            "from app.adr_versions v join app.adrs a using (tenant_id, adr_id) "
            "where v.tenant_id = %s and a.source_key is not null group by a.adr_id, a.source_key",
            self.tenant.tenant_id,
        )
        found = {path: (count, digest(body)) for path, count, body in rows}
        if len(found) != len(rows):
            yield "a file became two ADRs"
        for path in sorted(found.keys() | self.versions.keys()):
            want = (self.versions[path], self.newest.get(path))
            if found.get(path) != want:
                yield f"{path} has {found.get(path)} versions and newest text, and {want} were sent"


class Chats(Driver):
    """Asks, reads to the end or leaves early. `seen`: the attempts that began here, and how they ended."""

    name = "chats"
    pause_s = 0.4
    leaves: ClassVar[float] = 0.2

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: dict[str, tuple[str, float]] = {}

    def step(self) -> None:
        try:
            self._chat(leave=self.dice.random() < self.leaves)
        except Away:
            return  # what broke off is asked again by a person, as another attempt

    def _chat(self, *, leave: bool) -> None:
        question = f"What holds the {self.dice.choice(WORDS)}?"
        attempt, decoder = None, SseDecoder()
        try:
            with self.http.stream("POST", "/v1/chat/stream", json={"question": question}) as answer:
                if answer.status_code != 200:
                    assert answer.status_code in (429, 503), f"{answer.status_code} {answer.read().decode()}"
                    raise Away(str(answer.status_code))
                for part in answer.iter_raw():
                    for event in decoder.feed(part):
                        data = msgspec.json.decode(event.data)
                        if event.name == "start":
                            attempt = data["attempt_id"]
                            self._ended(attempt, "broke off")
                        elif event.name in ("done", "error") and attempt:
                            self._ended(attempt, event.name)
                            return
                        elif event.name == "delta" and leave and attempt:
                            self._ended(attempt, "left")
                            return
        except httpx.HTTPError as error:
            raise Away(type(error).__name__) from error

    def _ended(self, attempt: str, how: str) -> None:
        self.seen[attempt] = how, SYSTEM_CLOCK.now().timestamp()

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        """Exactly one row for each attempt. The row is written when an attempt is over, by the process that answered:
        one that was killed before could not write it, and that alone is excused."""
        rows: Counter[str] = Counter(
            attempt
            for (attempt,) in self.world.rows(
                "select attempt_id::text from app.usage_events where tenant_id = %s", self.tenant.tenant_id
            )
        )
        if doubled := sorted(attempt for attempt, count in rows.items() if count > 1):
            yield f"attempts {doubled} have more than one row"
        lost = [attempt for attempt in self.seen if attempt not in rows]
        if unexcused := [
            f"{attempt} ({self.seen[attempt][0]})" for attempt in lost if not self._excused(attempt, hits)
        ]:
            yield f"no row of the ledger for attempts {unexcused}"

    def _excused(self, attempt: str, hits: Sequence[Hit]) -> bool:
        _how, last = self.seen[attempt]
        return any(
            hit.fault.kind == "kill"
            and hit.fault.target in ("api", SUPERVISOR)
            and last - ANSWER_S_MAX <= hit.at <= last + SETTLE_S_MAX
            for hit in hits
        )


class Jobs(Driver):
    """Asks for jobs under a key; each is one job, and is done in the end."""

    name = "jobs"
    pause_s = 1.5

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[str] = []

    def step(self) -> None:
        headers = {"Idempotency-Key": f"{self.tenant.slug}-{len(self.asked)}"}
        answer = self.patiently(lambda: self.ask("POST", "/v1/jobs", json={"kind": "reindex"}, headers=headers))
        assert answer.status_code == 201, answer.text
        self.asked.append(answer.json()["job_id"])

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        rows = dict(
            self.world.rows(
                "select job_id::text, state from app.jobs where tenant_id = %s and kind = 'reindex'",
                self.tenant.tenant_id,
            )
        )
        if set(rows) != set(self.asked):
            yield f"{len(rows)} jobs, and {len(self.asked)} were acknowledged"
        if bad := {job: state for job, state in rows.items() if state != "succeeded"}:
            yield f"jobs did not succeed: {bad}"
