"""The route `/v1/embeddings`, as every client of OpenAI's API asks for it.

Owns its documentation and the way from a request to its vectors: limits, budgets and books are those of every question
(`api/chat/supervisor.py`). Errors are told in OpenAI's words.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Request, Response
from litestar.di import NamedDependency

from api.auth.roles import NEEDS_CHAT
from api.chat import limits
from api.chat.dialects import failures
from api.chat.responding import make_attempt
from api.chat.supervisor import AnswerSupervisor
from api.embeddings.schemas import BODY_BYTES_MAX, EmbeddingList, EmbeddingRequest, read_texts, shape
from api.embeddings.service import EmbeddingService
from api.routes import By, body, post

_EXAMPLE = {
    "data": [{"index": 0, "embedding": [0.0513, -0.0128], "object": "embedding"}],
    "model": "adriatic",
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
    "object": "list",
}


class EmbeddingController(Controller):
    """Vectors for clients of OpenAI's API."""

    path = "/v1/embeddings"
    tags = ("dialects",)
    opt = NEEDS_CHAT
    exception_handlers = failures.handlers(failures.to_openai)
    request_max_body_size = BODY_BYTES_MAX

    @post(
        "/",
        "Make vectors of texts, in OpenAI's protocol",
        _EXAMPLE,
        "The vectors, in the order of the texts.",
        errors=(404, 413, 415, 429),
        describe=failures.describe(failures.to_openai),
    )
    async def create_embeddings(
        self,
        request: Request[Any, Any, Any],
        embeddings: NamedDependency[EmbeddingService],
        supervisor: NamedDependency[AnswerSupervisor],
        principal: By,
        data: Annotated[EmbeddingRequest, body("Texts", {"model": "adriatic", "input": ["Why no dual write?"]})],
    ) -> Response[EmbeddingList]:
        """The model `adriatic` is the one that the search uses; others are those of `embedder.models`.

        A request counts against the limits like a question, and its tokens like those of a question. What the model in
        the process reads costs nothing.
        """
        model = embeddings.find(data.model, data.dimensions)
        texts = read_texts(data)
        size = sum(len(text.encode()) for text in texts)
        made, meter, standings = await supervisor.calls.ask(
            make_attempt(request, principal, None),
            model.kind,
            model.model,
            size,
            lambda: embeddings.embed(model, texts),
        )
        told = shape(data, made.vectors, meter.measure().tokens.total)
        return Response(told, headers=limits.tell(standings))
