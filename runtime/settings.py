"""The settings of a process: one frozen value, read once at the start.

Owns names, defaults, meaning and validation. Refuses to be a global: `load()` is called by the composition root
(`adriatic.cli`), the value is passed down, and no other module reads the environment or a settings file.

Sources, the first that names a setting wins: environment (`ADRIATIC_KAFKA__BOOTSTRAP_SERVERS`), the file
`adriatic.toml` beside the state directory, the record that the embedded stack keeps of its ports and passwords
(`<home>/stack.toml`), the defaults below. All faults are reported together. Secrets are masked when printed; a setting
may say where one is kept instead (`runtime/setting_secrets.py`).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from runtime.errors import Misconfigured
from runtime.secret_references import parse, read_local
from runtime.setting_agents import AgentSettings as AgentSettings  # a section like those below, in its own module
from runtime.setting_crawler import CrawlerSettings as CrawlerSettings  # likewise
from runtime.setting_embedders import EmbedderSettings as EmbedderSettings  # likewise
from runtime.setting_kinds import (
    PORT_MAX,
    WAIT_S_MAX,
    Name,
    OptionalUrl,
    Port,
    Seconds,
    Section,
    Url,
)
from runtime.setting_models import LlmSettings as LlmSettings  # likewise
from runtime.setting_rerankers import RerankerSettings as RerankerSettings  # likewise
from runtime.setting_secrets import SecretSettings as SecretSettings  # likewise
from runtime.setting_secrets import resolve
from runtime.setting_watch import AbuseSettings as AbuseSettings  # likewise
from runtime.setting_watch import AlertSettings as AlertSettings  # likewise
from runtime.setting_watch import RetentionSettings as RetentionSettings  # likewise
from runtime.setting_watch import SearchSettings as SearchSettings  # likewise

ENV_PREFIX = "ADRIATIC_"

Role = Literal["admin", "owner", "api", "flows", "cdc"]
"""Who connects to Postgres: `admin` makes roles and the database, `owner` migrates, the others serve one room each."""

CallerRole = Literal["admin", "member", "service"]
"""Who calls the API: an admin decides for a whole tenant, a member for itself, a service brings in data of others."""

HEARTBEAT_S_MIN = 0.1
"""Each heartbeat is a commit: ten a second are already more than most histories have, in seconds."""
WORKERS_MAX = 64
"""Processes of one API: on a larger machine the database is what ends first."""
LEEWAY_S_MAX = 600
"""Clocks that are ten minutes apart are to be set right, not forgiven, in seconds."""
TEXT_BYTES_MAX = 2_031_616
"""Largest `api.adr_bytes_max`, in bytes: a change can hold a text twice, and its topic takes records of 4 MiB."""
IMPORT_BYTES_MAX = 67_108_864
"""Largest `api.import_bytes_max`, in bytes: a request is held in memory while it is worked on."""
BYTES_MIN = 1_000
"""Smallest limit of a size, in bytes: below it not even short texts fit, and somebody meant kilobytes."""
UPLOAD_BYTES_MAX = 104_857_600
"""Largest `api.upload_bytes_max`, in bytes: an upload is on disk while it arrives, and is read whole by a parser."""
CONNECTIONS_MAX = 262_143
"""Upper end of Postgres's own max_connections."""
REPLICATION_MAX = 32_767
"""Kafka's protocol has 15 bits for it."""


class PostgresSettings(Section):
    """Where the database is, and a password for each of our roles."""

    host: Name = Field("127.0.0.1", description="Name or address of the server.")
    port: Port = Field(5432, description="Port of the server.")
    database: Name = Field("adriatic", description="Database of this system; `adriatic migrate` makes it.")
    sslmode: Literal["disable", "prefer", "require", "verify-full"] = Field(
        "prefer", description="As libpq knows it; `verify-full` over any network that is not yours."
    )
    admin_user: Name = Field("postgres", description="May create roles and databases; only `adriatic migrate` uses it.")
    admin_password: SecretStr = Field(SecretStr(""), description="Password of `admin_user`.")
    owner_password: SecretStr = Field(
        SecretStr(""), description="Password of adriatic_owner, which owns the schemas and migrates."
    )
    api_password: SecretStr = Field(
        SecretStr(""), description="Password of adriatic_api, which sees one tenant a transaction."
    )
    flows_password: SecretStr = Field(
        SecretStr(""), description="Password of adriatic_flows, which maintains the views."
    )
    cdc_password: SecretStr = Field(SecretStr(""), description="Password of adriatic_cdc, which reads the WAL.")
    api_pool_max: int = Field(
        10,
        ge=1,
        le=CONNECTIONS_MAX,
        description="Connections of one API process for its work; two more find out who asks.",
    )

    def user(self, role: Role) -> str:
        return self.admin_user if role == "admin" else f"adriatic_{role}"

    def password(self, role: Role) -> str:
        """The password of `role`, as it is now: one that is kept in a file is read. Raises `Unprepared` when it cannot
        be."""
        said: SecretStr = getattr(self, f"{role}_password")
        reference = parse(said.get_secret_value())
        return read_local(reference) if reference else said.get_secret_value()

    def dsn(self, role: Role, database: str | None = None) -> str:
        """A libpq URL for `role`. It holds the password: never log it, and never keep it, since the password may
        change."""
        return (
            f"postgresql://{self.user(role)}:{quote(self.password(role), safe='')}@{self.host}:{self.port}"
            f"/{database or self.database}?sslmode={self.sslmode}"
        )


