"""Does the API keep what its document says? Requests made from the document, by the thousand, against a real process.

Owns the run of Schemathesis: its settings, the data that requests need to be about something, and the account of what
was asked. `make api-check` runs many cases; `test_promises.py` fewer, in the suite. Refuses to choose between checks:
all of them are on. What is put right in a request before it is sent is what no document can say: that an id is that of
something which is there.

A failure prints a `curl` line; `--seed` brings the same cases again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import httpx
import psycopg
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER

from api.adrs.schemas import TAG_CHARS_MAX
from api.auth.issuer import LocalIssuer
from api.tenants import service as tenants
from connectors.llm.sse import SseDecoder
from runtime.ids import new_id
from runtime.settings import Settings
from schemas.suggestions import suggestion_id
from tests import databases
from tests.api.live.test_stream import variables
from tests.api.live.world import World, made
from tests.api.test_server import Server, serving
from tests.copies import running_copy

SEED: Final = 20_260_115
SECONDS_MAX: Final = 240
"""Longest run in the suite: the share of one test among all."""
CASES: Final = 6
"""Made-up requests of each operation and kind (fitting, not fitting), beside those that follow from its bounds."""
TOKEN_S: Final = 3_600
STREAM_TOKEN_S: Final = 1
"""A live read ends when its token does."""
LIVE: Final = "GET /v1/live/{view}"
TEXT: Final = "# Use a ledger\n\n## Status\n\nAccepted\n\nSupersedes [ADR-1](0001-a.md)\n"


MADE: Final = "made"
"""A further model of the settings, which nobody asks: a space of it can be built."""
MODELS: Final = json.dumps([{"name": MADE, "model": MADE, "dimension": 4, "base_url": "http://127.0.0.1:9/v1"}])

NOTHING_INVALID = "Invalid component: positive test case"
"""What the tool says of a request that was to be one that does not fit, and in which it then changed nothing."""


_PAGE = """
  with page as (
    insert into app.pages (
      tenant_id, page_id, url, title, media_type, version, content_hash, text_hash, links, crawl_id, fetched_at
    )
    select tenant_id, %(page)s, %(url)s, 'A page', 'text/html', 1, '', '', '{}', crawl_id, now()
    from app.crawls
    where crawl_id = %(crawl)s
    returning tenant_id, page_id, url, crawl_id
  )
  insert into app.page_versions (
    tenant_id, page_id, version, kind, crawl_id, url, title, media_type, body, effective_at
  )
  select tenant_id, page_id, 1, 'create', crawl_id, url, 'A page', 'text/html', 'What it says.', now()
  from page
"""
_FLAG = """
  insert into app.abuse_flags (tenant_id, kind, subject, day, flag_id, measured, threshold)
  select tenant_id, 'rapid-calls', %s, now()::date, %s, 2, 1
  from app.tenants
"""


_SUGGESTION = """
  insert into mv.suggestions
  select tenant_id, %s, %s, %s, 'supersedes', 'words', '{x}', 'body', 0, 1, 'x', 'title', 0, 1, 'x'
  from app.adrs
  where adr_id = %s
"""


_PROPOSAL = """
  insert into app.proposals (tenant_id, proposal_id, task_id, proposed_by, kind, adr_id, content, reason)
  select tenant_id, %s, %s, %s, 'tag', adr_id, '{"tag": "x"}', 'x'
  from app.adrs
  where adr_id = %s
"""


_SPACES = """
  insert into mv.embedding_spaces (space, provider, model, revision, dimension, active)
  values
    (%(own)s, 'x', 'x', 'x', 4, not exists (select from mv.embedding_spaces where active)),
    (%(made)s, 'x', 'x', 'x', 4, false)
  on conflict do nothing
"""
_TENANT_SPACES = """
  insert into app.tenant_spaces (tenant_id, space, state, related)
  select t.tenant_id, s.space, s.state, s.space = %(own)s
  from app.tenants t
  cross join (values (%(own)s, 'active'), (%(made)s, %(state)s)) as s (space, state)
  on conflict (tenant_id, space)
  do update set state = excluded.state, job_id = null
