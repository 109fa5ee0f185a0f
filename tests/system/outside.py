"""What a system asks that is not its own, in a test's hands: an embedder and a language model, both of which can hang.

Both speak OpenAI's protocol on one port. While `away` is set, requests are accepted and nothing comes back.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.connectors.embedders.stand_in import DIMENSION, answer
from tests.connectors.llm.stand_in import OPENAI_END, OPENAI_START, openai_text

HANGS_S_MAX = 120.0
"""Longer than any outage here: whoever asked must have given up by himself."""
FIRST_TOKEN_S, EMBED_S = 2, 2
"""What the system's settings say that it waits for."""
ANSWER = "Everything is written once [1]."


class Outside:
    """The server. `embedder` and `model` say which of the two answers."""

    def __init__(self) -> None:
        self.embedder, self.model = threading.Event(), threading.Event()
        self.embedder.set()
        self.model.set()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                embeds = self.path.endswith("/embeddings")
                if not (outside.embedder if embeds else outside.model).wait(HANGS_S_MAX):
                    return
                if embeds:
                    self._send("application/json", answer(request["input"]))
                else:
                    self._send("text/event-stream", OPENAI_START + openai_text(ANSWER) + OPENAI_END)

            def _send(self, media_type: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # whoever gave up waiting is what the tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def settings(self) -> str:
        """The settings of a system that asks here."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return (
            f'[embedder]\nkind = "openai"\nbase_url = "{url}"\nmodel = "words"\ndimension = {DIMENSION}\n'
            f"timeout_s = {EMBED_S}\n"
            "[limits]\nnew_user_requests = 0\n"
            f'[llm]\nprovider = "openai"\nbase_url = "{url}"\nmodel = "some-model"\napi_key = "key"\n'
            f"first_token_s = {FIRST_TOKEN_S}\ncache_s = 0\n"
        )

    def close(self) -> None:
        self.embedder.set()
        self.model.set()
        self._server.shutdown()
        self._server.server_close()