class KafkaSettings(Section):
    """Any broker that speaks the Kafka protocol."""

    bootstrap_servers: Name = Field(
        "127.0.0.1:9092", description="Brokers to ask first: host:port, separated by commas."
    )
    replication_factor: int = Field(
        1, ge=1, le=REPLICATION_MAX, description="Of topics that `adriatic topics apply` creates; 3 on a cluster."
    )
    timeout_s: Seconds = Field(5.0, description="One request about topics, offsets or groups, in seconds.")
    client: dict[str, str] = Field(
        default_factory=dict, description="Further librdkafka properties: security.protocol, sasl.mechanism …"
    )
    client_secrets: dict[str, SecretStr] = Field(
        default_factory=dict, description="librdkafka properties that must not be printed: sasl.password …"
    )

    def client_config(self) -> dict[str, str]:
        """What every librdkafka client of ours starts from."""
        secrets = {key: value.get_secret_value() for key, value in self.client_secrets.items()}
        return {"bootstrap.servers": self.bootstrap_servers, **self.client, **secrets}


class RegistrySettings(Section):
    """A schema registry that speaks Confluent's API (Redpanda, Confluent, Apicurio's ccompat)."""

    url: Url = Field("http://127.0.0.1:8081", description="Base of the API, up to where `/subjects` follows.")
    username: str = Field("", description="For basic authentication; empty is none.")
    password: SecretStr = Field(SecretStr(""), description="For basic authentication.")
    timeout_s: Seconds = Field(5.0, description="One request, in seconds.")