"""


@dataclass
class Account:
    """What was asked, and what was wrong."""

    cases: int = 0
    checks: int = 0
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def never_answered(self, operations: set[str]) -> set[str]:
        """Operations that never did what they are for."""
        return {each for each in operations if not any(status < 400 for status in self.statuses.get(each, ()))}

    def add(self, recorder: Any) -> None:
        for case_id, node in recorder.cases.items():
            self.cases += 1
            found = recorder.interactions.get(case_id)
            label = node.value.operation.label
            if found is not None and found.response is not None:
                self.statuses.setdefault(label, Counter())[found.response.status_code] += 1
            for check in recorder.checks.get(case_id, ()):
                self.checks += 1
                if check.status == Status.FAILURE and check.failure_info is not None:
                    failure = check.failure_info.failure
                    if NOTHING_INVALID in failure.message or not _is_http(found):
                        continue
                    body = found.response.text[:1000] if found is not None and found.response is not None else ""
                    told = f"{label}: {check.name}: {failure.title}\n{failure.message}\n{body}"
                    self.faults.setdefault(
                        f"{label} {check.name} {failure.title}", f"{told}\n{check.failure_info.code_sample}"
                    )


def _is_http(found: Any) -> bool:
    """Whether a request could be read at all. With a made-up `Content-Length` the server refuses it in words of its
    own, before it is anybody's."""
    headers = {} if found is None else found.request.headers
    lengths = (value for name, values in headers.items() if name.lower() == "content-length" for value in values)
    return all(str(length).isdecimal() for length in lengths)


