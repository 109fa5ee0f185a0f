"""The embedded schema registry: Apicurio, which speaks Confluent's API, on its own database of the embedded Postgres.

Owns its version and configuration. Schemas lie in the database, so ids outlive a restart: records that name an id stay
readable.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from adriatic.stack import artifacts, jvm, ports
from runtime.settings import Settings

VERSION = "3.3.3"
ARCHIVE = artifacts.Pinned(
    group="io.apicurio",
    name="apicurio-registry-app",
    version=VERSION,
    classifier="all",
    packaging="tar.gz",
    sha256="8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
)
HEAP_MIB_MAX = 160
PROBE_TIMEOUT_S = 5.0
CONFLUENT_PATH = "/apis/ccompat/v7"


def unpack(progress: Callable[[], artifacts.DownloadProgress]) -> Path:
    """The unpacked registry, fetched when it is not in the cache."""
    return artifacts.directory(f"registry-{VERSION}", [ARCHIVE], progress, unpack=True)


def launch(unpacked: Path) -> jvm.Launch:
    """Its main class on one flat class path, in the order of its own launcher (what the build rewrote comes first).
    The launcher loads classes in a way that a start cache cannot hold, and the cache is most of a fast start."""
    quarkus = unpacked / "quarkus"
    libraries = [jar for folder in ("app", "lib/boot", "lib/main") for jar in sorted((unpacked / folder).glob("*.jar"))]
    return jvm.Launch(
        "registry",
        unpacked,
        class_path=[quarkus / "transformed-bytecode.jar", quarkus / "generated-bytecode.jar", *libraries],
        main=("io.quarkus.runner.GeneratedMain",),
        heap_mib_max=HEAP_MIB_MAX,
        flags=(
            # It serves a handful of requests a minute: the second compiler would only cost memory.
            "-XX:TieredStopAtLevel=1",
            # What the manifest of its launcher asks for.
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
        ),
        properties={"java.util.logging.manager": "org.jboss.logmanager.LogManager"},
    )


def train(unpacked: Path, folder: Path) -> jvm.Training:
    """A registry of its own, with its schemas in memory, for making the start cache."""
    chosen = ports.choose(folder, ("registry", "registry_management"), {})
    url = f"http://{ports.LOOPBACK}:{chosen['registry']}{CONFLUENT_PATH}"
    return jvm.Training(launch(unpacked), _listeners(chosen), lambda: answers(url))


def _listeners(chosen: Mapping[str, int]) -> dict[str, str]:
    return {
        "QUARKUS_HTTP_HOST": ports.LOOPBACK,
        "QUARKUS_HTTP_PORT": str(chosen["registry"]),
        # A second listener, which would otherwise be port 9000 on every interface.
        "QUARKUS_MANAGEMENT_HOST": ports.LOOPBACK,
        "QUARKUS_MANAGEMENT_PORT": str(chosen["registry_management"]),
    }


def environment(settings: Settings) -> dict[str, str]:
    postgres = settings.postgres
    return {
        **_listeners(settings.stack.ports),
        "QUARKUS_LOG_LEVEL": "WARN",
        "QUARKUS_LOG_CATEGORY__IO_APICURIO__LEVEL": "WARN",
        "QUARKUS_LOG_CONSOLE_FORMAT": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %c{1}: %s%e%n",
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "postgresql",
        "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://{postgres.host}:{postgres.port}/registry",
        "APICURIO_DATASOURCE_USERNAME": "registry",
        "APICURIO_DATASOURCE_PASSWORD": settings.stack.registry_password.get_secret_value(),
        "APICURIO_DATASOURCE_JDBC_INITIAL-SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN-SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MAX-SIZE": "8",
    }


def answers(url: str) -> str | None:
    """None when the registry lists its subjects, else why not."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", f"{address.path}/subjects")
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return ports.NOT_LISTENING
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return None if status == http.client.OK else f"answers with HTTP {status}"
