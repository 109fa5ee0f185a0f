"""Embeddings from any endpoint that speaks OpenAI's API: OpenAI, vLLM, Ollama, LiteLLM, text-embeddings-inference.

Owns requests (count and size bounded), time-outs, the checks on what comes back, and whose fault a refusal is. The SDK
does connections and errors; its retries are off, because the caller tries again. A key that is kept elsewhere is read
while the process runs.

A refused batch is halved until the text that is refused stands alone; a text that the endpoint calls too long is halved
until it fits. Both depend on the endpoint's answers only, so the same text ends in the same request every time. An
endpoint that refuses even a plain word is a dependency outage: its refusals never turn texts into dead letters (law 7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
import openai

from connectors.embedders import Vector, refuse_blank
from connectors.embedders.spaces import space_of
from connectors.http_errors import REASON_CHARS_MAX, map_break, map_status
from connectors.secrets.blocking import BlockingCredential
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, DependencyUnavailable, Halted, Unprocessable
from runtime.settings import EmbedderSettings, SecretSettings

REQUEST_CHARS_MAX: Final = 200_000
"""Characters of all texts of a request. OpenAI takes 300 000 tokens; a token is mostly four characters."""

CONNECT_TIMEOUT_S: Final = 5.0
"""A TCP and TLS handshake is done within three round trips; a longer silence is an outage."""

RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024
"""64 texts of 3 072 dimensions are 4 MB as JSON; an answer beyond this is not an answer to us."""

TOKENS_MAX: Final = 1_000_000_000
"""More than any request can have: what says so is no count."""

TEXT_CHARS_MIN: Final = 32
"""An endpoint that calls even this too long is refusing something else."""

PLAIN_WORD: Final = "decision"
"""The text that any embedding endpoint takes: tells a refused text from an endpoint that refuses everything."""

UNSET_KEY: Final = "none"
"""The SDK refuses an empty key, servers without keys ignore it."""

WHO: Final = "the embedding endpoint"
_TOO_LONG: Final = re.compile(
    r"context.?length|too (?:long|large|many tokens)|maximum.{0,40}tokens|less than \d+ tokens|token limit",
    re.IGNORECASE,
)


class _Row(msgspec.Struct):
    index: int
    embedding: list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Row]
    usage: _Usage | None = None


class _Counted:
    """The tokens of the requests of one call; None as soon as one of them does not say."""

    def __init__(self) -> None:
        self.tokens: int | None = 0

    def add(self, usage: _Usage | None) -> None:
        said = usage is not None and 0 < usage.prompt_tokens <= TOKENS_MAX
        self.tokens = self.tokens + usage.prompt_tokens if usage and said and self.tokens is not None else None


class _Refused(Exception):
    """The endpoint answered: not this request. `too_long` if it said that length is why."""

    def __init__(self, reason: str, too_long: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_long = too_long


class OpenAIEmbedder:
    """See `Embedder`. Endpoints compute in batches on shared hardware: equal texts give nearly equal vectors."""

    reproducible = False

    def __init__(
        self, settings: EmbedderSettings, clock: Clock = SYSTEM_CLOCK, secrets: SecretSettings | None = None
    ) -> None:
        self.space = space_of(settings)
        self._settings = settings
        self._clock = clock
        self._credential = BlockingCredential(settings.api_key, secrets, clock)
        self._client = openai.OpenAI(
            api_key=UNSET_KEY,  # each request has its own
            # A redirect would get the key and the texts.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
            base_url=settings.base_url,
            max_retries=0,
            timeout=openai.Timeout(settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
        )

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        vectors, _ = self.embed_counting(texts)
        return vectors

    def embed_counting(self, texts: Sequence[str]) -> tuple[list[Vector], int | None]:
        """See `CountingEmbedder`."""
        refuse_blank(texts)
        vectors: list[Vector] = []
        counted = _Counted()
        for start, end in batches([len(text) for text in texts], self._settings.batch_max):
            vectors += self._embed_batch(texts[start:end], start, counted)
        return vectors, counted.tokens

    def close(self) -> None:
        self._client.close()

    def _embed_batch(self, texts: Sequence[str], first: int, counted: _Counted) -> list[Vector]:
        """Make at most 2n − 1 requests for n texts, and that only if each is refused. `first` is the index of
        `texts[0]` in the caller's sequence."""
        try:
            return self._request(texts, counted)
        except _Refused as refused:
            if len(texts) == 1:
                return [self._embed_refused(texts[0], first, refused, counted)]
        middle = len(texts) // 2
        front = self._embed_batch(texts[:middle], first, counted)
        return front + self._embed_batch(texts[middle:], first + middle, counted)

    def _embed_refused(self, text: str, index: int, refused: _Refused, counted: _Counted) -> Vector:
        """One text that was refused as it is: shorter, if that is why."""
        while refused.too_long and len(text) >= 2 * TEXT_CHARS_MIN:
            text = text[: len(text) // 2]
            try:
                return self._request([text], counted)[0]
            except _Refused as again:
                refused = again
        try:
            self._request([PLAIN_WORD], counted)
        except _Refused as everything:
            raise DependencyUnavailable(
                f"the embedding endpoint refuses every text: {everything.reason}",
                hint=f"check embedder.model ({self._settings.model}) and embedder.base_url",
            ) from None
        raise Unprocessable(
            f"the embedding endpoint refuses this text: {refused.reason}", coordinates={"index": index}
        ) from None

    def _request(self, texts: Sequence[str], counted: _Counted) -> list[Vector]:
        """A key that is not taken is read again, and when there is another one by then, that is tried, once."""
        key = self._credential.get()
        try:
            return self._ask(texts, key, counted)
        except openai.APIStatusError as error:
            if error.status_code != 401 or not self._credential.renew(key):
                raise _judge(error) from error
        try:
            return self._ask(texts, self._credential.get(), counted)
        except openai.APIStatusError as error:
            raise _judge(error) from error

    def _ask(self, texts: Sequence[str], key: str, counted: _Counted) -> list[Vector]:
        """Raises the SDK's error for a status that is none of success, and else what `embed` does."""
        deadline = Deadline.after(self._settings.timeout_s, self._clock)
        dimensions = self._settings.dimension if self._settings.send_dimension else openai.omit
        try:
            with self._client.embeddings.with_streaming_response.create(
                input=list(texts),
                model=self._settings.model,
                dimensions=dimensions,
                encoding_format="float",
                extra_headers={"Authorization": f"Bearer {key or UNSET_KEY}"},
            ) as response:
                body = self._read(response.iter_bytes(), deadline)
        except (AdriaticError, openai.APIStatusError):
            raise
        except Exception as error:
            hint = f"is {self._settings.base_url} reachable from here, and embedder.timeout_s long enough?"
            raise map_break(error, WHO, hint) from error
        return self._vectors(body, len(texts), counted)

    def _read(self, parts: Iterator[bytes], deadline: Deadline) -> bytes:
        """The SDK's time-out is for each read, so an endpoint that trickles would never end; the deadline ends it."""
        body = bytearray()
        for part in parts:
            body += part
            if deadline.passed:
                raise DependencyUnavailable(
                    f"the embedding endpoint took longer than {self._settings.timeout_s:g} s to answer",
                    hint="raise embedder.timeout_s or lower embedder.batch_max",
                )
            if len(body) > RESPONSE_BYTES_MAX:
                raise DependencyUnavailable(f"the embedding endpoint sent more than {RESPONSE_BYTES_MAX} bytes")
        return bytes(body)

    def _vectors(self, body: bytes, count: int, counted: _Counted) -> list[Vector]:
        try:
            told = msgspec.json.decode(body, type=_Embeddings)
        except msgspec.DecodeError as error:
            raise DependencyUnavailable(f"the embedding endpoint's answer is not understood: {error}") from None
        rows = told.data
        counted.add(told.usage)
        if sorted(row.index for row in rows) != list(range(count)):
            raise DependencyUnavailable(f"the embedding endpoint sent {len(rows)} vectors for {count} texts")
        return [self._check(row.embedding) for row in sorted(rows, key=lambda row: row.index)]

    def _check(self, numbers: list[float]) -> Vector:
        if len(numbers) != self.space.dimension:
            raise Halted(
                f"the endpoint's vectors have {len(numbers)} dimensions, the settings say {self.space.dimension}",
                hint="set embedder.dimension to what the model gives; it belongs to the embedding space",
            )
        vector: Vector = np.asarray(numbers, dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0.0:
            raise DependencyUnavailable("the embedding endpoint sent a vector without a direction")
        scaled: Vector = vector / np.float32(length)
        return scaled


def batches(sizes: Sequence[int], count_max: int) -> Iterator[tuple[int, int]]:
    """Cut texts of these sizes (characters) into requests: ranges [start, end), in order, at most `count_max` texts and
    REQUEST_CHARS_MAX characters each; a longer text goes alone."""
    start, chars = 0, 0
    for index, size in enumerate(sizes):
        if index > start and (index - start == count_max or chars + size > REQUEST_CHARS_MAX):
            yield start, index
            start, chars = index, 0
        chars += size
    if start < len(sizes):
        yield start, len(sizes)


def _judge(error: openai.APIStatusError) -> DependencyUnavailable | _Refused:
    """Judge whose fault it is: ours to wait out, or this request's."""
    status = error.status_code
    too_long = bool(_TOO_LONG.search(error.message))  # some servers say it with a 500
    if status in (400, 413, 422) or (too_long and status != 429):
        return _Refused(f"HTTP {status}, {error.message[:REASON_CHARS_MAX]}", too_long)
    return map_status(error, WHO, "embedder")