class Furniture:
    """What is there to be asked about, made again when a request took it away."""

    def __init__(self, http: httpx.Client, dsn: str) -> None:
        self._http = http
        self._dsn = dsn
        self._ids: dict[str, str] = {}
        self.chance = random.Random(SEED)

    def make(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = self._http.request(method, path, **more)
        assert answer.status_code < 300, (method, path, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    def adr(self) -> str:
        """An ADR of two versions, with a tag and a link."""
        made = self.make("POST", "/v1/adrs", json={"body": TEXT, "tags": ["x"]})
        path = f"/v1/adrs/{made['adr_id']}"
        self.make("PATCH", path, json={"body": TEXT + "\nMore.\n"}, headers={"If-Match": "*"})
        self._http.put(f"{path}/links", json={"kind": "relates-to", "target": "ADR-1"})
        return str(made["adr_id"])

    def deleted_adr(self) -> str:
        made = self.adr()
        self.make("DELETE", f"/v1/adrs/{made}", headers={"If-Match": "*"})
        return made

    def feed(self) -> str:
        """A feed that takes items: another request may have deleted or paused it."""
        self._http.post("/v1/feeds", json={"slug": "wiki"})
        self.make("PATCH", "/v1/feeds/wiki", json={"paused": False, "items_per_minute": 1_000_000, "name": "x"})
        return "wiki"

    def passing_feed(self) -> str:
        """One that nobody asks about after it was deleted."""
        slug = f"f-{self.chance.randrange(10**9)}"
        self.make("POST", "/v1/feeds", json={"slug": slug})
        return slug

    def key(self) -> str:
        self.feed()
        made = self._http.post("/v1/feeds/wiki/keys", json={})
        if made.status_code == 409:
            for key in self._http.get("/v1/feeds/wiki").json()["keys"]:
                self._http.delete(f"/v1/feeds/wiki/keys/{key['key_id']}")
            made = self._http.post("/v1/feeds/wiki/keys", json={})
        return str(made.json()["key_id"])

    def api_key(self) -> str:
        """A good one. Where there are too many, all are revoked first."""
        wanted = {"name": "web", "scopes": ["read"]}
        made = self._http.post("/v1/keys", json=wanted)
        if made.status_code == 409:
            for key in self._http.get("/v1/keys").json()["items"]:
                self._http.delete(f"/v1/keys/{key['key_id']}")
            made = self._http.post("/v1/keys", json=wanted)
        return str(made.json()["api_key"]["key_id"])

    def job(self) -> str:
        return str(self.make("POST", "/v1/jobs", json={"kind": "reindex"})["job_id"])

    def research(self) -> str:
        """A new one: a route deletes them. Those before are ended: only so many wait at once."""
        for old in self._http.get("/v1/research").json()["items"]:
            if old["finished_at"] is None:
                self._http.post(f"/v1/research/{old['research_id']}/cancel")
        return str(self.make("POST", "/v1/research", json={"question": "Why a log?"})["research_id"])

    def import_(self) -> str:
        return str(self.make("POST", "/v1/imports", json={"source": "docs/adr"})["import_id"])

    def document(self) -> str:
        name = f"{self.chance.random()}.txt"
        return str(self.make("POST", "/v1/documents", files={"file": (name, name.encode())})["id"])

    def crawl(self) -> str:
        """One that waits. Those before are cancelled: only so many may be open at once."""
        self.end_crawls()
        return str(self.make("POST", "/v1/crawls", json={"start_urls": ["https://docs.example.org/"]})["crawl_id"])

    def schedule(self) -> str:
        """A schedule of which there is no other."""
        self.end_schedules()
        asked = {"crawl": {"start_urls": ["https://docs.example.org/"]}, "every_s": 3_600}
        return str(self.make("POST", "/v1/crawl-schedules", json=asked)["schedule_id"])

    def end_schedules(self) -> None:
        """Make room for another one."""
        for found in self._http.get("/v1/crawl-schedules").json()["items"]:
            self._http.delete(f"/v1/crawl-schedules/{found['schedule_id']}")

    def end_crawls(self) -> None:
        for crawl in self._http.get("/v1/crawls", params={"state": "queued"}).json()["items"]:
            self._http.delete(f"/v1/crawls/{crawl['crawl_id']}")

    def page(self) -> str:
        """A page as a crawl would leave it."""
        made = {"page": str(new_id()), "crawl": self.crawl(), "url": f"https://docs.example.org/{self.chance.random()}"}
        with psycopg.connect(self._dsn) as connection:
            connection.execute(_PAGE, made)
        return made["page"]

    def budget(self) -> str:
        wanted = {"level": "key", "subject": "web", "period": "day", "limit_micro_usd": 10**9}
        return str(self.make("PUT", "/v1/budgets", json=wanted)["budget_id"])

    def override(self) -> str:
        return str(self.make("POST", "/v1/spend/overrides", json=self.raise_budget())["override_id"])

    def raise_budget(self) -> dict[str, Any]:
        """A raise of a budget that is there, for an hour. Those before are ended: only so many are in force at once."""
        for old in self._http.get("/v1/spend/overrides", params={"limit": 200}).json()["items"]:
            if old["in_force"]:
                self._http.delete(f"/v1/spend/overrides/{old['override_id']}")
        expires_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return {"budget_id": self.budget(), "amount_micro_usd": 1, "reason": "x", "expires_at": expires_at}

    def flag(self) -> str:
        """One of a look at the ledger, for which a test has too little use."""
        made = str(new_id())
        with psycopg.connect(self._dsn) as connection:
            connection.execute(_FLAG, [made, made])
        return made

    def attempt(self) -> str:
        told = self._http.post("/v1/chat/stream", json={"question": "Why a log?"})
        return str(json.loads(next(SseDecoder().feed(told.content)).data)["attempt_id"])

    def suggestion(self) -> str:
        """That an ADR supersedes another one, as a flow would leave it."""
        newer, older = UUID(self.adr()), UUID(self.adr())
        found = str(suggestion_id(newer, older))
        with psycopg.connect(self._dsn) as connection:
            connection.execute(_SUGGESTION, [found, newer, older, newer])
        return found

    def task(self) -> str:
        """A task that waits, and no other: of a user's only some may."""
        for each in self._http.get("/v1/agents/tasks").json()["items"]:
            self._http.post(f"/v1/agents/tasks/{each['task_id']}/cancel")
        return str(self.make("POST", "/v1/agents/tasks", json={"goal": "Why a log?"})["task_id"])

    def proposal(self) -> str:
        """A tag for an ADR, as an agent would leave it."""
        made = str(new_id())
        with psycopg.connect(self._dsn) as connection:
            connection.execute(_PROPOSAL, [made, made, made, self.adr()])
        return made

    def space(self, operation: str) -> str:
        """The name of a space that an operation takes. That of the settings is searched; the other one is as the
        operation needs it, whatever the requests before made of it."""
        told = self._http.get("/v1/spaces").json()["items"]
        named = {name: each["space"] for each in told for name in each["names"]}
        state = "building" if operation == "buildSpace" else "ready"
        spaces = {"own": named["adriatic"], "made": named[MADE], "state": state}
        with psycopg.connect(self._dsn) as connection:
            connection.execute(_SPACES, spaces)
            connection.execute(_TENANT_SPACES, spaces)
        return str(spaces["own"]) if operation == "activateSpace" else MADE

    def answer(self) -> tuple[str, str]:
        """An answer, and its conversation."""
        told = self._http.post("/v1/chat/stream", json={"question": "Why a log?"})
        start = json.loads(next(SseDecoder().feed(told.content)).data)
        return start["answer_id"], start["session_id"]

    def draft(self) -> str:
        """A draft that can be accepted. The API has no model here, which would write one: what was quoted stands for
        it."""
        wanted = {"task": "summarise", "adr_id": self.adr()}
        made = str(self.make("POST", "/v1/drafts", json=wanted)["draft_id"])
        with psycopg.connect(self._dsn) as connection:
            connection.execute("update app.drafts set task = 'expand' where answer_id = %s", [made])
        return made

    def asset(self) -> tuple[str, str]:
        found = re.search(r"/assets/([0-9a-f]+)/([\w.-]+)", self._http.get("/").text)
        assert found, "the page names its files"
        return found[1], found[2]

    def once(self, name: str, make: Callable[[], str], *, uses: int = 40) -> str:
        """Mostly the same, so that requests meet what others left behind."""
        if name not in self._ids or self.chance.randrange(uses) == 0:
            self._ids[name] = make()
        return self._ids[name]

    def forget(self, name: str) -> None:
        self._ids.pop(name, None)


def fit_spending(operation: str, furniture: Furniture) -> dict[str, Any]:
    """What a body about spending has in the place of what was made up."""
    if operation == "makeOverride":
        return furniture.raise_budget()
    # Only an organisation has no subject, and only a user an id; to stop all of it would refuse every question after.
    return {"level": "key", "subject": "batch"} if operation in ("setBudget", "setSwitch") else {}


def without_nul(value: Any) -> Any:
    """The same JSON without U+0000."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(each) for each in value]
    if isinstance(value, dict):
        return {without_nul(name): without_nul(each) for name, each in value.items()}
    return value


def name_things(operation: str, furniture: Furniture) -> dict[str, Callable[[], str]]:
    """What stands in the paths of requests, by the parameter's name."""
    return {
        "adr_id": lambda: (
            furniture.deleted_adr() if operation == "restoreAdr" else furniture.once("adr", furniture.adr)
        ),
        "job_id": lambda: furniture.once("job", furniture.job),
        "research_id": furniture.research,
        "import_id": lambda: furniture.once("import", furniture.import_),
        "document_id": lambda: furniture.once("document", furniture.document),
        "budget_id": furniture.budget,
        "override_id": furniture.override,
        "flag_id": furniture.flag,
        "suggestion_id": furniture.suggestion,
        "task_id": furniture.task,
        "proposal_id": furniture.proposal,
        "request_id": furniture.attempt,
        "answer_id": lambda: furniture.answer()[0],
        "session_id": lambda: furniture.answer()[1],
        "response_id": lambda: f"resp_{UUID(furniture.answer()[0]).hex}",
        "draft_id": furniture.draft,
        "crawl_id": furniture.crawl,
        "schedule_id": furniture.schedule,
        "page_id": furniture.page,
        "feed": furniture.passing_feed if operation == "deleteFeed" else furniture.feed,
        "key_id": furniture.key,
        "api_key_id": furniture.api_key,
        "digest": lambda: furniture.asset()[0],
        "name": lambda: furniture.asset()[1],
        "version": lambda: "1",
        "view": lambda: "entity_counts",
        "model": lambda: "adriatic",
    }


def put_right(case: Any, furniture: Furniture, stream_token: Callable[[], str]) -> None:
    """Give a request that fits the document the ids, cursors and positions of things that are there."""
    meta = case.meta
    operation = case.operation.definition.raw.get("operationId", "")
    if case.operation.label == LIVE:
        case.headers["Authorization"] = f"Bearer {stream_token()}"
    if "If-Match" not in (case.headers or {}):
        for given in (case.query, case.body):
            if isinstance(given, dict):
                given.pop("expected_version", None)  # it may stand in the place of the header
    if meta is None or meta.generation.mode.is_negative:
        return
    found = name_things(operation, furniture)
    for name in case.path_parameters or {}:
        if name in found:
            case.path_parameters[name] = found[name]()
    # A part of a path is judged as it is sent: percent-encoded, and so longer than its text.
    if len(quote(str((case.path_parameters or {}).get("tag", "")))) > TAG_CHARS_MAX:
        case.path_parameters["tag"] = "x"
    if operation in ("deleteAdr", "deleteDocument"):
        furniture.forget("adr" if operation == "deleteAdr" else "document")
    # Opaque to callers: whoever makes one up is told so.
    for name in ("cursor", "last_event_id", "expected_version", "from", "to"):
        if name not in ("from", "to") or operation == "diffVersions":
            (case.query or {}).pop(name, None)
    for name in ("Last-Event-ID", "Adriatic-Position"):
        if name in (case.headers or {}):
            del case.headers[name]
    if "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"
    if operation == "removeLink":
        case.query = {"kind": "relates-to", "target": "ADR-1"}
    if operation == "replaceWords":
        # A phrase must mean nothing else yet.
        case.body = {"words": [{"subject": "status", "name": "accepted", "phrase": "abgenickt"}]}
    if operation == "replaceAllowedHosts":
        # Empty, so that crawls of others are let go where they want.
        case.body = {"hosts": []}
    if operation == "createAgentTask" and isinstance(case.body, dict):
        furniture.task()  # one that waits, at most
        # Within the settings, and what a task without a model needs.
        case.body = {"goal": case.body.get("goal", "Why?"), "tools": ["search_adrs"], "steps": 3}
    if isinstance(case.body, dict):
        case.body |= fit_spending(operation, furniture)
    if operation == "createCrawl" and isinstance(case.body, dict):
        furniture.end_crawls()
        case.body |= {"start_urls": ["https://docs.example.org/"], "hosts": []}
    if operation == "createCrawlSchedule" and isinstance(case.body, dict):
        furniture.end_schedules()
        case.body["crawl"] = {"start_urls": ["https://docs.example.org/"]}
    if operation in ("buildSpace", "evaluateSpace", "activateSpace", "dropSpace") and isinstance(case.body, dict):
        case.body["name"] = furniture.space(operation)
    filters = case.body if case.operation.label in ("POST /v1/search", "POST /v1/decisions/check") else case.query
    if isinstance(filters, dict) and filters.get("log"):
        furniture.once("adr", furniture.adr)
        filters["log"] = "main"  # the filter takes logs that there are
    if operation in ("createDraft", "streamDraft") and isinstance(case.body, dict) and case.body.get("adr_id"):
        case.body |= {"adr_id": furniture.once("adr", furniture.adr), "version": 1}
    if isinstance(case.body, dict):
        case.body = without_nul(case.body)  # names within a schema, and what a tool is given, have no pattern
        if case.body.get("background"):
            case.body |= {"stream": True, "store": True}
        if "model" in case.body and furniture.chance.randrange(2):
            case.body["model"] = "adriatic"  # others are not found
        case.body.pop("expected_version", None)
        if "to_version" in case.body:
            case.body["to_version"] = 1
        if "parse_document" in case.body.values():
            case.body["params"] = {"document_id": furniture.document()}


def settings_of(url: str, token: str, seed: int, cases: int, seconds: float) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "max-time": seconds,
            "continue-on-failure": True,
            "request-timeout": 30,
            "max-stream-events": 3,
            "auth": {"openapi": {"bearer": {"bearer": token}}},
            "generation": {"max-examples": cases, "database": "none", "no-shrink": True},
            # What is there to be asked about comes from `Furniture`: ids that were seen in answers would turn a request
            # that is meant not to fit into one that does.
            "phases": {"fuzzing": {"extra-data-sources": {"responses": False}}},
            # Gone and too large are answers to requests that fit: the document says so of each route.
            "checks": {
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "3xx", "401", "403", "404", "409", "410", "413", "429"]
                },
                "missing_required_header": {"expected-statuses": ["400", "401", "403", "404", "415", "428"]},
            },
            # A link is named by kind and target, and not by the ADR that was made before.
            "operations": [
                {
                    "include-operation-id": ["removeLink"],
                    "checks": {"ensure_resource_availability": {"enabled": False}},
                }
            ],
        }
    )


