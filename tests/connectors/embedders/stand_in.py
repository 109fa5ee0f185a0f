"""Stand-ins for tests: an HTTP server that speaks OpenAI's embeddings API, and an embedder without a model.

The server computes each vector from the text alone (hashed words), keeps what it was asked, and misbehaves on request.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from connectors.embedders import EmbeddingSpace, Vector, refuse_blank

DIMENSION = 16


def hashed_words(text: str, dimension: int = DIMENSION) -> Vector:
    """A bag of words: texts with words in common are nearer than texts without."""
    vector = np.zeros(dimension, np.float32)
    for word in text.lower().split() or [text]:
        digest = hashlib.sha256(word.encode()).digest()
        vector[digest[0] % dimension] += 1 + digest[1] / 256
    scaled: Vector = vector / np.float32(np.linalg.norm(vector))
    return scaled


class FakeEmbedder:
    """Keeps the contract of `Embedder` without weights or network."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    @property
    def space(self) -> EmbeddingSpace:
        return EmbeddingSpace.of("fake", "hashed-words", "1", DIMENSION)

    @property
    def reproducible(self) -> bool:
        return True

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        refuse_blank(texts)
        self.calls.append(list(texts))
        return [hashed_words(text) for text in texts]

    def close(self) -> None:
        return


Reply = tuple[int, dict[str, str], bytes]
"""HTTP status, headers, body."""


class StandIn:
    """The server. `misbehave` sees each request's JSON and may answer in its place; None lets the server answer."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.misbehave: Callable[[dict[str, Any]], Reply | None] = lambda request: None
        self.trickle_s = 0.0
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                stand_in.requests.append({"path": self.path, **request})
                stand_in.keys.append(self.headers.get("authorization", ""))
                status, headers, body = stand_in.misbehave(request) or (200, {}, answer(request["input"]))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                for name, value in headers.items():
                    self.send_header(name, value)
                if "content-length" not in headers:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                if not stand_in.trickle_s:
                    self.wfile.write(body)
                    return
                for start in range(0, len(body), 50):
                    time.sleep(stand_in.trickle_s)
                    self.wfile.write(body[start : start + 50])
                    self.wfile.flush()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a client that gave up is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(texts: Sequence[str], order: Sequence[int] | None = None, dimension: int = DIMENSION) -> bytes:
    """What a good endpoint sends. `order` picks and orders the rows."""
    rows = [
        {"object": "embedding", "index": index, "embedding": hashed_words(texts[index], dimension).tolist()}
        for index in (order if order is not None else range(len(texts)))
    ]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return json.dumps({"object": "list", "model": "stand-in", "data": rows, "usage": usage}).encode()


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return status, headers or {}, json.dumps(body).encode()
