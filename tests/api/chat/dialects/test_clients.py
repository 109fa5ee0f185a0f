"""Clients as they come, against the server that runs and providers of two dialects: tools, forms, pictures, thoughts
and vectors, in streams and whole. The SDKs of OpenAI and Anthropic, LiteLLM, and the AI SDK with its own provider."""

from __future__ import annotations

import asyncio
import json
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from connectors.llm.fake.server import listen
from runtime.settings import Settings
from tests.api.chat.dialects import litellm_client
from tests.api.chat.dialects.test_ai_sdk import PACKAGE
from tests.api.chat.test_tools import HeardFake
from tests.api.test_server import client, serving
from tests.api.world import running
from tests.npm import INSTALL_S_MAX, install, needs_npm
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

QUESTION: Any = [{"role": "user", "content": "Why no dual write?"}]
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PICTURE = b64encode(b"\x89PNG\r\n\x1a\n").decode()
SCRIPTS = ("whole", "tools", "think")
LITELLM = Path(__file__).resolve().parents[4] / ".bench" / "litellm" / "bin" / "python"


class Town(BaseModel):
    """The form of an answer."""

    city: str


@asynccontextmanager
async def gateway(settings: Settings, folder: Path) -> AsyncIterator[tuple[HeardFake, str, str]]:
    """The provider, the server's address, and a token. Each script is a model `openai-…` and a model `anthropic-…`."""
    async with running(settings) as world:
        tenant = await world.tenant()
    async with listen(HeardFake("whole")) as fake:
        assert isinstance(fake, HeardFake)
        bases = {"openai": f"{fake.url}/v1", "anthropic": fake.url}
        models = [
            {
                "name": f"{dialect}-{script}",
                "targets": [{"provider": dialect, "model": f"fake-{script}", "base_url": base, "key": "k"}],
            }
            for dialect, base in bases.items()
            for script in SCRIPTS
        ]
        variables = {
            "ADRIATIC_LLM__MODELS": json.dumps(models),
            "ADRIATIC_LLM__KEYS": json.dumps({"k": "key"}),
            "ADRIATIC_LIMITS__NEW_USER_REQUESTS": "0",
        }
        with serving(settings, folder, **variables) as server:
            async with client(server, settings, tenant) as caller:
                yield fake, server.url, caller.token
            assert server.stop() == 0
            assert not [line for line in server.lines() if line["message"] == "unexpected exception"]


async def test_openais_sdk_with_pictures_thoughts_and_forms(fresh_database: Settings, tmp_path: Path) -> None:
    async with (
        gateway(fresh_database, tmp_path) as (fake, url, token),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0) as sdk,
    ):
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS, "strict": True}}]
        for dialect in ("openai", "anthropic"):
            called = await sdk.chat.completions.create(model=f"{dialect}-tools", messages=QUESTION, tools=tools)
            assert called.choices[0].finish_reason == "tool_calls"
            assert called.choices[0].message.tool_calls
            (call,) = called.choices[0].message.tool_calls
            assert (call.type, call.to_dict()["function"]) == (
                "function",
                {"name": "weather", "arguments": '{"city":"fake"}'},
            )
            result: Any = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
            turns: Any = [*QUESTION, called.choices[0].message.to_dict(), result]
            after = await sdk.chat.completions.create(model=f"{dialect}-tools", messages=turns, tools=tools)
            assert after.choices[0].finish_reason == "stop"

            async with sdk.chat.completions.stream(
                model=f"{dialect}-whole", messages=QUESTION, response_format=Town
            ) as stream:
                parsed = await stream.get_final_completion()
            assert parsed.choices[0].message.parsed == Town(city="fake")

            look: Any = [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
            ]
            seen = await sdk.chat.completions.create(
                model=f"{dialect}-whole", messages=[{"role": "user", "content": look}]
            )
            assert seen.choices[0].message.content
            assert PICTURE in json.dumps(fake.bodies[-1])

            thought = await sdk.chat.completions.create(model=f"{dialect}-think", messages=QUESTION)
            assert thought.choices[0].message.to_dict()["reasoning_content"] == "Somebody asks. What do I say?"
            pieces = [
                chunk.choices[0].delta.to_dict().get("reasoning_content") or ""
                async for chunk in await sdk.chat.completions.create(
                    model=f"{dialect}-think", messages=QUESTION, stream=True
                )
            ]
            assert "".join(map(str, pieces)) == "Somebody asks. What do I say?"

            response = await sdk.responses.create(model=f"{dialect}-think", input="Why?")
            assert [item.type for item in response.output] == ["reasoning", "message"]
            form = await sdk.responses.parse(model=f"{dialect}-whole", input="Where?", text_format=Town)
            assert form.output_parsed == Town(city="fake")


