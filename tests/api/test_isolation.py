"""No route shows, or changes, anything of another tenant.

Every route of the app is tried, whatever it is: routes that come later are covered without being added here, and a
route whose parameters this test does not know fails it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from connectors.llm.sse import SseDecoder
from runtime.settings import Settings
from tests.api.search.corpus import Corpus, writing
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

METHODS = ("get", "post", "put", "patch", "delete")
UPLOAD = "multipart/form-data"
IDS = (
    *("adr_id", "import_id", "job_id", "document_id", "key_id", "budget_id", "answer_id", "session_id"),
    *("api_key_id", "override_id", "request_id", "draft_id", "flag_id", "suggestion_id", "research_id"),
    *("task_id", "proposal_id", "crawl_id", "page_id", "schedule_id"),
)


class Household:
    """A tenant with something of everything, all marked with a word that nobody else uses."""

    def __init__(self, caller: Caller | None, word: str) -> None:
        self._caller = caller
        self.word = word
        self.path: dict[str, str] = {
            "version": "1",
            "tag": f"tag{word}",
            "view": "activity",
            "model": "adriatic",
        }

    @property
    def caller(self) -> Caller:
        assert self._caller
        return self._caller

    async def furnish(self, corpus: Corpus) -> None:
        caller, word = self.caller, self.word
        await caller.post("/v1/logs", {"slug": f"log{word}", "name": word})
        await caller.post("/v1/numbers", {"holder": word})
        adr = await caller.create(
            f"# About {word}\n\nSupersedes [it](0009-{word}.md). {word} everywhere.\n",
            log=f"log{word}",
            tags=[self.path["tag"]],
            message=word,
        )
        adr = await caller.update(adr, body=f"# About {word}\n\nStill {word}.\n")
        await caller.put(
            f"/v1/adrs/{adr['adr_id']}/links", {"kind": "relates-to", "target": f"https://x.example/{word}"}
        )
        started = await caller.post("/v1/imports", {"source": word, "log": f"log{word}"})
        corpus.log(caller.tenant_id, "default")
        found = corpus.adr(
            caller.tenant_id, f"Found {word}", f"# Found {word}\n\nWhat {word} means.\n", tags=[word], author=word
        )
        corpus.near(caller.tenant_id, UUID(adr["adr_id"]), found)
        suggestion_id = corpus.suggestion(caller.tenant_id, UUID(adr["adr_id"]), found, quote=f"We leave {word}.")
        await caller.put("/v1/words", {"words": [{"subject": "status", "name": "accepted", "phrase": word}]})
        budget = await caller.put(
            "/v1/budgets", {"level": "key", "period": "day", "limit_micro_usd": 10**6, "subject": word}
        )
        api_key = await caller.post("/v1/keys", {"name": word, "scopes": ["read"]})
        in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        raised = {"budget_id": budget.json()["budget_id"], "amount_micro_usd": 1, "reason": word}
        override = await caller.post("/v1/spend/overrides", {**raised, "expires_at": in_an_hour})
        await caller.put("/v1/spend/switch", {"state": "stopped", "level": "key", "subject": word, "reason": word})
        flag_id = corpus.flag(caller.tenant_id, word)
        corpus.views(caller.tenant_id)
        job = await caller.post("/v1/jobs", {"kind": "reindex"})
        research = await caller.post("/v1/research", {"question": f"What is {word}?"})
        file = (f"Found {word}.md", f"# Found {word}\n".encode())
        uploaded = await caller.request("POST", "/v1/documents", files={"file": file})
        crawl, schedule = await self._furnish_crawls()
        page_id = corpus.page(caller.tenant_id, UUID(crawl.json()["crawl_id"]), f"Found {word}")
        made = await caller.post("/v1/feeds", {"slug": f"feed{word}", "name": word})
        await caller.post(f"/v1/feeds/feed{word}", {"items": [{"id": word, "version": 1, "text": word}]})
        answer = await caller.post("/v1/chat/stream", {"question": f"What is {word}?"})
        start = json.loads(next(SseDecoder().feed(answer.content)).data)
        drafted = await caller.post("/v1/drafts", {"task": "summarise", "adr_id": adr["adr_id"]})
        task = await caller.post("/v1/agents/tasks", {"goal": f"What is {word}?"})
        task_id = task.json()["task_id"]
        proposal_id = corpus.agent(caller.tenant_id, UUID(task_id), UUID(adr["adr_id"]), word)
        self.path |= {
            "task_id": task_id,
            "proposal_id": str(proposal_id),
            "draft_id": drafted.json()["draft_id"],
            "answer_id": start["answer_id"],
            "response_id": f"resp_{UUID(start['answer_id']).hex}",
            "session_id": start["session_id"],
            "request_id": start["attempt_id"],
            "override_id": override.json()["override_id"],
            "flag_id": str(flag_id),
            "suggestion_id": str(suggestion_id),
            "adr_id": adr["adr_id"],
            "import_id": started.json()["import_id"],
            "job_id": job.json()["job_id"],
            "research_id": research.json()["research_id"],
            "budget_id": budget.json()["budget_id"],
            "document_id": uploaded.json()["id"],
            "schedule_id": schedule.json()["schedule_id"],
            "crawl_id": crawl.json()["crawl_id"],
            "page_id": str(page_id),
            "feed": f"feed{word}",
            "key_id": made.json()["key"]["key_id"],
            "api_key_id": api_key.json()["api_key"]["key_id"],
        }

    async def _furnish_crawls(self) -> tuple[Any, Any]:
        """A crawl, a schedule of it, and a list of hosts."""
        start = {"start_urls": [f"https://{self.word}.example/"]}
        crawl = await self.caller.post("/v1/crawls", start)
        await self.caller.put("/v1/allowed-hosts", {"hosts": [f"{self.word}.example"]})
        return crawl, await self.caller.post("/v1/crawl-schedules", {"crawl": start, "every_s": 3_600})


NOBODY = Household(None, "nobody")
NOBODY.path |= {name: str(uuid4()) for name in IDS} | {"feed": "feednobody"}
NOBODY.path["response_id"] = f"resp_{UUID(NOBODY.path['answer_id']).hex}"
WITHOUT_WORDS = (
    *("getFreshness", "getPipeline", "listJobs", "getJob", "getCounts", "getDailyActiveUsers", "getUsage"),
    *("listModels", "getModel", "listAlerts", "explainRequest", "getAnswerTrace", "getCaller"),
    "listSpaces",
)
"""What shows nothing that a tenant wrote; of jobs, the id is looked for."""
NOBODYS = ("listModels", "getModel")
"""What is the same for everybody."""
ASKING = (
    "search",
    "streamChat",
    "createCompletion",
    "createResponse",
    "createMessage",
    "exchangeMessage",
    "checkDecisions",
)
"""What changes nothing, though it is posted."""


@pytest.fixture
def corpus(fresh_database: Settings) -> Iterator[Corpus]:
    with writing(fresh_database) as writer:
        yield writer


@pytest.fixture
async def households(private: World, corpus: Corpus) -> list[Household]:
    made = []
    for word in ("xanadu", "yggdrasil", "zarathustra"):
        household = Household(await private.tenant(), word)
        await household.furnish(corpus)
        made.append(household)
    return made


ENDLESS = ("readLive",)
"""Answers that never end: `tests/api/live` has their isolation, on change capture that runs."""


def operations(world: World, *, endless: bool = False) -> Iterator[tuple[str, str, Any]]:
    """Method, path and documentation of every route that needs a token."""
    schema = world.app.openapi_schema.to_schema()
    for path, item in schema["paths"].items():
        for method in METHODS:
            if not path.startswith(("/v1", "/mcp")) or method not in item:
                continue
            if endless or item[method]["operationId"] not in ENDLESS:
                yield method.upper(), path, item[method]


def filled(path: str, household: Household) -> str:
    """`path` with the ids of `household`. A parameter without one fails the test: it has to be covered."""
    return path.format_map(household.path)


def asking(operation: Any, household: Household) -> dict[str, Any]:
    """Query, headers and body that make sense for `household`: the documented example, and what is required."""
    known = {"q": household.word, "kind": "relates-to", "target": f"https://x.example/{household.word}"}
    required = [
        each["name"] for each in operation.get("parameters", ()) if each["in"] == "query" and each.get("required")
    ]
    asked: dict[str, Any] = {
        "params": {name: known[name] for name in required},
        "headers": {"if-match": "*"} if has_header(operation, "If-Match") else {},
    }
    if "requestBody" in operation and UPLOAD in operation["requestBody"]["content"]:
        asked["files"] = {"file": (f"{household.word}.txt", household.word.encode())}
    elif "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        example = content["schema"]["examples"][0]
        body = {name: value for name, value in example.items() if name != "expected_version"}
        asked["json"] = body | {name: household.word for name in ("q", "question") if name in body}
        if "messages" in body:
            asked["json"]["messages"] = [{"role": "user", "content": household.word}]
        if "input" in body:
            asked["json"]["input"] = household.word
        if "jsonrpc" in body:  # tests/api/mcp has every tool
            asked["json"]["params"] = {"name": "search_adrs", "arguments": {"query": household.word}}
    return asked


def has_header(operation: Any, name: str) -> bool:
    return any(each["in"] == "header" and each["name"] == name for each in operation.get("parameters", ()))


async def state_of(world: World, household: Household) -> str:
    """Everything that the database has of a tenant."""
    rows: list[Any] = []
    async with world.admin() as admin:
        tables = await admin.fetch(
            "select table_schema || '.' || table_name as name from information_schema.columns "
            "where column_name = 'tenant_id' and table_schema in ('app', 'mv') "
            # Asking is recorded, in the asker's own ledger and conversations.
            "and table_name not in ('usage_events', 'attempts', 'answers', 'answer_parts', 'cached_answers', 'drafts') "
            "order by 1"
        )
        for table in tables:
            rows += await admin.fetch(
                f"select to_jsonb(t)::text from {table['name']} t where tenant_id = $1 order by 1",
                household.caller.tenant_id,
            )
    assert len(rows) > 10
    return json.dumps([row[0] for row in rows])


def secrets_in(text: str, owner: Household) -> list[str]:
    """What `text` has of `owner`. The bare word may come back: the caller asked with it."""
    secrets = [f"{before}{owner.word}" for before in ("About ", "Found ", "Still ", "log", "tag")]
    return [secret for secret in (*secrets, *(owner.path[name] for name in IDS)) if secret in text]


def code_of(response: httpx.Response) -> str:
    """The code of a problem, whichever protocol's envelope it is in."""
    told: dict[str, Any] = response.json()
    code: str = told.get("error", told)["code"]
    return code.replace("_", "-")


