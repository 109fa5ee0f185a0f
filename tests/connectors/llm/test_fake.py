"""The fake provider: what it reads of a request, which script it takes, what it charges, and the bounds of its server.
What its answers look like to a client is in `test_faults.py` and, for the SDKs, here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx
import openai
import pytest

from connectors.llm.fake.bills import BILLS_MAX, INPUT_MICRO_USD, OUTPUT_MICRO_USD, Bills
from connectors.llm.fake.requests import ReceivedRequest, read_question, sample
from connectors.llm.fake.scripts import FakePace, Pause, Send, choose_script, describe, is_script, reply
from connectors.llm.fake.server import BODY_BYTES_MAX, HEAD_BYTES_MAX, FakeLlm, listen
from runtime.errors import InvalidInput, NotFound
from tests.patience import PATIENCE_S

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPENAI = "/v1/chat/completions"
QUESTION: dict[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}


def request(path: str, body: Any, **headers: str) -> ReceivedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ReceivedRequest(path, named, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
async def fake() -> AsyncIterator[FakeLlm]:
    async with listen(FakeLlm("whole", FakePace(chunks=4))) as running:
        yield running


# --- requests and scripts -------------------------------------------------------------------------------------------


def test_a_path_of_no_dialect_is_not_found() -> None:
    with pytest.raises(NotFound):
        read_question(request("/v1/completions", QUESTION))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OPENAI, b"{"),
        (OPENAI, []),
        (OPENAI, {**QUESTION, "stream": False}),
        (OPENAI, {**QUESTION, "messages": []}),
        (OPENAI, {"stream": True}),
        ("/v1/messages", QUESTION),  # it has no max_tokens
        ("/v1beta/models/m:streamGenerateContent", {"contents": []}),
    ],
)
def test_what_no_provider_would_take_is_refused(path: str, body: Any) -> None:
    with pytest.raises(InvalidInput):
        read_question(request(path, body))


def test_the_header_comes_before_the_model_and_the_model_before_the_default() -> None:
    named = request(OPENAI, QUESTION, x_fake_script="cut")
    assert choose_script(named, "fake-stall", "whole") == "cut"
    assert choose_script(request(OPENAI, QUESTION), "fake-stall", "whole") == "stall"
    assert choose_script(request(OPENAI, QUESTION), "fake-something", "drip") == "drip"
    assert choose_script(request(OPENAI, QUESTION), "stall", "drip") == "drip"
    with pytest.raises(InvalidInput):
        choose_script(request(OPENAI, QUESTION, x_fake_script="nothing"), "m", "whole")


def test_what_is_described_is_a_script() -> None:
    assert all(is_script(name) for name in describe() if "<" not in name)
    assert is_script("status-529")
    assert not is_script("status-200")


def test_the_pace_is_kept() -> None:
    _, found = reply(request(OPENAI, QUESTION), "whole", FakePace(0.5, 0.1, 3), NOW)
    pauses = [step.seconds for step in found.steps if isinstance(step, Pause)]
    assert pauses == [0.5, 0.1, 0.1]


def test_a_bound_that_was_asked_for_ends_an_answer() -> None:
    _, found = reply(request(OPENAI, {**QUESTION, "max_tokens": 2}), "whole", FakePace(chunks=5), NOW)
    sent = [step for step in found.steps if isinstance(step, Send)]
    assert sum(step.tokens for step in sent) == 2
    assert b'"finish_reason":"length"' in b"".join(step.data for step in sent)


def test_steps_are_made_as_they_are_played() -> None:
    _, found = reply(request(OPENAI, QUESTION), "endless", FakePace(), NOW)
    steps = iter(found.steps)
    assert sum(step.tokens for step in (next(steps) for _ in range(2_000)) if isinstance(step, Send)) > 900


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, {}),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "fake"}),
        ({"properties": {"n": {"type": "integer"}, "y": {"type": "boolean"}}}, {"n": 1, "y": True}),
        ({"type": "array"}, []),
        ({"type": "null"}, None),
        ({"enum": ["red", "green"]}, "red"),
    ],
)
def test_a_sample_fits_its_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


# --- bills ----------------------------------------------------------------------------------------------------------


def test_a_bill_is_closed_once() -> None:
    bills = Bills()
    bill = bills.open("openai", "m", "whole", 200, NOW)
    bill.input_tokens, bill.output_tokens = 10, 4
    bills.close(bill, "client-gone", NOW)
    bills.close(bill, "sent", NOW)
    assert (bill.outcome, bill.client_gone_at) == ("client-gone", NOW)
    assert bill.cost_micro_usd == bills.stats.cost_micro_usd == 10 * INPUT_MICRO_USD + 4 * OUTPUT_MICRO_USD
    assert (bills.stats.requests, bills.stats.open, bills.stats.client_gone) == (1, 0, 1)


def test_the_newest_bills_are_kept_and_the_sums_of_all() -> None:
    bills = Bills()
    for _ in range(BILLS_MAX + 5):
        bills.close(bills.open("openai", "m", "whole", 200, NOW), "sent", NOW)
    assert bills.since(0)[0].number == 5
    assert [bill.number for bill in bills.since(BILLS_MAX + 3)] == [BILLS_MAX + 3, BILLS_MAX + 4]
    assert (bills.stats.requests, bills.stats.scripts) == (BILLS_MAX + 5, {"whole": BILLS_MAX + 5})


# --- the server -----------------------------------------------------------------------------------------------------


async def test_requests_of_one_connection_are_answered_in_turn(fake: FakeLlm) -> None:
    async with httpx.AsyncClient(base_url=fake.url, limits=httpx.Limits(max_connections=1)) as client:
        for number in range(3):
            answer = await client.post(OPENAI, json=QUESTION)
            assert answer.content.endswith(b"data: [DONE]\n\n")
            assert (await client.get("/stats")).json()["requests"] == number + 1
        bills = (await client.get("/bills", params={"since": 1})).json()
        assert [bill["number"] for bill in bills] == [1, 2]
        assert {bill["outcome"] for bill in bills} == {"sent"}
        assert (await client.get("/nothing")).status_code == 404
        refused = await client.post(OPENAI, json={**QUESTION, "stream": False})
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
        assert (await client.post("/v1/nothing", json={})).status_code == 404
        unknown = await client.post(OPENAI, json=QUESTION, headers={"x-fake-script": "nothing"})
        assert "status-<code>" in unknown.json()["error"]["message"]


async def test_requests_that_come_at_once_are_answered_in_their_order(fake: FakeLlm) -> None:
    reader, writer = await connect(fake)
    body = json.dumps(QUESTION).encode()
    one = f"POST {OPENAI} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    writer.write(one + b"GET /stats HTTP/1.1\r\n\r\n" + one[:20])
    await reader.readuntil(b"0\r\n\r\n")
    assert b"200" in await reader.readline()
    writer.write(one[20:])
    await reader.readuntil(b"0\r\n\r\n")
    assert fake.bills.stats.requests == 2
    writer.close()


async def connect(fake: FakeLlm) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(fake.url.rpartition(":")[2]))


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nx: " + b"x" * HEAD_BYTES_MAX,
        f"POST / HTTP/1.1\r\ncontent-length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode(),
        b"POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    ids=["head", "body", "no-number", "chunked"],
)
async def test_a_request_has_a_bound(fake: FakeLlm, head: bytes) -> None:
    reader, writer = await connect(fake)
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_client_that_does_not_read_holds_up_the_writing() -> None:
    async with listen(FakeLlm("endless", FakePace())) as fake:
        reader, writer = await connect(fake)
        body = json.dumps(QUESTION).encode()
        writer.write(f"POST {OPENAI} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        for _ in range(round(PATIENCE_S / 0.1)):
            await asyncio.sleep(0.1)
            now = fake.bills.since(0)[0].output_tokens if fake.bills.since(0) else 0
            if now == before > 0:
                break
            before = now
        assert now == before, "what nobody reads is not written"
        writer.transport.abort()
        assert not reader.at_eof()


async def test_the_sdks_read_calls_and_forms(fake: FakeLlm) -> None:
    schema = {
        "type": "object",
        "properties": {"words": {"type": "string"}},
        "required": ["words"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "words", "schema": schema, "strict": True}}
    async with openai.AsyncOpenAI(api_key="key", base_url=f"{fake.url}/v1", max_retries=0) as client:
        async with client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "Why?"}], response_format=form
        ) as stream:
            said = (await stream.get_final_completion()).choices[0].message.content
        assert json.loads(said or "") == {"words": "fake"}
    tools: Any = [{"name": "find", "description": "", "input_schema": schema}]
    async with (
        anthropic.AsyncAnthropic(api_key="key", base_url=fake.url, max_retries=0) as asking,
        asking.messages.stream(
            model="fake-tools", messages=[{"role": "user", "content": "Why?"}], max_tokens=9, tools=tools
        ) as events,
    ):
        message = await events.get_final_message()
    (block,) = message.content
    assert block.type == "tool_use"
    assert (block.name, block.input, message.stop_reason) == ("find", {"words": "fake"}, "tool_use")


@pytest.mark.parametrize(
    ("path", "last"),
    [
        (OPENAI, {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}),
        ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]}]}),
        (
            "/v1beta/models/m:streamGenerateContent",
            {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "find"}}]}]},
        ),
    ],
)
def test_behind_a_result_there_is_no_further_call(path: str, last: dict[str, Any]) -> None:
    asked = request(path, {**QUESTION, "max_tokens": 9, **last})
    question, found = reply(asked, "tools", FakePace(chunks=2), NOW)
    assert question.after_tool
    assert sum(step.tokens for step in found.steps if isinstance(step, Send)) == 2
