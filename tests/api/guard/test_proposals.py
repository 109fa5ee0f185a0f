"""Records that a change proposes: what is one, what it repeats or contradicts, and whose number it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.guard.change import read_change
from api.guard.proposals import PROPOSALS_MAX, compare_decisions, find_proposals, read_decision
from tests.api.search.corpus import Corpus
from tests.api.world import Caller, World

RECORD = "---\nstatus: proposed\n---\n\n# Use RabbitMQ for events\n\n## Decision\n\nQueues are known to us.\n"


def new_file(path: str, text: str) -> str:
    lines = text.splitlines()
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


def proposed(text: str, path: str | None = None) -> list[tuple[str, int | None]]:
    return [(each.parsed.title, each.parsed.number) for each in find_proposals(read_change(text, path))]


def test_what_is_a_proposal() -> None:
    assert proposed(RECORD) == [("Use RabbitMQ for events", None)]
    assert proposed(RECORD, "docs/adr/0012-use-rabbitmq.md") == [("Use RabbitMQ for events", 12)]
    assert proposed(new_file("docs/adr/0012-use-rabbitmq.md", RECORD)) == [("Use RabbitMQ for events", 12)]
    accepted = RECORD.replace("proposed", "accepted")
    assert proposed(new_file("docs/adr/0012-use-rabbitmq.md", accepted)) == [("Use RabbitMQ for events", 12)]
    assert proposed(accepted) == [], "it stands by itself, wherever it is"
    assert proposed("# Notes\n\nWe use RabbitMQ.\n") == []
    assert proposed(new_file("docs/notes.md", RECORD)) == []
    edited = new_file("docs/adr/0012-use-rabbitmq.md", RECORD).replace("+1,", "+9,").replace("-0,0", "-8,0")
    assert proposed(edited) == [], "it was there before"
    many = "".join(new_file(f"adr/{number:04}-x.md", RECORD) for number in range(1, PROPOSALS_MAX + 5))
    assert len(proposed(many)) == PROPOSALS_MAX


@given(st.text(max_size=1_000), st.text(alphabet="# \nUsefor:-XY", max_size=1_000))
def test_any_text_is_compared(one: str, other: str) -> None:
    find_proposals(read_change(one, "docs/adr/0001-x.md"))
    compare_decisions(read_decision(one[:80], other), read_decision(other[:80], one))
    texts = read_decision("", other).texts
    assert all(other[text.start : text.start + len(text.body)] == text.body for text in texts)


@pytest.fixture
async def decided(private: World, corpus: Corpus) -> Caller:
    caller = await private.tenant()
    corpus.log(caller.tenant_id, "main")
    text = "# Use Kafka for events\n\n## Decision\n\nEvents are kept for a week.\n"
    corpus.adr(caller.tenant_id, "Use Kafka for events", text, number=4, log="main")
    corpus.adr(caller.tenant_id, "Render invoices as PDF", "# Render invoices as PDF\n", number=5, log="main")
    return caller


async def vet(caller: Caller, change: str, **more: Any) -> list[tuple[str, str, str]]:
    answer = await caller.post("/v1/decisions/check", {"change": change, "limit": 0, **more})
    assert answer.status_code == 200, answer.text
    (proposal,) = answer.json()["proposals"]
    return [(each["kind"], each["likelihood"], each["decision"]["label"]) for each in proposal["findings"]]


@pytest.mark.stack
async def test_a_proposal_is_told_what_it_contradicts_and_repeats(decided: Caller) -> None:
    assert await vet(decided, RECORD) == [("conflicts", "likely", "ADR-4")]
    leaves = RECORD.replace("Queues are known to us.", "We use it instead of Kafka for events.")
    assert await vet(decided, leaves) == [("supersedes", "likely", "ADR-4")]
    again = RECORD.replace("Use RabbitMQ", "Adopt Kafka")
    assert await vet(decided, again) == [("duplicate", "likely", "ADR-4")]
    assert await vet(decided, RECORD.replace("for events", "for mails")) == []


@pytest.mark.stack
async def test_what_a_proposal_says_itself_is_not_told(decided: Caller) -> None:
    links = RECORD.replace("status: proposed\n", "status: proposed\nsupersedes: ADR-4\n")
    assert await vet(decided, links) == []


@pytest.mark.stack
async def test_a_number_that_is_taken_is_told_where_the_log_is_known(decided: Caller, corpus: Corpus) -> None:
    mails = new_file("docs/adr/0004-mails.md", RECORD.replace("for events", "for mails"))
    assert await vet(decided, mails) == [("number-taken", "certain", "ADR-4")]
    assert await vet(decided, mails.replace("0004", "0006")) == []
    same = new_file("docs/adr/0004-use-kafka.md", RECORD.replace("Use RabbitMQ", "Use Kafka"))
    assert await vet(decided, same) == [], "it is the record that is there"
    corpus.log(decided.tenant_id, "other")
    assert await vet(decided, mails) == [], "nobody knows in which log it is to be"
    assert await vet(decided, mails, log="main") == [("number-taken", "certain", "ADR-4")]
    assert await vet(decided, mails, log="other") == []


@pytest.mark.stack
async def test_no_record_of_another_tenant_is_told(decided: Caller, private: World, corpus: Corpus) -> None:
    other = await private.tenant()
    corpus.log(other.tenant_id, "main")
    assert await vet(other, new_file("docs/adr/0004-use-rabbitmq.md", RECORD)) == []