def unnamed(response: httpx.Response, owner: Household) -> dict[str, Any]:
    """A problem without what the caller asked with: what is left must not say whether the thing exists."""
    text = response.text
    for value in owner.path.values():
        text = text.replace(value, "…") if len(value) > 3 else text
    return {name: value for name, value in json.loads(text).items() if name != "request_id"}


async def of_nobody(caller: Household, method: str, path: str, operation: Any) -> httpx.Response:
    return await caller.caller.request(method, filled(path, NOBODY), **asking(operation, NOBODY))


async def test_no_route_answers_with_anything_of_another_tenant(private: World, households: list[Household]) -> None:
    before = {owner.word: await state_of(private, owner) for owner in households}
    tried = 0
    for method, path, operation in operations(private):
        if operation["operationId"] in NOBODYS:
            continue
        if "{" not in path and method != "GET" and operation["operationId"] not in ASKING:
            continue  # makes something of the caller's own
        for caller in households:
            for owner in households:
                if owner is caller:
                    continue
                response = await caller.caller.request(method, filled(path, owner), **asking(operation, owner))
                where = f"{method} {path} as {caller.word} for {owner.word}: {response.status_code} {response.text}"
                if "{" in path:
                    assert response.status_code == 404, where
                    assert code_of(response) == "not-found", where
                    assert unnamed(response, owner) == unnamed(await of_nobody(caller, method, path, operation), NOBODY)
                else:
                    assert response.status_code == 200, where
                    assert not secrets_in(response.text, owner), where
                tried += 1
    assert tried >= 6 * 20
    for owner in households:
        assert await state_of(private, owner) == before[owner.word], owner.word


