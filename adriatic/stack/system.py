"""The whole system as parts: what runs on this machine, in which order, with which settings.

Owns that list. Refuses to start anything: `adriatic.supervisor` does. The infrastructure that settings call external is
left out, and what depends on it then waits by itself.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from adriatic.stack import artifacts, kafka, ports, postgres, record, registry
from adriatic.supervisor.part import Part, ProbeResult
from runtime.errors import DependencyUnavailable, Misconfigured
from runtime.settings import Settings

INFRASTRUCTURE = ("postgres", "kafka", "registry")
PROBE_TIMEOUT_S = 3.0
TENANT = "demo"
"""The tenant that a new system begins with."""
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""What servers that are not ours see of the environment: anything else could change their behaviour unseen."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was made ready before anything starts. None: that part is external, or not wanted."""

    postgres: postgres.EmbeddedServer | None
    kafka_jars: Path | None
    kafka_file: Path | None
    registry: Path | None


def prepare(
    settings: Settings,
    progress: Callable[[str], artifacts.DownloadProgress],
    say: Callable[[str], None] = lambda _: None,
    only: frozenset[str] = frozenset(),
) -> Fetched:
    """Fetch, unpack, format: everything slow that happens once, with progress. Safe to repeat, fast when repeated."""
    stack = settings.stack
    if stack.registry == "embedded" and stack.postgres == "external":
        raise Misconfigured(
            "an embedded registry keeps its schemas in the embedded Postgres, and that one is external",
            hint='set `registry = "external"` in the section `stack`, and `registry.url`',
        )
    wanted = {name for name in INFRASTRUCTURE if getattr(stack, name) == "embedded" and (not only or name in only)}
    # Side by side: one waits for the network while another works.
    with ThreadPoolExecutor(len(INFRASTRUCTURE)) as pool:
        server = pool.submit(postgres.prepare, settings, say) if "postgres" in wanted else None
        broker = pool.submit(_prepare_kafka, settings, progress, say) if "kafka" in wanted else None
        schemas = pool.submit(registry.unpack, lambda: progress("registry")) if "registry" in wanted else None
    jars, file = broker.result() if broker else (None, None)
    return Fetched(server.result() if server else None, jars, file, schemas.result() if schemas else None)


def _prepare_kafka(
    settings: Settings, progress: Callable[[str], artifacts.DownloadProgress], say: Callable[[str], None]
) -> tuple[Path, Path]:
    jars = kafka.jars(lambda: progress("Kafka"))
    file = kafka.prepare(settings, jars, say)
    return jars, file


def parts(settings: Settings, fetched: Fetched, only: frozenset[str] = frozenset()) -> list[Part]:
    """Everything that this machine runs, or `only` the named parts of it."""
    everything = [*_infrastructure(settings, fetched), *_ours(settings)]
    present = {part.name for part in everything}
    if unknown := only - present - set(INFRASTRUCTURE):
        raise Misconfigured(f"no such part: {', '.join(sorted(unknown))}", hint=f"parts are {', '.join(present)}")
    if not only and (fetched.kafka_jars or fetched.registry):
        everything.append(_train_step(settings, [part.name for part in everything]))
    kept = [
        part
        for part in everything
        if not only or part.name in only or (part.name == "registry-database" and "registry" in only)
    ]
    names = {part.name for part in kept}
    # What runs elsewhere is nothing to wait for here.
    return [replace(part, depends_on=[name for name in part.depends_on if name in names]) for part in kept]


def _infrastructure(settings: Settings, fetched: Fetched) -> list[Part]:
    foreign = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    found = []
    if server := fetched.postgres:
        found.append(
            Part(
                "postgres",
                command=postgres.command(server, settings.stack.ports["postgres"]),
                clear=lambda: postgres.end_orphans(server),
                environment=foreign,
                user=server.user,
                probe=_probe(lambda: postgres.answers(settings)),
                # Fast shutdown: ends sessions, writes a checkpoint.
                stop_signal=signal.SIGINT,
                stop_grace_s=40.0,
                about=f"PostgreSQL 18, {ports.LOOPBACK}:{settings.stack.ports['postgres']}",
            )
        )
    if fetched.kafka_jars and fetched.kafka_file:
        port = settings.stack.ports["kafka"]
        found.append(
            Part(
                "kafka",
                command=kafka.launch(fetched.kafka_jars, fetched.kafka_file).command(),
                environment=foreign,
                probe=_probe(lambda: kafka.answers(port)),
                stop_grace_s=30.0,
                about=f"Apache Kafka {kafka.VERSION}, {ports.LOOPBACK}:{port}",
            )
        )
    if fetched.registry:
        found.append(
            Part(
                "registry-database",
                kind="step",
                call=lambda: postgres.make_registry_database(settings),
                depends_on=["postgres"],
                about="the registry's role and database",
            )
        )
        found.append(
            Part(
                "registry",
                command=registry.launch(fetched.registry).command(),
                environment=foreign | registry.environment(settings),
                probe=_probe(lambda: registry.answers(settings.registry.url)),
                depends_on=["postgres", "registry-database"],
                about=f"Apicurio {registry.VERSION}, {settings.registry.url}",
            )
        )
    return found


