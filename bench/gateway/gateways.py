"""What can be between a caller and the upstream: each is started, waited for, and ended.

Owns their processes and the places of their files. LiteLLM's proxy is installed at first use, in an environment of its
own beside the checkout's: nothing of ours needs it. It runs as its makers say for production, without a database, so
without budgets, keys of users or a ledger; ours has all of them, and so many limits as can be set.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from adriatic.cli.remote import local_token
from adriatic.cli.tenants import make_tenant
from runtime.settings import Settings
from tests.copies import running_copy, settings_of

ROOT = Path(__file__).resolve().parents[2]
LITELLM = "litellm[proxy]==1.106.2"
"""The newest release that was measured by hand before."""
ENVIRONMENT = ROOT / ".bench" / "litellm"
DESCRIPTORS = 65_536
READY_S_MAX = 300.0
STOP_S_MAX = 20.0
LOG_CHARS_SHOWN = 4_000
KEY = "sk-bench-master"
PATH = "/v1/chat/completions"
MODEL = "fake-model"
MANY = 1_000_000_000
"""A limit that is counted and never reached."""


@dataclass(frozen=True)
class Target:
    """Where to ask, as whom, and whose processor time counts."""

    address: tuple[str, int]
    key: str
    pids: dict[str, int]
    ready_s: float
    """From the start of the process to its first answer."""
    look: Callable[[], dict[str, float]] | None = None
    """What is open in the gateway, and what it says of itself; None where nobody tells."""


def raise_limits() -> int:
    """Let this process, and what it starts, have so many descriptors as ten thousand streams need in a gateway, two for
    each; the most that it may have, where that is less. Returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(most, DESCRIPTORS), most):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            continue
        return wanted
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, which is ended with the block, and what it started with it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=os.environ | environment
        )
    try:
        yield process
    except RuntimeError:
        sys.stderr.write(log.read_text()[-LOG_CHARS_SHOWN:])
        raise
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S_MAX)


