"""What LiteLLM gets as a client of ours: run by the interpreter of its own environment, with nothing of ours.

    .bench/litellm/bin/python -I tests/api/chat/dialects/litellm_client.py URL TOKEN PICTURE

Prints one object: what came of each request, by the protocol that LiteLLM speaks and the dialect of the provider.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOG": "ERROR",
    "PATH": "/usr/bin:/bin",
}
"""It asks nobody but us."""
QUESTION = [{"role": "user", "content": "Why no dual write?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}}]
FORM = {"type": "json_schema", "json_schema": {"name": "town", "schema": SCHEMA, "strict": True}}


class LiteLlmAsker:
    """One protocol to the server."""

    def __init__(self, litellm: Any, protocol: str, url: str, token: str) -> None:
        self._litellm = litellm
        self._protocol = protocol
        base = f"{url}/v1" if protocol == "openai" else url
        self._where = {"api_base": base, "api_key": token, "num_retries": 0, "max_tokens": 2_000}

    def ask(self, model: str, messages: Any = QUESTION, **more: Any) -> Any:
        return self._litellm.completion(model=f"{self._protocol}/{model}", messages=messages, **{**self._where, **more})

    def read(self, model: str, messages: Any = QUESTION, **more: Any) -> Any:
        """A stream, as LiteLLM puts it together."""
        chunks = [*self.ask(model, messages, stream=True, **more)]
        return self._litellm.stream_chunk_builder(chunks, messages=messages)

    def look(self, dialect: str, picture: str) -> dict[str, Any]:
        """Everything that is asked of one provider."""
        whole, streamed = self.ask(f"{dialect}-whole"), self.read(f"{dialect}-whole")
        called = self.ask(f"{dialect}-tools", tools=TOOLS)
        call = called.choices[0].message.tool_calls[0]
        turns = [
            *QUESTION,
            called.choices[0].message.model_dump(),
            {"role": "tool", "tool_call_id": call.id, "content": "Sunny."},
        ]
        thought, thought_streamed = self.ask(f"{dialect}-think"), self.read(f"{dialect}-think")
        shown = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        ]
        return {
            "whole": text_of(whole),
            "streamed": text_of(streamed),
            "usage": whole.usage.total_tokens,
            "tool": call_of(called),
            "tool_streamed": call_of(self.read(f"{dialect}-tools", tools=TOOLS)),
            "after_tool": self.ask(f"{dialect}-tools", turns, tools=TOOLS).choices[0].finish_reason,
            "form": json.loads(text_of(self.ask(f"{dialect}-whole", response_format=FORM))),
            "form_streamed": json.loads(text_of(self.read(f"{dialect}-whole", response_format=FORM))),
            "reasoning": thought.choices[0].message.reasoning_content,
            "reasoning_streamed": thought_streamed.choices[0].message.reasoning_content,
            "picture": text_of(self.ask(f"{dialect}-whole", [{"role": "user", "content": shown}])),
        }

    def fail(self) -> list[str]:
        """What it raises for a model that is none, and for a stranger."""
        raised = []
        for more in ({"model": "nobody"}, {"model": "openai-whole", "api_key": "x.y.z"}):
            try:
                self.ask(**more)
            except Exception as error:
                raised.append(type(error).__name__)
        return raised


def text_of(answer: Any) -> str:
    text: str = answer.choices[0].message.content or ""
    return text


def call_of(answer: Any) -> dict[str, Any]:
    call = answer.choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def main(url: str, token: str, picture: str) -> None:
    litellm = importlib.import_module("litellm")
    began_s = time.monotonic()
    found: dict[str, Any] = {"errors": {}}
    for protocol in ("openai", "anthropic"):
        asker = LiteLlmAsker(litellm, protocol, url, token)
        for dialect in ("openai", "anthropic"):
            found[f"{protocol}-{dialect}"] = asker.look(dialect, picture)
        found["errors"][protocol] = asker.fail()
    vectors = litellm.embedding(model="openai/adriatic", input=["a", "b"], api_base=f"{url}/v1", api_key=token)
    found["embedding"] = [len(each["embedding"]) for each in vectors.data]
    found["took_s"] = round(time.monotonic() - began_s, 1)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
