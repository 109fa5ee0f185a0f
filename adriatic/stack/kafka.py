"""The embedded broker: Apache Kafka in KRaft mode, one node that is broker and controller.

Owns its version, properties and command line. Refuses what Redpanda does not have too (one code for both), and
to create a topic because somebody mentioned it.
"""

from __future__ import annotations

import base64
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from adriatic.stack import artifacts, jvm, ports
from runtime.errors import Halted
from runtime.private import make_private
from runtime.settings import Settings

VERSION = "4.3.1"
LOCK = Path(__file__).with_name("kafka.lock.toml")
PROPERTIES = "server.properties"
LOG_BINDING = artifacts.Pinned(
    group="org.apache.logging.log4j",
    name="log4j-slf4j-impl",
    version="2.25.4",
    sha256="7ac68a0afcc83d54f48d116d79370a43f0a2a6b71b5c1d6dda943bb6a95ddbaa",
)
"""Kafka leaves it to its distribution to bind its logs to a back end; without it they go nowhere. Outside the lock,
because resolving both together would let its dependencies change versions of Kafka's."""
HEAP_MIB_MAX = 320
FORMAT_HEAP_MIB_MAX = 128
FORMAT_TIMEOUT_S = 120
PROBE_TIMEOUT_S = 3.0
RECORD_BYTES_MAX = 16 * 1024 * 1024
"""Largest record batch that a topic may allow; a topic's own file sets what it does allow."""


def jars(progress: Callable[[], artifacts.DownloadProgress]) -> Path:
    """The directory of Kafka's jars, fetched when it is not in the cache."""
    return artifacts.directory(f"kafka-{VERSION}", (*artifacts.read_lock(LOCK), LOG_BINDING), progress)


def prepare(settings: Settings, jars: Path, say: Callable[[str], None] = lambda _: None) -> Path:
    """Write the properties, and format the log directory once. Returns the file of properties. Safe to repeat."""
    home = make_private(settings.home.resolve() / "kafka")  # its segments hold every tenant's texts
    file = home / PROPERTIES
    file.write_text("".join(f"{key}={value}\n" for key, value in properties(settings, home / "data").items()))
    (home / "log4j2.properties").write_text(LOG4J)
    if not (home / "data" / "meta.properties").is_file():
        say("formatting a new log directory")
        _format(file, jars)
    return file


def properties(settings: Settings, data: Path) -> dict[str, str | int]:
    """Everything that differs from Kafka's defaults, most of it because there is one node and two cores."""
    listener = f"{ports.LOOPBACK}:{settings.stack.ports['kafka']}"
    controller = f"{ports.LOOPBACK}:{settings.stack.ports['kafka_controller']}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": controller,
        "listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # Nobody else is about to join: the first member of a group need not be kept waiting for others.
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "num.recovery.threads.per.data.dir": 2,
        "message.max.bytes": RECORD_BYTES_MAX,
        # The default takes 128 MiB of heap at the start.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        # The default, of which less was tried: a broker that its own controller does not hear for so long has no
        # leaders any more. With 3 s a busy machine did that every few minutes. A restart after a kill waits as long,
        # since until then the new broker looks like a duplicate of the old one.
        "broker.session.timeout.ms": 9000,
        # Not the default: how soon after its start a broker may lead.
        "broker.heartbeat.interval.ms": 500,
    }


def launch(jars: Path, file: Path) -> jvm.Launch:
    return jvm.Launch(
        "kafka",
        jars,
        # In a fixed order: the start cache holds for one class path only.
        class_path=sorted(jars.glob("*.jar")),
        main=("kafka.Kafka", str(file)),
        heap_mib_max=HEAP_MIB_MAX,
        # The second compiler would take a core for six seconds after each start, to be faster than anything here asks.
        flags=("-XX:TieredStopAtLevel=1",),
        properties={
            "log4j2.configurationFile": str(file.with_name("log4j2.properties")),
            "log4j2.disable.jmx": "true",
        },
    )


def train(settings: Settings, jars: Path, folder: Path) -> jvm.Training:
    """A broker of its own in `folder`, for making the start cache."""
    chosen = ports.choose(folder, ("kafka", "kafka_controller"), {})
    trainee = settings.model_copy(update={"home": folder, "stack": settings.stack.model_copy(update={"ports": chosen})})
    file = prepare(trainee, jars)
    return jvm.Training(launch(jars, file), {}, lambda: answers(chosen["kafka"]))


def answers(port: int) -> str | None:
    """None when the broker answers an ApiVersions request (it reads requests only once it serves), else why not."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection((ports.LOOPBACK, port), PROBE_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.recv(10)
    except ConnectionRefusedError:
        return ports.NOT_LISTENING
    except OSError as error:
        return str(error)
    if len(head) < 10:
        return "closed the connection"
    error_code = struct.unpack(">h", head[8:10])[0]
    return f"answers with error {error_code}" if error_code else None


def _format(file: Path, jars: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # One argument, not two: one id in 64 begins with a dash and would be read as an option.
    named = f"--cluster-id={cluster}"
    tool = jvm.Launch(
        "kafka-format",
        jars,
        class_path=sorted(jars.glob("*.jar")),
        main=("kafka.tools.StorageTool", "format", named, "-c", str(file), "--standalone"),
        heap_mib_max=FORMAT_HEAP_MIB_MAX,
        flags=("-XX:TieredStopAtLevel=1",),
    )
    done = subprocess.run(
        tool.command(),
        capture_output=True,
        text=True,
        check=False,
        timeout=FORMAT_TIMEOUT_S,
    )
    if done.returncode:
        raise Halted(f"Kafka cannot format {file.parent}: {done.stderr.strip() or done.stdout.strip()}")


LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %c{1}: %m%n
logger.start.name = kafka.server.KafkaRaftServer
logger.start.level = info
"""
