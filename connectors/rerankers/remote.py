"""Reranking by an endpoint: Cohere's form, Jina's, or that of text-embeddings-inference.

Owns one request, its bounds, the three forms, and the checks on what comes back. The documents leave this machine, so
whoever sets it decides that. Refuses to retry: research goes on in the order of the search, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec

from connectors.http_errors import REASON_CHARS_MAX, translate
from connectors.secrets.blocking import BlockingCredential
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable
from runtime.settings import RerankerSettings, SecretSettings

RESPONSE_BYTES_MAX: Final = 1_048_576
"""Scores of some dozen passages are a few kilobytes; what is larger sends the passages back."""
PATHS: Final = {"cohere": "/v2/rerank", "jina": "/v1/rerank", "tei": "/rerank"}
WHO: Final = "the reranking endpoint"


class _Scored(msgspec.Struct):
    """One row of an answer. Cohere and Jina call the number `relevance_score`."""

    index: int
    relevance_score: float | None = None
    score: float | None = None

    @property
    def number(self) -> float:
        found = self.relevance_score if self.relevance_score is not None else self.score
        return math.nan if found is None else found


class _Ranked(msgspec.Struct):
    results: list[_Scored]


class RemoteReranker:
    """See `Reranker`."""

    def __init__(
        self, settings: RerankerSettings, secrets: SecretSettings | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._credential = BlockingCredential(settings.api_key, secrets, clock)
        # A redirect would get the key and the texts.
        self._client = httpx.Client(timeout=settings.timeout_s, follow_redirects=False)

    @property
    def name(self) -> str:
        return self._settings.kind if self._settings.kind == "tei" else f"{self._settings.kind}/{self._settings.model}"

    def score(self, questions: Sequence[str], passages: Sequence[str]) -> list[list[float]]:
        """One request for each question."""
        return [self._score(question, passages) if passages else [] for question in questions]

    def _score(self, question: str, passages: Sequence[str]) -> list[float]:
        """A key that is not taken is read again, and when there is another one by then, that is tried, once."""
        key = self._credential.get()
        status, body = self._ask(question, passages, key)
        if status == 401 and self._credential.renew(key):
            status, body = self._ask(question, passages, self._credential.get())
        if status in (401, 403):
            raise DependencyUnavailable(f"{WHO} does not accept the key: HTTP {status}", hint="check reranker.api_key")
        if status != 200:
            said = self._credential.hide(body[:REASON_CHARS_MAX].decode(errors="replace"))
            raise DependencyUnavailable(f"{WHO} cannot rank: HTTP {status}, {said}", hint="check reranker.base_url")
        return _read_scores(body, len(passages))

    def close(self) -> None:
        self._client.close()

    def _ask(self, question: str, passages: Sequence[str], key: str) -> tuple[int, bytes]:
        url = self._settings.base_url.rstrip("/") + PATHS[self._settings.kind]
        headers = {"authorization": f"Bearer {key}"} if key else {}
        deadline = Deadline.after(self._settings.timeout_s, self._clock)
        body = bytearray()
        with (
            translate(WHO, "is reranker.base_url reachable from here?"),
            self._client.stream("POST", url, json=self._request(question, passages), headers=headers) as response,
        ):
            for part in response.iter_bytes():
                body += part
                if len(body) > RESPONSE_BYTES_MAX:
                    raise DependencyUnavailable(f"{WHO} sent more than {RESPONSE_BYTES_MAX} bytes")
                if deadline.passed:
                    raise DependencyUnavailable(
                        f"{WHO} took longer than {self._settings.timeout_s:g} s", hint="raise reranker.timeout_s"
                    )
            return response.status_code, bytes(body)

    def _request(self, question: str, passages: Sequence[str]) -> dict[str, Any]:
        if self._settings.kind == "tei":
            return {"query": question, "texts": list(passages), "truncate": True}
        documents = list(passages)
        return {
            "model": self._settings.model,
            "query": question,
            "documents": documents,
            "top_n": len(documents),
            **({"return_documents": False} if self._settings.kind == "jina" else {}),
        }


def _read_scores(body: bytes, count: int) -> list[float]:
    """The scores in the order of the passages."""
    try:
        told = msgspec.json.decode(body, type=_Ranked | list[_Scored])
    except msgspec.MsgspecError as error:
        raise DependencyUnavailable(f"{WHO}'s answer is not understood: {error}") from None
    rows = told.results if isinstance(told, _Ranked) else told
    scores = {row.index: row.number for row in rows}
    if len(rows) != count or scores.keys() != set(range(count)):
        raise DependencyUnavailable(f"{WHO} sent {len(rows)} scores for {count} passages")
    if not all(map(math.isfinite, scores.values())):
        raise DependencyUnavailable(f"{WHO} sent a score that is no number")
    return [scores[index] for index in range(count)]
