"""Stand-ins for stores of secrets, over HTTP, as strict as the real ones where it matters: Vault's KV version 2 with
its logins, and AWS Secrets Manager's JSON 1.1. A test changes what they keep, and takes them away."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=AKIDTEST/\d{8}/eu-west-1/secretsmanager/aws4_request, SignedHeaders=.+"
)


class VaultStandIn:
    """Tokens that are good, what `secret/data/…` keeps, and who may log in."""

    def __init__(self) -> None:
        self.tokens = {"root-token"}
        self.kept: dict[str, dict[str, Any]] = {}
        self.roles: dict[tuple[str, str], str] = {}
        """The secret that a method's role logs in with."""
        self.status: int | None = None
        self.body: bytes | None = None
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.logins = 0

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.requests.append((method, path, headers))
        if self.status:
            return self.status, {"errors": ["sealed, and here is root-token"]}
        if match := re.fullmatch(r"/v1/auth/([^/]+)/login", path):
            return self._log_in(match[1], json.loads(body))
        if headers.get("x-vault-token") not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        found = self.kept.get(path.removeprefix("/v1/secret/data/"))
        return (404, {"errors": []}) if found is None else (200, {"data": {"data": found, "metadata": {"version": 1}}})

    def _log_in(self, mount: str, asked: dict[str, str]) -> tuple[int, Any]:
        role = asked.get("role_id") or asked.get("role", "")
        given = asked.get("secret_id") or asked.get("jwt", "")
        if self.roles.get((mount, role)) != given:
            return 400, {"errors": [f"invalid {given}"]}
        self.logins += 1
        self.tokens = {f"login-{self.logins}"}
        return 200, {"auth": {"client_token": f"login-{self.logins}", "lease_duration": 60}}


class AwsStandIn:
    """Secrets by name. What is not signed for this service and region is refused."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.code: str | None = None
        self.body: bytes | None = None

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        right = (
            headers.get("x-amz-target") == "secretsmanager.GetSecretValue"
            and headers.get("content-type") == "application/x-amz-json-1.1"
            and SIGNED.fullmatch(headers.get("authorization", ""))
        )
        if not right:
            return 400, {"__type": "IncompleteSignature", "message": "not signed"}
        if self.code:
            return 400, {"__type": self.code, "Message": "and here is key-1"}
        name = json.loads(body)["SecretId"]
        if name not in self.kept:
            return 400, {"__type": "ResourceNotFoundException", "Message": name}
        return 200, {"Name": name, "SecretString": self.kept[name], "VersionStages": ["AWSCURRENT"]}


@contextmanager
def serving(store: VaultStandIn | AwsStandIn) -> Iterator[str]:
    """The address of a store, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = store.answer(self.command, self.path, headers, body)
            said = json.dumps(answer).encode() if store.body is None else store.body
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            if 300 <= status < 400:
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Requests are no news."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