class ApiSettings(Section):
    """The HTTP API: where it listens, and its limits."""

    host: Name = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="Port to listen on.")
    workers: int = Field(
        1,
        ge=1,
        le=WORKERS_MAX,
        description="Processes that serve the port together; each has what is said to be of one API process.",
    )
    adr_bytes_max: int = Field(
        1_048_576, ge=BYTES_MIN, le=TEXT_BYTES_MAX, description="Largest text of one ADR version, in bytes of UTF-8."
    )
    import_bytes_max: int = Field(
        8_388_608, ge=BYTES_MIN, le=IMPORT_BYTES_MAX, description="Largest request of an import, in bytes."
    )
    live_readers_max: int = Field(
        256, gt=0, le=10_000, description="Live reads that one API process streams at a time."
    )
    live_readers_per_tenant_max: int = Field(32, gt=0, description="Of these, for one tenant, in one API process.")
    upload_bytes_max: int = Field(
        33_554_432, ge=BYTES_MIN, le=UPLOAD_BYTES_MAX, description="Largest file of an upload, in bytes."
    )
    body_s_max: Seconds = Field(
        30.0, description="Longest wait for a request's body, in seconds, with one more for every 16 KiB that came."
    )
    client_address_header: str = Field(
        "",
        max_length=128,
        description="Header in which the proxy in front says who the caller is, such as `x-forwarded-for`; of several "
        "addresses the last counts. Empty: who connects is the caller.",
    )
    operator_routes: bool = Field(
        False,
        description="Show metrics and the reasons of `/health/ready` here too, and not on the operators' port alone.",
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins whose pages may call the API; none is off.")
    public_url: OptionalUrl = Field(
        "",
        description="How clients reach the API, such as `https://adr.example.com`, where a proxy is in front: clients "
        "of `/mcp` are told so. Empty: as each request came.",
    )


class ObjectSettings(Section):
    """Where the originals of uploaded documents are kept. The API and the jobs must see the same place."""

    kind: Literal["folder", "s3"] = Field(
        "folder", description="`folder` on a disk; `s3` is anything that speaks its API."
    )
    folder: Path | None = Field(None, description="For `folder`; empty is `objects` in the state directory.")
    bucket: str = Field("", description="For `s3`; it exists already.")
    endpoint: OptionalUrl = Field("", description="For `s3`: base of the API; empty is Amazon's.")
    region: Name = Field("us-east-1", description="For `s3`.")
    access_key_id: str = Field("", description="For `s3`; empty asks the machine's own role.")
    secret_access_key: SecretStr = Field(SecretStr(""), description="For `s3`.")

    @model_validator(mode="after")
    def _complete(self) -> ObjectSettings:
        if self.kind == "s3" and not self.bucket:
            raise ValueError("objects.kind s3 needs objects.bucket")
        return self


class AuthSettings(Section):
    """Who signs the bearer tokens. Without `jwks_url`, the local issuer does (its key is in the state directory)."""

    issuer: Name = Field("adriatic-local", description="What `iss` of a token must be.")
    audience: Name = Field("adriatic", description="What `aud` of a token must contain.")
    jwks_url: OptionalUrl = Field(
        "", description="Where the identity provider publishes its keys; empty uses the local issuer."
    )
    tenant_claim: Name = Field("tenant_id", description="The claim that names the tenant.")
    role_claim: Name = Field(
        "roles", description="The claim that names roles, as a list or with spaces; `realm_access.roles` looks inside."
    )
    admin_values: tuple[Name, ...] = Field(("admin",), min_length=1, description="Values of it that make an admin.")
    service_values: tuple[Name, ...] = Field(
        ("service",), min_length=1, description="Values of it that make a service: a machine that brings in data."
    )
    default_role: CallerRole = Field(
        "member", description="Role of a token without the claim. With it, and no value that is known, it is a member."
    )
    leeway_s: int = Field(30, ge=0, le=LEEWAY_S_MAX, description="Clock difference that is forgiven, in seconds.")


class LimitSettings(Section):
    """How much of the models somebody may use. 0: no limit. Answers that ask no model are not counted."""

    user_requests_per_minute: int = Field(100, ge=0, description="Questions of one user, in a minute of the clock.")
    user_streams: int = Field(5, ge=0, description="Answers of one user at a time, over all API processes.")
    user_tokens_per_day: int = Field(100_000, ge=0, description="Tokens of one user, in a day (UTC).")
    new_user_requests: int = Field(10, ge=0, description="Questions of a user in the first 24 hours.")
    key_tokens_per_day: int = Field(0, ge=0, description="Tokens of one credential, in a day (UTC).")
    key_tokens_per_month: int = Field(0, ge=0, description="Tokens of one credential, in a month (UTC).")
    tenant_tokens_per_day: int = Field(0, ge=0, description="Tokens of a whole tenant, in a day (UTC).")
    tenant_tokens_per_month: int = Field(0, ge=0, description="Tokens of a whole tenant, in a month (UTC).")


class CdcSettings(Section):
    """Change capture: WAL to topics."""

    slot: str = Field("adriatic", pattern=r"^[a-z0-9_]{1,63}$", description="Name of the replication slot.")
    publication: Name = Field("adriatic", description="Name of the publication that the slot reads.")
    prefix: str = Field(
        "adriatic", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="First part of every capture topic's name."
    )
    heartbeat_s: float = Field(
        1.0,
        ge=HEARTBEAT_S_MIN,
        le=WAIT_S_MAX,
        allow_inf_nan=False,
        description="How often a heartbeat is written to the WAL; bounds freshness.",
    )
    kafka_down_max_s: Seconds = Field(
        20.0,
        description="After this long without the broker the replication connection is closed, so that Postgres "
        "can shut down (it waits for our acknowledgement).",
    )


class TelemetrySettings(Section):
    """Logs, traces, and the operators' port of one process."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe line that is written."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json` is one object a line; `console` is for eyes."
    )
    otlp_endpoint: OptionalUrl = Field("", description="OpenTelemetry collector over HTTP; empty is off.")
    ops_host: Name = Field("127.0.0.1", description="Address of this process's health and metrics.")
    ops_port: int = Field(0, ge=0, le=PORT_MAX, description="Port of this process's health and metrics; 0 is none.")


STACK_PROCESSES_MAX = 8
"""Most processes of one flow on one machine. Topics have few partitions, and each process costs memory: beyond it,
another machine."""


class StackSettings(Section):
    """Which outside components this machine runs itself, and what was decided once for them (kept in `stack.toml`)."""

    postgres: Literal["embedded", "external"] = Field(
        "embedded", description="`external`: nothing is started here, `postgres.*` says where the server is."
    )
    kafka: Literal["embedded", "external"] = Field("embedded", description="`external`: `kafka.*` says where it is.")
    registry: Literal["embedded", "external"] = Field(
        "embedded", description="`external`: `registry.*` says where it is; `embedded` needs an embedded Postgres."
    )
    processes: int = Field(
        1,
        ge=1,
        le=STACK_PROCESSES_MAX,
        description="How many processes of each flow and agent run here; they share the partitions of their topics.",
    )
    instance: str = Field("", description="Recorded: names this copy's state where it lies outside the home.")
    postgres_data: Path | None = Field(None, description="Recorded: the embedded server's data directory.")
    registry_password: SecretStr = Field(SecretStr(""), description="Recorded: of the registry's database role.")
    ports: dict[str, Port] = Field(default_factory=dict, description="Recorded: one loopback port a listener.")


class Settings(BaseSettings):
    """Everything that can be set. See the module docstring for where it comes from."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    home: Path = Field(
        Path(".adriatic"), description="State directory: what the embedded stack keeps, and the local key."
    )
    postgres: PostgresSettings = PostgresSettings()
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    api: ApiSettings = ApiSettings()
    objects: ObjectSettings = ObjectSettings()
    auth: AuthSettings = AuthSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    reranker: RerankerSettings = RerankerSettings()
    llm: LlmSettings = LlmSettings()
    secrets: SecretSettings = SecretSettings()
    limits: LimitSettings = LimitSettings()
    alerts: AlertSettings = AlertSettings()
    abuse: AbuseSettings = AbuseSettings()
    agents: AgentSettings = AgentSettings()
    retention: RetentionSettings = RetentionSettings()
    search: SearchSettings = SearchSettings()
    crawler: CrawlerSettings = CrawlerSettings()
    cdc: CdcSettings = CdcSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    stack: StackSettings = StackSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        tomls = (TomlConfigSettingsSource(settings_cls, file) for file in _files() if file.is_file())
        return (init_settings, env_settings, *tomls)