async def test_anthropics_sdk_with_pictures_thoughts_and_forms(fresh_database: Settings, tmp_path: Path) -> None:
    async with (
        gateway(fresh_database, tmp_path) as (fake, url, token),
        anthropic.AsyncAnthropic(base_url=url, api_key=token, max_retries=0) as sdk,
    ):
        tools: Any = [{"name": "weather", "input_schema": PARAMETERS}]
        for dialect in ("openai", "anthropic"):
            called = await sdk.messages.create(model=f"{dialect}-tools", max_tokens=99, messages=QUESTION, tools=tools)
            (call,) = called.content
            assert (call.type, called.stop_reason) == ("tool_use", "tool_use")
            assert call.type == "tool_use"
            assert call.input == {"city": "fake"}

            picture: Any = {"type": "base64", "media_type": "image/png", "data": PICTURE}
            look: Any = [{"type": "image", "source": picture}, {"type": "text", "text": "What is it?"}]
            asked: Any = [{"role": "user", "content": look}]
            await sdk.messages.create(model=f"{dialect}-whole", max_tokens=99, messages=asked)
            assert PICTURE in json.dumps(fake.bodies[-1])

            async with sdk.messages.stream(model=f"{dialect}-think", max_tokens=2_000, messages=QUESTION) as stream:
                final = await stream.get_final_message()
            assert [block.type for block in final.content] == ["thinking", "text"]
            async with sdk.messages.stream(
                model=f"{dialect}-whole", max_tokens=99, messages=QUESTION, output_format=Town
            ) as formed:
                whole = await formed.get_final_message()
            assert whole.parsed_output == Town(city="fake")
        # A thought that was signed goes back to the model in the next turn.
        turns: Any = [*QUESTION, {"role": "assistant", "content": final.content}, *QUESTION]
        await sdk.messages.create(model="anthropic-think", max_tokens=2_000, messages=turns)
        (back,) = (part for part in fake.bodies[-1]["messages"][1]["content"] if part["type"] == "thinking")
        assert (back["thinking"], bool(back["signature"])) == ("Somebody asks. What do I say?", True)


@pytest.mark.skipif(not LITELLM.exists(), reason="LiteLLM is not here: `make bench-chat` installs it into .bench")
async def test_litellm_as_a_client(fresh_database: Settings, tmp_path: Path) -> None:
    async with gateway(fresh_database, tmp_path) as (fake, url, token):
        command = [str(LITELLM), "-I", litellm_client.__file__, url, token, PICTURE]
        told = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=2 * PATIENCE_S, env=litellm_client.OFFLINE
        )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout.splitlines()[-1])
    print(json.dumps(found, indent=1))
    for way in ("openai-openai", "openai-anthropic", "anthropic-openai", "anthropic-anthropic"):
        seen = found[way]
        assert seen["whole"] == seen["streamed"] != ""
        assert seen["usage"] > 0
        assert seen["tool"] == seen["tool_streamed"] == {"name": "weather", "arguments": {"city": "fake"}}
        assert seen["after_tool"] == "stop"
        assert seen["form"] == seen["form_streamed"] == {"city": "fake"}
        assert seen["reasoning"] == seen["reasoning_streamed"] == "Somebody asks. What do I say?"
        assert seen["picture"]
    assert sum(PICTURE in json.dumps(body) for body in fake.bodies) == 4
    assert found["errors"] == {
        "openai": ["NotFoundError", "AuthenticationError"],
        "anthropic": ["NotFoundError", "AuthenticationError"],
    }
    assert found["embedding"] == [384, 384]


@needs_npm
async def test_the_ai_sdk_with_its_own_provider(
    fresh_database: Settings, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = await asyncio.to_thread(install, PACKAGE, tmp_path_factory.mktemp("ai-sdk"))
    async with gateway(fresh_database, tmp_path) as (fake, url, token):
        told = await asyncio.to_thread(
            subprocess.run,
            ["node", str(folder / "ask.js"), url, token, PICTURE],
            capture_output=True,
            text=True,
            timeout=INSTALL_S_MAX,
        )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    for dialect in ("openai", "anthropic"):
        seen = found[dialect]
        assert seen["tool"] == {"city": "fake"}, "the AI SDK ran the tool, and gave its result back"
        assert seen["steps"] == 2
        assert seen["form"] == seen["form_streamed"] == {"city": "fake"}
        assert seen["reasoning"] == "Somebody asks. What do I say?"
        assert seen["picture"]
    assert found["embedding"] == 384
    assert sum(PICTURE in json.dumps(body) for body in fake.bodies) == 2
