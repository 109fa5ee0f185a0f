"""The routes of other clients' protocols: `/v1/models`, `/v1/chat/completions`,
`/v1/responses`, `/v1/messages`.

Owns their documentation, and which dialect an error is told in. Each route makes a prompt of what it was sent, has it
asked, and hands the answer to an encoder; the tenant, the slots and the books are those of every other question.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any

from litestar import Controller, Request, Response
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter, QueryParameter

from api.auth.middleware import API_KEY
from api.auth.roles import NEEDS_CHAT
from api.chat import models
from api.chat.asking import AskedFor, Asker, CacheControl
from api.chat.dialects import (
    anthropic_messages,
    anthropic_requests,
    examples,
    failures,
    openai_chat,
    openai_requests,
    openai_responses,
    responses_requests,
)
from api.chat.dialects.catalog import ModelCard, ModelCards, describe_model
from api.chat.dialects.conversations import CONVERSATION_BYTES_MAX
from api.chat.responding import collect, stream
from api.routes import body, get, post
from runtime.settings import Settings

ASKER = {"asker": Provide(Asker, sync_to_thread=False)}
ERRORS = (404, 413, 415, 429)


class ModelController(Controller):
    """The models that this server answers with, for clients of OpenAI and of Anthropic alike."""

    path = "/v1/models"
    tags = ("dialects",)
    opt = NEEDS_CHAT
    exception_handlers = failures.handlers(failures.to_openai)

    @get(
        "/",
        "List the models",
        examples.MODELS,
        "The models that answer, the best first, and then those that make vectors.",
        describe=failures.describe(failures.to_openai),
        opt=API_KEY,
    )
    async def list_models(self, settings: NamedDependency[Settings]) -> ModelCards:
        """`adriatic` answers from the tenant's own sources; the configured model, where there is one, gets a
        conversation as it stands. Models of `/v1/embeddings` are in the list too: `uses` tells them apart. One list has
        the fields of both protocols."""
        cards = [describe_model(name, uses) for name, uses in models.list_served(settings).items()]
        return ModelCards(cards, cards[0].id, cards[-1].id)

    @get(
        "/{model:path}",
        "Look at a model",
        examples.MODEL,
        "The model.",
        errors=(404,),
        describe=failures.describe(failures.to_openai),
        opt=API_KEY,
    )
    async def get_model(
        self,
        settings: NamedDependency[Settings],
        model: Annotated[str, PathParameter(description="The model's name. It may have slashes.")],
    ) -> ModelCard:
        """One model, as the list has it."""
        name = model.removeprefix("/")
        return describe_model(name, models.find_uses(settings, name))


class CompletionController(Controller):
    """Chat Completions, as every client of OpenAI's API asks for them."""

    path = "/v1/chat/completions"
    tags = ("dialects",)
    opt = NEEDS_CHAT
    dependencies = ASKER
    exception_handlers = failures.handlers(failures.to_openai)
    request_max_body_size = CONVERSATION_BYTES_MAX

    @post(
        "/",
        "Go on with a conversation, in OpenAI's protocol",
        examples.COMPLETION,
        "The completion; with `stream`, its chunks as server-sent events, and `[DONE]` after the last.",
        answer=openai_chat.ChatCompletion,
        errors=ERRORS,
        describe=failures.describe(failures.to_openai),
        opt={"chunks": ((openai_chat.CompletionChunk, failures.OpenAIError), examples.COMPLETION_CHUNK)},
    )
    async def create_completion(
        self,
        request: Request[Any, Any, Any],
        asker: NamedDependency[Asker],
        data: Annotated[openai_requests.CompletionRequest, body("Conversation", examples.COMPLETION_REQUEST)],
        cache_control: CacheControl = None,
    ) -> Response[Any]:
        """The model `adriatic` searches for the last question in the tenant's sources; its answer stands on what was
        found. By its own name, the configured model gets the conversation as it stands.

        Until the first content an error is a response with its own status; afterwards it is the last chunk, and there
        is neither a reason to finish nor `[DONE]`. Closing the connection stops the answer.
        """
        prompt = openai_requests.make_prompt(data, asker.settings.output_tokens_max)
        answer = await asker.ask(data.model, prompt, AskedFor(cache_control))
        if data.stream:
            counts = bool(data.stream_options and data.stream_options.include_usage)
            encoder = openai_chat.CompletionEncoder(answer.answer_id, asker.asked_at_s, include_usage=counts)
            return await stream(request, answer, encoder.encode)
        shape = functools.partial(openai_chat.render, answer_id=answer.answer_id, created=asker.asked_at_s)
        return await collect(request, answer, shape)


