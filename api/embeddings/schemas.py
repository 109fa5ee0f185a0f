"""What `/v1/embeddings` takes and gives, in OpenAI's words. Pure.

Owns the bounds of a request, which texts it has, and the two forms of a vector. Refuses blank texts, which have no
meaning to compare, and texts that were cut into tokens by the client: the numbers mean something in the vocabulary of
one model, and nothing in that of another. Tokens are decoded all the same, so that whoever sends them is told what to
do; `api/shapes.py` leaves them out of the document, and has there what a text is.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from api.chat.dialects.conversations import ModelName
from connectors.embedders import Vector
from runtime.errors import InvalidInput, TooLarge
from schemas import text

TEXTS_MAX: Final = 256
"""Texts of one request. The model in the process embeds some twenty pages a second on one core."""
TEXTS_BYTES_MAX: Final = 524_288
"""Bytes of all texts of one request, in UTF-8: some 130 000 tokens."""
BODY_BYTES_MAX: Final = 1_048_576
"""Largest body: JSON writes some characters longer than they are."""
DIMENSIONS_MAX: Final = 16_000

Input = str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
_TEXT: Final = re.compile(text.BODY)
"""Not an annotation: msgspec 0.22 frees a pattern twice that stands in a union with a list."""


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Texts to make vectors of, in OpenAI's words. Fields that are not known are read over."""

    model: ModelName
    input: Annotated[
        Input,
        Meta(description=f"A text, or up to {TEXTS_MAX} of them, {TEXTS_BYTES_MAX} bytes in all. Tokens are refused."),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"],
        Meta(description="Numbers, or the bytes of 32-bit floats, the lowest byte first, in base64."),
    ] = "float"
    dimensions: (
        Annotated[
            int, Meta(ge=1, le=DIMENSIONS_MAX, description="Length of a vector, for models that can shorten theirs.")
        ]
        | None
    ) = None


class EmbeddingItem(msgspec.Struct, frozen=True):
    """The vector of the text at `index`. Its length is 1, so that a dot product is a cosine."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Tokens that the model read; an estimate by the bytes where nobody counted."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True):
    """The vectors, in the order of the texts."""

    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


def read_texts(request: EmbeddingRequest) -> list[str]:
    """The texts. Raises `InvalidInput` for what is none, and `TooLarge`."""
    given = [request.input] if isinstance(request.input, str) else request.input
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) < len(given):
        raise InvalidInput(
            "tokens are not taken: their numbers mean something else to each model",
            hint="send input as a text or a list of texts (LangChain: check_embedding_ctx_length=False)",
        )
    if len(texts) > TEXTS_MAX:
        raise TooLarge(f"{len(texts)} texts are more than {TEXTS_MAX}", hint="send them in several requests")
    if (size := sum(len(each.encode()) for each in texts)) > TEXTS_BYTES_MAX:
        raise TooLarge(f"the texts have {size} bytes, and at most {TEXTS_BYTES_MAX} are taken", hint="send fewer")
    if (blank := next((index for index, each in enumerate(texts) if not _TEXT.match(each)), None)) is not None:
        raise InvalidInput(f"the text at {blank} is blank: it has no meaning to compare", hint="leave it out")
    return texts


def shorten(vectors: Sequence[Vector], dimensions: int | None) -> Sequence[Vector]:
    """The first so many numbers of each, of length 1 again: what models that were made for it can bear."""
    if dimensions is None or not vectors or dimensions == len(vectors[0]):
        return vectors
    cut = [vector[:dimensions] for vector in vectors]
    return [vector / max(np.float32(np.linalg.norm(vector)), np.finfo(np.float32).tiny) for vector in cut]


def shape(request: EmbeddingRequest, vectors: Sequence[Vector], tokens: int) -> EmbeddingList:
    """The answer."""
    items = [
        EmbeddingItem(index, _encode(vector) if request.encoding_format == "base64" else vector.tolist())
        for index, vector in enumerate(shorten(vectors, request.dimensions))
    ]
    return EmbeddingList(items, request.model, EmbeddingUsage(tokens, tokens))


def _encode(vector: Vector) -> str:
    return b64encode(vector.astype("<f4").tobytes()).decode()