def _files() -> tuple[Path, Path]:
    home = find_home()
    return (home.parent / "adriatic.toml", home / "stack.toml")


def sources() -> list[tuple[str, dict[str, Any]]]:
    """What each source says, as nested values that are not validated; the first that names a setting wins."""
    said = [("environment", EnvSettingsSource(Settings)())]
    said += [(file.name, TomlConfigSettingsSource(Settings, file)()) for file in _files() if file.is_file()]
    return said


def unknown_variables() -> list[str]:
    """Environment variables that look like settings and are none: most likely a name with a slip."""
    sections = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.startswith(ENV_PREFIX)
        and not name.startswith(f"{ENV_PREFIX}TEST_")
        and name.partition("__")[0].upper() not in sections
    )


def find_home() -> Path:
    """The state directory: `ADRIATIC_HOME`, else the nearest `.adriatic` at or above the working directory, else a new
    one beside the source tree that this package runs from, else in the working directory."""
    if named := os.environ.get("ADRIATIC_HOME"):
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".adriatic").is_dir():
            return folder / ".adriatic"
    source = Path(__file__).resolve().parent.parent
    return (source if (source / "pyproject.toml").is_file() else here) / ".adriatic"


def load(**overrides: Any) -> Settings:
    """Read the settings once. A variable that is no setting does not end a process that is otherwise well set.

    A secret that is kept elsewhere is read here, but for keys of models, which are read while the process runs.

    Raises `Misconfigured` with every fault, one a line; then also with the variables that are no settings.
    """
    try:
        values, faults = resolve(Settings(**{"home": find_home(), **overrides}))
        if not faults:
            return values
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {_why(fault['msg'])}" for fault in error.errors()]
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        faults = [f"{error}: {error.__cause__}" if error.__cause__ else str(error)]
    raise _report_faults(faults)


def check() -> Settings:
    """Like `load`, and refuses variables that look like settings and are none."""
    values = load()
    if unknown_variables():
        raise _report_faults([])
    return values


def _report_faults(faults: list[str]) -> Misconfigured:
    faults = [*faults, *(f"{name}: no such setting" for name in unknown_variables())]
    listed = "\n".join(f"  {fault}" for fault in faults)
    return Misconfigured(
        f"{len(faults)} setting(s) are wrong:\n{listed}",
        hint="`adriatic settings --markdown` lists names and meanings; sections end in __",
    )


def _why(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