def _ours(settings: Settings) -> list[Part]:
    api = f"http://{settings.api.host}:{settings.api.port}"
    alone = settings.api.workers == 1  # several answer for themselves there, and for all on the operators' port
    # Imported here: of all that ask something of the system, only what starts it pays for the flows' libraries.
    from dataflows.catalog import flows
    from streams.catalog import agents

    after = ["migrate", "topics", "schemas"]
    groups = (("flow", "flow", flows().values()), ("stream", "agent", agents().values()))
    shared = [
        _service(settings, name, [command, "run", kind.name], after, f"{word}: {kind.about}")
        for command, word, kinds in groups
        for kind in kinds
        for name in record.process_names(kind.name, settings.stack.processes)
    ]
    return [
        _step(settings, "migrate", ["migrate"], ["postgres"], "database schema"),
        _step(settings, "topics", ["topics", "apply"], ["kafka"], "topics as in topics/"),
        _step(settings, "schemas", ["schemas", "register"], ["registry"], "schemas as in schemas/avro/"),
        _service(settings, "cdc", ["cdc", "run"], after, "change capture: WAL to topics"),
        *shared,
        _service(settings, "watch", ["watch", "run"], ["migrate"], "watcher: lag of groups, freshness of views"),
        _service(settings, "api", ["api", "run"], ["migrate"], api, ready=f"{api}/health/ready" if alone else ""),
        _step(settings, "tenant", ["tenant", "create", TENANT, "--if-missing"], ["migrate"], f"tenant {TENANT}"),
    ]


def _train_step(settings: Settings, after: list[str]) -> Part:
    """Makes the next start faster, once on a machine, after this one is over."""
    about = "Java start caches, for the next start"
    command = [sys.executable, "-m", "adriatic.stack.training"]
    return replace(_step(settings, "start-caches", [], after, about), background=True, command=command)


def _service(
    settings: Settings, name: str, arguments: list[str], depends_on: list[str], about: str, ready: str = ""
) -> Part:
    port = settings.stack.ports[f"{name}_ops"]
    part = _step(settings, name, arguments, depends_on, about)
    return replace(
        part,
        kind="service",
        environment={**part.environment, "ADRIATIC_TELEMETRY__OPS_PORT": str(port)},
        probe=lambda: _ask_twice(ready, ops_url(port)) if ready else http_health(ops_url(port)),
        starts_early=True,
        stop_grace_s=20.0,
    )


def _ask_twice(url: str, ops: str) -> ProbeResult:
    """What people see at `url`; why not, where it is not ready, only the operators' port says."""
    found = http_health(url)
    return found if found.ready or not found.answered else replace(found, reasons=http_health(ops).reasons)


def _step(settings: Settings, name: str, arguments: list[str], depends_on: list[str], about: str) -> Part:
    return Part(
        name,
        kind="step",
        command=[sys.executable, "-m", "adriatic", *arguments],
        environment=_environment(settings),
        depends_on=depends_on,
        about=about,
    )


def _environment(settings: Settings) -> dict[str, str]:
    # Without compiled files every start would compile thousands of modules again.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "ADRIATIC_HOME": str(settings.home.resolve()), "PYTHONUNBUFFERED": "1"}


def report_url(settings: Settings, name: str) -> str | None:
    """Where the process of this name reports its health; None for what is not ours."""
    port = settings.stack.ports.get(f"{name}_ops")
    return ops_url(port) if port else None


def ops_url(port: int) -> str:
    return f"http://{ports.LOOPBACK}:{port}/health/ready"


def metrics_url(port: int) -> str:
    return f"http://{ports.LOOPBACK}:{port}/metrics"


def _probe(answers: Callable[[], str | None]) -> Callable[[], ProbeResult]:
    def probe() -> ProbeResult:
        fault = answers()
        return ProbeResult(answered=fault is None, ready=fault is None, reasons=fault or "")

    return probe


def http_health(url: str) -> ProbeResult:
    """What one of our own processes says about itself."""
    return health_of(http_report(url))


def health_of(report: Mapping[str, object] | str) -> ProbeResult:
    """What a report of one of our own processes comes to, or why there is none."""
    if isinstance(report, str):
        return ProbeResult(answered=False, reasons=report)
    reasons = report.get("reasons") or {}
    said = "; ".join(f"{what}: {why}" for what, why in reasons.items()) if isinstance(reasons, dict) else str(reasons)
    return ProbeResult(answered=True, ready=report.get("status") == "ready", reasons=said)


def http_report(url: str) -> dict[str, object] | str:
    """The JSON of a health route, or why there is none."""
    try:
        found = json.loads(fetch(url))
    except DependencyUnavailable as error:
        return str(error.detail)
    except ValueError as error:
        return str(error)
    return found if isinstance(found, dict) else "answers with something else than a report"


def fetch(url: str) -> bytes:
    """What one of our own processes answers. Raises `DependencyUnavailable`."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()
    except ConnectionRefusedError:
        raise DependencyUnavailable(ports.NOT_LISTENING) from None
    except (OSError, http.client.HTTPException) as error:
        raise DependencyUnavailable(str(error) or type(error).__name__) from None
    finally:
        connection.close()