class ResponseController(Controller):
    """Responses, as newer clients of OpenAI's API ask for them. `kept_responses` has those that are kept."""

    path = "/v1/responses"
    tags = ("dialects",)
    opt = NEEDS_CHAT
    dependencies = ASKER
    exception_handlers = failures.handlers(failures.to_openai)
    request_max_body_size = CONVERSATION_BYTES_MAX

    @post(
        "/",
        "Go on with a conversation, in OpenAI's newer protocol",
        examples.RESPONSE,
        "The response; with `stream`, its events as server-sent events, `response.completed` the last.",
        answer=openai_responses.ResponseObject,
        errors=ERRORS,
        describe=failures.describe(failures.to_openai),
        opt={"chunks": ((openai_responses.ResponseEvent,), examples.RESPONSE_EVENT)},
    )
    async def create_response(
        self,
        request: Request[Any, Any, Any],
        asker: NamedDependency[Asker],
        data: Annotated[responses_requests.ResponseRequest, body("Conversation", examples.RESPONSE_REQUEST)],
        cache_control: CacheControl = None,
    ) -> Response[Any]:
        """The conversation is sent whole each time: a response can be read again, and none can be gone on from.

        Models and errors are as in `createCompletion`; an error after the first content is the event `error`, and there
        is no `response.completed`. Closing the connection stops the answer, unless `background` is set.
        """
        settings = asker.settings
        prompt = responses_requests.make_prompt(data, settings.output_tokens_max)
        keeps = responses_requests.read_keeping(data, settings.kept_days)
        asked = AskedFor("no-store" if data.store is False else cache_control, keeps, bool(data.background))
        answer = await asker.ask(data.model, prompt, asked)
        if data.stream:
            encoder = openai_responses.ResponseEncoder(answer.answer_id, stores=keeps)
            return await stream(request, answer, encoder.encode)
        return await collect(
            request, answer, functools.partial(openai_responses.render, answer_id=answer.answer_id, stores=keeps)
        )


class MessageController(Controller):
    """Messages, as every client of Anthropic's API asks for them."""

    path = "/v1/messages"
    tags = ("dialects",)
    opt = NEEDS_CHAT
    dependencies = ASKER
    exception_handlers = failures.handlers(failures.to_anthropic)
    request_max_body_size = CONVERSATION_BYTES_MAX

    @post(
        "/",
        "Go on with a conversation, in Anthropic's protocol",
        examples.MESSAGE,
        "The message; with `stream`, its events as server-sent events, `message_stop` the last.",
        answer=anthropic_messages.AnthropicMessage,
        errors=ERRORS,
        describe=failures.describe(failures.to_anthropic),
        opt={**API_KEY, "chunks": ((anthropic_messages.MessageEvent, failures.AnthropicError), examples.MESSAGE_EVENT)},
    )
    async def create_message(
        self,
        request: Request[Any, Any, Any],
        asker: NamedDependency[Asker],
        data: Annotated[anthropic_requests.MessageRequest, body("Conversation", examples.MESSAGE_REQUEST)],
        beta: Annotated[bool | None, QueryParameter(description="Some clients say so. It changes nothing.")] = None,
        cache_control: CacheControl = None,
    ) -> Response[Any]:
        """A token is taken from `X-Api-Key` too, where these clients put it; `Authorization` counts if both are there.

        With the model `adriatic`, the last question is searched for in the tenant's sources, and the answer stands on
        what was found. By its own name, the configured model gets the conversation as it stands.

        Until the first content an error is a response with its own status; afterwards it is the event `error`, and
        there is no `message_stop`. Closing the connection stops the answer.
        """
        prompt = anthropic_requests.make_prompt(data, asker.settings.output_tokens_max)
        answer = await asker.ask(data.model, prompt, AskedFor(cache_control))
        if data.stream:
            return await stream(request, answer, anthropic_messages.MessageEncoder(answer.answer_id).encode)
        return await collect(request, answer, functools.partial(anthropic_messages.render, answer_id=answer.answer_id))