async def test_every_route_shows_a_tenant_its_own(private: World, households: list[Household]) -> None:
    """The counterpart, without which the test above could pass on routes that never answer."""
    for method, path, operation in operations(private):
        if method != "GET":
            continue
        for owner in households:
            response = await owner.caller.request(method, filled(path, owner), **asking(operation, owner))
            assert response.status_code == 200, f"{path}: {response.text}"
            if operation["operationId"] not in WITHOUT_WORDS:
                assert owner.word in response.text, path
            elif "Job" in operation["operationId"]:
                assert owner.path["job_id"] in response.text, path


async def test_every_route_needs_a_token(private: World, households: list[Household]) -> None:
    for method, path, operation in operations(private, endless=True):
        for headers in ({}, {"authorization": "Bearer x.y.z"}):
            asked = asking(operation, households[0]) | {"headers": headers}
            response = await private.http.request(method, filled(path, households[0]), **asked)
            assert response.status_code == 401, f"{method} {path}"
            assert response.headers["www-authenticate"].startswith("Bearer realm=")
            assert ("invalid_token" in response.headers["www-authenticate"]) == bool(headers)


async def test_the_apis_role_without_a_tenant_sees_and_writes_nothing(
    private: World, households: list[Household]
) -> None:
    async with private.app.state.database.connection() as connection, private.admin() as admin:
        assert await connection.fetchval("select current_user") == "adriatic_api"
        tables = await connection.fetch(
            "select c.table_schema || '.' || c.table_name as name from information_schema.columns c "
            "where c.column_name = 'tenant_id' and c.table_schema in ('app', 'mv', 'ops') "
            "and has_table_privilege(format('%I.%I', c.table_schema, c.table_name), 'select') order by 1"
        )
        names = [table["name"] for table in tables]
        assert {"app.adrs", "app.adr_versions", "app.tenants", "app.users", "mv.chunks", "mv.embeddings"} <= set(names)
        for name in names:
            for tenant in ("", None):
                if tenant is not None:
                    await connection.execute("select set_config('app.tenant_id', $1, false)", tenant)
                assert await connection.fetchval(f"select count(*) from {name}") == 0, name
        counts = {name: await admin.fetchval(f"select count(*) from {name}") for name in names}
        assert sum(count > 0 for count in counts.values()) >= 10, "there was something to see"
        for statement in (
            "update app.adrs set title = 'x'",
            "update app.logs set name = 'x'",
            "delete from app.adr_tags",
            "delete from app.adr_links",
        ):
            assert (await connection.execute(statement)).endswith(" 0"), statement


async def test_the_apis_role_cannot_write_for_another_tenant(private: World, households: list[Household]) -> None:
    mine, other = households[0].caller.tenant_id, households[1].caller.tenant_id
    async with private.app.state.database.connection() as connection:
        await connection.execute("select set_config('app.tenant_id', $1, false)", str(mine))
        for statement in (
            "insert into app.logs (tenant_id, log_id, slug, name) values ($1, gen_random_uuid(), 'x', 'x')",
            "update app.logs set tenant_id = $1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement, other)
        for statement in (
            "update app.adr_versions set title = 'x'",
            "delete from app.adr_versions",
            "delete from app.adrs",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
