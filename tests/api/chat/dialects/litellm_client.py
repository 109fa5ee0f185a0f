"""What LiteLLM gets as a client of ours: run by the interpreter of its own environment, with nothing of ours.

    .bench/litellm/bin/python -I tests/api/chat/dialects/litellm_client.py URL TOKEN PICTURE

Prints one object: what came of each request, by the protocol that LiteLLM speaks and the dialect of the provider.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
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
        """Everything that is asked of one provider; in the place of an answer, what went wrong."""
        # A model that LiteLLM does not know gets a form as a tool, where it speaks Anthropic's protocol.
        former = f"{dialect}-whole" if self._protocol == "openai" else f"{dialect}-tools"
        shown = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        ]
        asked: dict[str, Callable[[], Any]] = {
            "whole": lambda: text_of(self.ask(f"{dialect}-whole")),
            "streamed": lambda: text_of(self.read(f"{dialect}-whole")),
            "usage": lambda: self.ask(f"{dialect}-whole").usage.total_tokens,
            "tool": lambda: call_of(self.ask(f"{dialect}-tools", tools=TOOLS)),
            "tool_streamed": lambda: call_of(self.read(f"{dialect}-tools", tools=TOOLS)),
            "after_tool": lambda: self.go_on(dialect),
            "form": lambda: json.loads(text_of(self.ask(former, response_format=FORM))),
            "form_streamed": lambda: json.loads(text_of(self.read(former, response_format=FORM))),
            "reasoning": lambda: self.ask(f"{dialect}-think").choices[0].message.reasoning_content,
            "reasoning_streamed": lambda: self.read(f"{dialect}-think").choices[0].message.reasoning_content,
            "picture": lambda: text_of(self.ask(f"{dialect}-whole", [{"role": "user", "content": shown}])),
        }
        return {name: attempt(ask) for name, ask in asked.items()}

    def go_on(self, dialect: str) -> str:
        """A call, its result, and how the answer behind it ends."""
        called = self.ask(f"{dialect}-tools", tools=TOOLS).choices[0].message
        result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "Sunny."}
        turns = [*QUESTION, called.model_dump(), result]
        finish: str = self.ask(f"{dialect}-tools", turns, tools=TOOLS).choices[0].finish_reason
        return finish

    def fail(self) -> list[str]:
        """What it raises for a model that is none, and for a stranger."""
        raised = []
        for more in ({"model": "nobody"}, {"model": "openai-whole", "api_key": "x.y.z"}):
            try:
                self.ask(**more)
            except Exception as error:
                raised.append(type(error).__name__)
        return raised


def attempt(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]


def text_of(answer: Any) -> str:
    text: str = answer.choices[0].message.content or ""
    return text


def call_of(answer: Any) -> dict[str, Any]:
    call = answer.choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def main(url: str, token: str, picture: str) -> None:
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
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
