"""OpenAI's Chat Completions API, and every endpoint that speaks it: vLLM, Ollama, LiteLLM.

Owns the request and the decoding of its chunks; time-outs and the end are in `remote`. OpenAI counts cached tokens
inside of `prompt_tokens`, and reasoning inside of `completion_tokens`; it says usage in the last chunk only, so an
answer that was cut short has none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec
import openai

from connectors.http_errors import REASON_CHARS_MAX
from connectors.llm import Delta, Done, Event, Failed, Finish, Prompt, Started, Tokens, TokenUsage, remote
from connectors.llm.sse import ServerEvent
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import DependencyUnavailable
from runtime.settings import LlmSettings

BASE_URL = "https://api.openai.com/v1"
_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "refused"}


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _CompletionUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _ChoiceDelta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _ChoiceDelta | None = None
    finish_reason: str | None = None


class _ErrorMessage(msgspec.Struct):
    message: str | None = None


class _Chunk(msgspec.Struct):
    model: str = ""
    choices: list[_Choice] = []
    usage: _CompletionUsage | None = None
    error: _ErrorMessage | None = None


_DECODER = msgspec.json.Decoder(_Chunk)


class OpenAIDecoder:
    """See `remote.AnswerDecoder`."""

    def __init__(self) -> None:
        self._started = False
        self._finish: Finish = "other"

    def decode(self, event: ServerEvent) -> Sequence[Event]:
        if event.data == b"[DONE]":
            return [Done(self._finish)]
        chunk = _DECODER.decode(event.data)
        if chunk.error:
            reason = (chunk.error.message or "no reason given")[:REASON_CHARS_MAX]
            return [Failed(DependencyUnavailable(f"openai cannot answer now: {reason}", hint="try again"))]
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Started(chunk.model))
        for choice in chunk.choices[:1]:  # one answer was asked for
            if choice.finish_reason and self._finish != "refused":
                self._finish = _FINISH.get(choice.finish_reason, "other")
            if choice.delta and choice.delta.refusal:
                self._finish = "refused"
            if text := choice.delta and (choice.delta.content or choice.delta.refusal):
                events.append(Delta(text))
        if chunk.usage:
            events.append(TokenUsage(tokens_of(chunk.usage), complete=True))
        return events


def tokens_of(usage: _CompletionUsage) -> Tokens:
    """Parts that are larger than their sum, which some servers send, are bounded by it."""
    details, more = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = min(usage.prompt_tokens, (details and details.cached_tokens) or 0)
    reasoning = min(usage.completion_tokens, (more and more.reasoning_tokens) or 0)
    return Tokens(
        input_uncached=usage.prompt_tokens - cached,
        cache_read=cached,
        output_visible=usage.completion_tokens - reasoning,
        reasoning=reasoning,
    )


class OpenAIProvider(remote.RemoteProvider[openai.AsyncOpenAI]):
    """See `Provider`."""

    name = "openai"

    def __init__(self, settings: LlmSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        client = openai.AsyncOpenAI(
            # The SDK refuses an empty key, servers without keys ignore it.
            api_key=settings.api_key.get_secret_value() or "none",
            base_url=settings.base_url or BASE_URL,
            max_retries=0,
            timeout=openai.Timeout(settings.total_s, connect=settings.connect_s),
        )
        super().__init__(client, openai.APIStatusError, settings, clock)

    def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        opening = self._client.chat.completions.with_streaming_response.create(
            model=self._settings.model,
            max_completion_tokens=prompt.output_tokens_max,
            messages=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            stream=True,
            stream_options={"include_usage": True},
        )
        return self._answer(opening, OpenAIDecoder())
