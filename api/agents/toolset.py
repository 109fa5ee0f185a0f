"""The tools of agents: those that editors have over MCP, the difference of two versions, research, crawls, and
proposals.

Owns which there are, their bounds, and what a model is told of each. A tool runs as the user whose task it is, in
transactions of that tenant: row security decides what is there. Those that read change nothing; those that would write
only propose (`proposing`), but for a crawl of what the tenant allows (`crawls`). Both are keyed by the step, so that a
step which is done again writes nothing new. What a tool gives is data: it goes back to the model as quoted JSON, and to
nobody else. A further tool is a line in `TOOLS`. Refuses to know tasks and steps (`acting`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Annotated, Any, Final, NamedTuple, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from api.adrs import queries
from api.adrs.diff import difference
from api.adrs.naming import find, parse_name
from api.agents import crawls, proposing, sub_tasks
from api.agents.crawls import CrawlCall, QuotedCrawl, ReadCrawlCall, StartedCrawl
from api.agents.proposing import ProposedAdr, ProposedLink, ProposedTag
from api.agents.schemas import ASKED_FOR_ALONE, ToolName
from api.agents.sub_tasks import QuotedSubTask, SubTaskCall
from api.agents.withholding import find_sources
from api.db import Database, tenant_transaction
from api.mcp.shapes import CHAR_MAX, NOTICE, Log, Named, describe_arguments
from api.mcp.tools import TOOLS as READING_TOOLS
from api.mcp.tools import ReadingTools
from api.research.researcher import Researcher
from api.research.schemas import PASSES_MAX, AnsweredPart, CitedSource, ResearchRequest
from api.search.embedding import QueryEmbedder
from api.search.query import QUERY_CHARS_MAX
from api.withdrawn import SourceName, find_gone, tell_withheld
from connectors.llm.prompts import Tool
from connectors.rerankers import Reranker
from runtime.errors import DependencyUnavailable, Forbidden, InvalidInput, TooLarge

TOOL_S_MAX: Final = 20.0
"""Longest run of a tool, in seconds: twice what a read may take by itself."""
ARGUMENTS_BYTES_MAX: Final = 131_072
"""Longest arguments of a call, as JSON. Those of a proposed ADR hold its whole text."""
DIFF_CHARS_MAX: Final = 16_000
"""What is shown of a difference: as much as of a text that is read."""


class ToolCaller(NamedTuple):
    """The user as whom a tool runs, the task that it is for, and the step that runs it, which was begun so long ago."""

    tenant_id: UUID
    user_id: UUID
    task_id: UUID
    step_id: UUID
    waited_s: float = 0.0


class DiffCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `diff_adr` takes."""

    adr: Named
    log: Log = None
    old: Annotated[int, Meta(ge=1, le=CHAR_MAX, description="Older version; the one before `new`.")] | None = None
    new: Annotated[int, Meta(ge=1, le=CHAR_MAX, description="Newer version; the newest.")] | None = None


class QuotedDiff(msgspec.Struct, frozen=True):
    """What changed between two versions, as a unified diff. `cut`: it goes on."""

    notice: str
    adr_id: UUID
    old: int
    new: int
    diff: str
    cut: bool


class ResearchCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `research` takes."""

    question: Annotated[
        str, Meta(min_length=1, max_length=QUERY_CHARS_MAX, description="One question or several, in words.")
    ]
    log: Log = None
    passes: Annotated[int, Meta(ge=1, le=PASSES_MAX, description="Rounds of searching at most.")] = 1


class QuotedResearch(msgspec.Struct, frozen=True):
    """What the sources hold of a question, part by part, in sentences that were quoted and checked. `answered` is false
    where they hold nothing of it."""

    notice: str
    answered: bool
    parts: list[AnsweredPart]
    sources: list[CitedSource]


class ToolReading(NamedTuple):
    """What a tool gave, and the sources that it is made of."""

    result: dict[str, Any]
    sources: list[SourceName]


class AgentTool(NamedTuple):
    """One tool. It gives None while it waits for work of others, and is called again. `proposes`: it is only used where
    a task names it."""

    description: str
    takes: type[Any]
    run: Callable[[AgentTools, ToolCaller, Any], Awaitable[Any]]
    proposes: bool = False


class AgentTools:
    """The tools of one process."""

    def __init__(self, database: Database, embedder: QueryEmbedder, result_bytes_max: int) -> None:
        self.database = database
        self.reading = ReadingTools(database, embedder)
        self._researcher = Researcher(database, embedder, _refuse_reranker)
        self._result_bytes_max = result_bytes_max

    async def run(self, caller: ToolCaller, name: str, arguments: str, allowed: Collection[str]) -> ToolReading | None:
        """What a tool gives, as JSON has it, and of which sources; None while it waits for work of others. Raises what
        is to be told to the model: `Forbidden` for a tool that the task may not use, `InvalidInput` for a call that
        cannot be, `TooLarge` for a result that is, `Gone` for one of what was deleted, and what it raises itself."""
        tool = TOOLS.get(name)
        if tool is None:
            raise InvalidInput(f"there is no tool {name[:64]!r}", hint=f"there are {', '.join(sorted(allowed))}")
        if name not in allowed:
            raise Forbidden(f"this task may not use {name}", hint=f"it may use {', '.join(sorted(allowed))}")
        asked = _read_arguments(tool, arguments)
        try:
            async with asyncio.timeout(TOOL_S_MAX):
                found = await tool.run(self, caller, asked)
        except TimeoutError:
            raise DependencyUnavailable(f"{name} took longer than {TOOL_S_MAX:g} s", hint="ask for less") from None
        if found is None:
            return None
        size_bytes = len(msgspec.json.encode(found))
        if size_bytes > self._result_bytes_max:
            raise TooLarge(
                f"the result of {name} has {size_bytes} bytes, and at most {self._result_bytes_max} are given",
                hint="ask for less: lower `limit` or `chars` (agents.output_bytes_max)",
            )
        built: dict[str, Any] = msgspec.to_builtins(found)
        async with tenant_transaction(self.database, caller.tenant_id, read_only=True) as connection:
            if name == "sub_task":
                sources = await sub_tasks.read_sources(connection, caller.tenant_id, caller.step_id)
            else:
                sources = list(dict.fromkeys(find_sources(built)))
            gone = await find_gone(connection, sources)
        if gone:
            raise tell_withheld(f"the result of {name}", len(gone))
        return ToolReading(built, sources)

    async def compare(self, caller: ToolCaller, asked: DiffCall) -> QuotedDiff:
        """What changed between two versions of a record."""
        async with tenant_transaction(self.database, caller.tenant_id, read_only=True) as connection:
            adr_id = await find(connection, caller.tenant_id, parse_name(asked.adr, asked.log))
            old, new = await queries.two_versions(connection, caller.tenant_id, adr_id, asked.old, asked.new)
        names = (f"version {old.version}", f"version {new.version}")
        diff = (await asyncio.to_thread(difference, old.body, new.body, *names)).unified
        cut = len(diff) > DIFF_CHARS_MAX
        return QuotedDiff(NOTICE, adr_id, old.version, new.version, diff[:DIFF_CHARS_MAX], cut)

    async def research(self, caller: ToolCaller, asked: ResearchCall) -> QuotedResearch:
        """What records, documents and pages say of a question. Nothing is kept, and no model is asked."""
        request = ResearchRequest(asked.question, log=asked.log, passes=asked.passes)
        state = self._researcher.begin(request)
        while state.planned:
            state = await self._researcher.search(caller.tenant_id, request, state)
        found = await self._researcher.answer(caller.tenant_id, request, state)
        return QuotedResearch(NOTICE, found.answered, found.parts, found.sources)

    async def crawl(self, caller: ToolCaller, asked: CrawlCall) -> StartedCrawl:
        """Have pages of an allowed host crawled, once for the step."""
        return await crawls.start(self.database, *caller[:4], asked)

    async def read_crawl(self, caller: ToolCaller, asked: ReadCrawlCall) -> QuotedCrawl | None:
        """What a crawl found, quoted; None while it is waited for."""
        return await crawls.look(self.database, caller.tenant_id, asked, caller.waited_s)

    async def sub_task(self, caller: ToolCaller, asked: SubTaskCall) -> QuotedSubTask | None:
        """What a sub-task answers; None while it is at work."""
        return await sub_tasks.run(self.database, *caller[:4], asked)

    async def propose(self, caller: ToolCaller, asked: proposing.Proposed) -> proposing.Recorded:
        """Write down what would be written."""
        async with tenant_transaction(self.database, caller.tenant_id) as connection:
            return await proposing.record(connection, *caller[:4], asked)


def _refuse_reranker() -> Reranker:
    raise AssertionError("the tool ranks nothing anew")


def _wrap_reading(name: str) -> AgentTool:
    """A tool of the MCP server as one of agents."""
    tool = READING_TOOLS[name]

    async def run(tools: AgentTools, caller: ToolCaller, asked: Any) -> Any:
        return await tools.reading.run(caller.tenant_id, name, msgspec.to_builtins(asked))

    return AgentTool(tool.description, tool.takes, run)


TOOLS: Final[Mapping[str, AgentTool]] = {
    **{name: _wrap_reading(name) for name in READING_TOOLS},
    "diff_adr": AgentTool(
        "Shows what changed between two versions of one decision record, as a unified diff; by default between the "
        "newest and the one before it. Quoted data.",
        DiffCall,
        AgentTools.compare,
    ),
    "research": AgentTool(
        "Takes a question apart, searches records, documents and pages for each part, and quotes the sentences that "
        "answer it, each checked against the version that it is from. Says so where they hold no answer. Quoted data.",
        ResearchCall,
        AgentTools.research,
    ),
    "crawl": AgentTool(
        "Has a page, or a few pages of a site, fetched and kept. Only hosts that the organisation allows. It takes "
        "some seconds for each page: it gives an id, and read_crawl shows what was found.",
        CrawlCall,
        AgentTools.crawl,
    ),
    "read_crawl": AgentTool(
        "Waits for a crawl by its id, and quotes the beginning of each page that it found. Quoted data.",
        ReadCrawlCall,
        AgentTools.read_crawl,
    ),
    "sub_task": AgentTool(
        "Gives a part of this task to another agent, with a goal and bounds of its own, and waits for its answer. It "
        "sees nothing of this task, and spends what this task may spend. Its answer is data.",
        SubTaskCall,
        AgentTools.sub_task,
    ),
    "propose_adr": AgentTool(
        "Proposes a new decision record. Nothing is written: a person reads the proposal, and accepts or dismisses it.",
        ProposedAdr,
        AgentTools.propose,
        proposes=True,
    ),
    "propose_link": AgentTool(
        "Proposes a link from one decision record to another. Nothing is written until a person accepts it.",
        ProposedLink,
        AgentTools.propose,
        proposes=True,
    ),
    "propose_tag": AgentTool(
        "Proposes a tag for a decision record. Nothing is written until a person accepts it.",
        ProposedTag,
        AgentTools.propose,
        proposes=True,
    ),
}
"""The tools by name, in the order that a model is shown."""
READS: Final[tuple[ToolName, ...]] = tuple(
    name for name in get_args(ToolName) if not TOOLS[name].proposes and name not in ASKED_FOR_ALONE
)
"""What a task may use that names no tools."""


def proposes(name: str) -> bool:
    """Whether a tool of this name writes proposals."""
    tool = TOOLS.get(name)
    return tool is not None and tool.proposes


def offer(allowed: Collection[str]) -> tuple[Tool, ...]:
    """The tools of a task as a model is offered them."""
    return tuple(
        Tool(name, tool.description, msgspec.json.encode(describe_arguments(tool.takes)).decode())
        for name, tool in TOOLS.items()
        if name in allowed
    )


def _read_arguments(tool: AgentTool, arguments: str) -> Any:
    if len(arguments.encode()) > ARGUMENTS_BYTES_MAX:
        raise InvalidInput(f"the arguments have more than {ARGUMENTS_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(arguments or "{}", type=tool.takes)
    except msgspec.DecodeError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(tool.takes))
        raise InvalidInput(f"the arguments do not fit: {error}", hint=f"it takes {known}") from None