def run(
    world: World, *, seed: int, cases: int, seconds: float, folder: Path, only: str = ""
) -> tuple[Account, set[str]]:
    """Run against a process of its own. Returns the account, and every operation of the document."""
    settings = world.settings
    issuer = LocalIssuer.open(settings.home, settings.auth)
    tenant_id = asyncio.run(_make_tenant(settings))

    def mint(ttl_s: int) -> str:
        return issuer.mint(tenant_id, subject="ada", ttl_s=ttl_s).text

    account = Account()
    changed = {**variables(world), "ADRIATIC_AUTH__LEEWAY_S": "0", "ADRIATIC_EMBEDDER__MODELS": MODELS}
    with serving(settings, folder, **changed) as server:
        token = mint(TOKEN_S)
        with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
            furniture = Furniture(http, settings.postgres.dsn("admin"))
            schema: Any = schemathesis.openapi.from_url(
                f"{server.url}/openapi.json", config=settings_of(server.url, token, seed, cases, seconds)
            )
            if only:
                schema = schema.include(operation_id=only)
            with _putting_right(lambda case: put_right(case, furniture, lambda: mint(STREAM_TOKEN_S))):
                for event in from_schema(schema).execute():
                    if isinstance(event, events.ScenarioFinished):
                        account.add(event.recorder)
                    if isinstance(event, events.NonFatalError | events.FatalError):
                        account.faults[repr(event)[:200]] = _tell(event)
            operations = {each.ok().label for each in schema.get_all_operations()}
        _require_no_defects(server, account)
    return account, operations