@contextmanager
def upstream(folder: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """The upstream's address, and its process."""
    port = free_port()
    with running([sys.executable, "-m", "bench.gateway.upstream", str(port)], folder / "upstream.log", {}) as process:
        _await(("127.0.0.1", port), "", process)
        yield ("127.0.0.1", port), process.pid


def _await(address: tuple[str, int], key: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers a question."""
    question = {"model": MODEL, "messages": [{"role": "user", "content": "ttft_ms=0 gap_ms=0 chunks=1 id=0"}]}
    ends_s = time.monotonic() + READY_S_MAX
    while True:
        try:
            answer = httpx.post(
                f"http://{address[0]}:{address[1]}{PATH}",
                json=question,
                headers={"authorization": f"Bearer {key or None}"},
            )
            if answer.status_code == 200:
                return
            reason = answer.text[:300]
        except httpx.HTTPError as error:
            reason = str(error)
        if process.poll() is not None or time.monotonic() > ends_s:
            raise RuntimeError(f"it does not answer: {reason}")
        time.sleep(0.05)


@contextmanager
def none(to: tuple[str, int], _folder: Path) -> Iterator[Target]:
    """Nothing: the upstream itself."""
    yield Target(to, "", {}, 0.0)


@contextmanager
def bare(to: tuple[str, int], folder: Path) -> Iterator[Target]:
    """See `bare.py`."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("granian")), "--interface", "asgi", "--port", str(port)]
    command += ["--loop", "uvloop", "--backlog", "16384", "--backpressure", "16384", "--no-ws"]
    environment = {"BENCH_UPSTREAM": f"http://{to[0]}:{to[1]}{PATH}"}
    began_s = time.monotonic()
    with running([*command, "bench.gateway.bare:app"], folder / "bare.log", environment) as process:
        _await(("127.0.0.1", port), "", process)
        yield Target(("127.0.0.1", port), "", {"gateway": process.pid}, time.monotonic() - began_s)


_OURS = f"""
[llm]
provider = "openai"
model = "{MODEL}"
base_url = "http://127.0.0.1:%(upstream)d/v1"
prices = "%(prices)s"
in_flight_max = 20000
streams_max = 20000
streams_per_tenant_max = 20000
total_s = 3600

[limits]
user_requests_per_minute = {MANY}
user_streams = {MANY}
user_tokens_per_day = {MANY}
new_user_requests = {MANY}
key_tokens_per_day = {MANY}
key_tokens_per_month = {MANY}
tenant_tokens_per_day = {MANY}
tenant_tokens_per_month = {MANY}
"""
_PRICES = f"""
[[prices]]
provider = "openai"
model = "{MODEL}"
match = "exact"
valid_from = 2026-01-01
source = "made up, so that budgets have something to count"
read_on = 2026-11-29

[prices.rates]
input_uncached = 1000000
cache_read = 100000
cache_write_5m = 1000000
cache_write_1h = 1000000
output_visible = 4000000
reasoning = 4000000
"""


@contextmanager
def ours(to: tuple[str, int], folder: Path, workers: int = 1) -> Iterator[Target]:
    """Our API, with limits, budgets on two levels, ledger and metrics, and a Postgres of its own."""
    prices = folder / "prices.toml"
    prices.write_text(_PRICES)
    toml = _OURS % {"upstream": to[1], "prices": prices}
    with running_copy(toml, ("postgres",)) as copy, ExitStack() as stack:
        home = copy.settings.home
        environment = copy.environment
        subprocess.run([sys.executable, "-m", "adriatic", "migrate"], env=environment, check=True, capture_output=True)
        settings = settings_of(home)
        port = settings.api.port
        tenant_id = make_tenant(settings, "bench").tenant_id
        key = local_token(settings, tenant_id)
        began_s = time.monotonic()
        command = [sys.executable, "-m", "adriatic", "api", "run"]
        shown = environment | {"ADRIATIC_API__OPERATOR_ROUTES": "true", "ADRIATIC_API__WORKERS": str(workers)}
        process = stack.enter_context(running(command, folder / "ours.log", shown))
        _await((settings.api.host, port), key, process)
        ready_s = time.monotonic() - began_s
        _set_budgets(settings, key)
        pids = {"gateway": process.pid, "database": copy.process("postgres").pid}
        yield Target((settings.api.host, port), key, pids, ready_s, lambda: _look(settings))


OPEN = {
    "adriatic_chats_active": "answers",
    "adriatic_chats_unsettled": "unsettled",
    "adriatic_budget_leases": "purses",
    "adriatic_llm_in_flight": "slots",
}
"""Gauges that come back to 0 when nobody is answered."""
_LEAVING = "adriatic_chat_leaving_seconds"
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def _look(settings: Settings) -> dict[str, float]:
    """What is open by the metrics and in the database, and how many upstreams were closed how fast."""
    metrics = httpx.get(f"http://{settings.api.host}:{settings.api.port}/metrics", timeout=60).raise_for_status().text
    found = dict.fromkeys(OPEN.values(), 0.0) | {"left": 0.0, "left_in_100_ms": 0.0}
    for name, labels, value in _SAMPLE.findall(metrics):
        if name in OPEN:
            found[OPEN[name]] += float(value)
        elif name == f"{_LEAVING}_count":
            found["left"] += float(value)
        elif name == f"{_LEAVING}_bucket" and 'le="0.1"' in labels:
            found["left_in_100_ms"] += float(value)
    with psycopg.connect(settings.postgres.dsn("admin")) as connection:
        row = connection.execute(_HELD).fetchone()
    return found | dict(zip(("attempts", "leases", "reserved_micro_usd"), map(float, row or ()), strict=True))


_HELD = """
  select
    (select count(*) from app.attempts), (select count(*) from app.leases),
    (select coalesce(sum(reserved_micro_usd), 0)::bigint from app.budget_windows)
"""


def _set_budgets(settings: Settings, key: str) -> None:
    """One of the organisation and one of the user, neither of which is ever used up."""
    with httpx.Client(
        base_url=f"http://{settings.api.host}:{settings.api.port}", headers={"authorization": f"Bearer {key}"}
    ) as http:
        budget = {"level": "org", "period": "month", "limit_micro_usd": MANY * 1_000}
        user_id = http.put("/v1/budgets", json=budget).raise_for_status().json()["created_by"]
        http.put("/v1/budgets", json=budget | {"level": "user", "subject": user_id}).raise_for_status()


_LITELLM = f"""
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/{MODEL}
      api_base: http://%s:%d/v1
      api_key: none
litellm_settings: {{request_timeout: 3600, num_retries: 0}}
router_settings: {{num_retries: 0}}
general_settings: {{master_key: {KEY}, disable_spend_logs: true, disable_error_logs: true}}
"""
_OFFLINE = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
    "NO_REDOC": "True",
}


@contextmanager
def litellm(to: tuple[str, int], folder: Path) -> Iterator[Target]:
    """LiteLLM's proxy, one worker."""
    program = _install()
    file, port = folder / "litellm.yaml", free_port()
    file.write_text(_LITELLM % to)
    command = [str(program), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    began_s = time.monotonic()
    with running(command, folder / "litellm.log", _OFFLINE) as process:
        _await(("127.0.0.1", port), KEY, process)
        yield Target(("127.0.0.1", port), KEY, {"gateway": process.pid}, time.monotonic() - began_s)


def _install() -> Path:
    program = ENVIRONMENT / "bin" / "litellm"
    if not program.is_file():
        sys.stderr.write(f"installing {LITELLM}\n")
        uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
        subprocess.run(
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT)], check=True
        )
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(ENVIRONMENT / "bin" / "python"), LITELLM], check=True
        )
    return program


GATEWAYS: dict[str, Callable[..., object]] = {
    "direct": none,
    "bare": bare,
    "ours": ours,
    "litellm": litellm,
}