def _tell(event: Any) -> str:
    info = getattr(event, "info", None)
    return f"{getattr(event, 'label', '')}: {info.format() if info is not None else event.exception!r}"


def _require_no_defects(server: Server, account: Account) -> None:
    for line in server.lines():
        if line["message"] == "unexpected exception":
            account.faults[f"log {line.get('route')}"] = str(line)[:4000]


async def _make_tenant(settings: Settings) -> Any:
    async with tenants.owner(settings.postgres) as connection:
        return (await tenants.create(connection, f"promises-{new_id().hex[:12]}")).tenant_id


@contextmanager
def _putting_right(mend: Callable[[Any], None]) -> Iterator[None]:
    @schemathesis.hook
    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        mend(case)

    try:
        yield
    finally:
        GLOBAL_HOOK_DISPATCHER.unregister(before_call)


def tell(account: Account, operations: set[str], seed: int) -> str:
    """What a run found, for people."""
    lines = [*account.faults.values()]
    lines += [
        f"{each}: never answered below 400: {dict(account.statuses.get(each, {}))}"
        for each in sorted(account.never_answered(operations))
    ]
    return "\n\n".join(
        [
            *lines,
            (
                f"{account.cases} requests, {account.checks} checks, {len(operations)} operations, "
                f"{len(account.faults)} faults, seed {seed}"
            ),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask the API by its document, at length.")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--cases", type=int, default=60, help="made-up requests of each operation and kind")
    parser.add_argument("--seconds", type=float, default=1_800, help="longest run")
    parser.add_argument("--only", default="", help="the id of one operation")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_copy("", ("postgres", "kafka", "registry")) as copy:
        name = databases.template(copy.settings)
        with databases.fresh(copy.settings, name) as settings, made(settings) as world:
            began_s = time.monotonic()
            account, operations = run(
                world, seed=asked.seed, cases=asked.cases, seconds=asked.seconds, folder=Path(folder), only=asked.only
            )
            print(tell(account, operations, asked.seed))
            print(f"took {time.monotonic() - began_s:.0f} s")
    return 1 if account.faults or account.never_answered(operations) else 0


if __name__ == "__main__":
    sys.exit(main())
