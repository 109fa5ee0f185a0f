"""`adriatic migrate`, `topics` and `schemas`: what they print and the codes that they end with."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from adriatic import cli
from adriatic.cli.schemas import register_all
from connectors.registry import RegistryClient
from runtime.settings import Settings
from schemas import catalog, releases
from topics import catalog as topics

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The installed command in this process: its exit code, standard output and standard error."""
    monkeypatch.setenv("ADRIATIC_HOME", str(tmp_path / ".adriatic"))

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["adriatic", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses at which nobody answers."""
    monkeypatch.setenv("ADRIATIC_POSTGRES__PORT", "1")
    monkeypatch.setenv("ADRIATIC_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("ADRIATIC_REGISTRY__URL", "http://127.0.0.1:1")


def use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the command use the components of the fixtures."""
    postgres = settings.postgres
    for name in ("host", "port", "database", "sslmode", "admin_user"):
        monkeypatch.setenv(f"ADRIATIC_POSTGRES__{name.upper()}", str(getattr(postgres, name)))
    for role in ("admin", "owner", "api", "flows", "cdc"):
        password = getattr(postgres, f"{role}_password").get_secret_value()
        monkeypatch.setenv(f"ADRIATIC_POSTGRES__{role.upper()}_PASSWORD", password)
    monkeypatch.setenv("ADRIATIC_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)
    monkeypatch.setenv("ADRIATIC_KAFKA__TIMEOUT_S", str(settings.kafka.timeout_s))
    monkeypatch.setenv("ADRIATIC_REGISTRY__TIMEOUT_S", str(settings.registry.timeout_s))
    monkeypatch.setenv("ADRIATIC_REGISTRY__URL", settings.registry.url)
    monkeypatch.setenv("ADRIATIC_REGISTRY__USERNAME", settings.registry.username)
    monkeypatch.setenv("ADRIATIC_REGISTRY__PASSWORD", settings.registry.password.get_secret_value())


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "command",
    [
        ("migrate", "--wait", "0"),
        ("topics", "plan", "--wait", "0"),
        ("topics", "check", "--wait", "0"),
        ("topics", "apply", "--wait", "0"),
        ("schemas", "register", "--wait", "0"),
        ("schemas", "generate"),
    ],
    ids=" ".join,
)
def test_without_an_answer_the_code_is_three_and_the_reason_is_said(command: tuple[str, ...], run: Run) -> None:
    code, out, err = run(*command)
    assert (code, out) == (3, "")
    assert err.startswith("dependency-unavailable: ")
    assert "hint: " in err


@pytest.mark.parametrize("command", [("topics", "plan", "--nope"), ("schemas", "check", "--against", "no-such-ref")])
def test_wrong_usage_is_two(command: tuple[str, ...], run: Run) -> None:
    assert run(*command)[0] == 2


def test_lists_ask_nobody(run: Run) -> None:
    code, out, _ = run("topics", "list", "--json")
    assert code == 0
    assert {topic["name"] for topic in json.loads(out)} == set(topics.load())
    code, out, _ = run("schemas", "list", "--json")
    assert code == 0
    assert set(json.loads(out)) == set(catalog.subjects())
    for command in (("topics", "list"), ("schemas", "list")):
        code, out, _ = run(*command)
        assert code == 0
        assert "embeddings.requested" in out


# --- schemas check --------------------------------------------------------------------------------------------------


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A repository whose releases are made by the function that this gives: name of a tag, then changed contracts."""
    folder = tmp_path / "repository" / "schemas" / "avro"
    shutil.copytree(catalog.AVRO_FOLDER, folder)
    monkeypatch.setattr(releases, "ReleaseHistory", lambda: Original(folder))

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    def release(tag: str, **changed: Any) -> None:
        for subject, schema in changed.items():
            (folder / f"{subject}.avsc").write_text(json.dumps(schema))
        git("add", ".")
        git("commit", "--allow-empty", "-qm", tag)
        git("tag", tag)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "before any release")
    return release


Original = releases.ReleaseHistory


def with_field(subject: str, name: str, **changed: Any) -> dict[str, Any]:
    """A contract as an earlier release might have had it: one field another one."""
    schema = json.loads(json.dumps(catalog.schema(subject)))
    field = next(field for field in schema["fields"] if field["name"] == name)
    field.update(changed)
    built: dict[str, Any] = schema
    return built


@pytest.mark.usefixtures("history")
def test_without_a_release_there_is_nothing_to_break(run: Run) -> None:
    code, out, _ = run("schemas", "check")
    assert (code, "no release yet" in out) == (0, True)


def test_contracts_of_a_release_that_were_not_changed_pass(history: Callable[..., None], run: Run) -> None:
    history("v0.1")
    code, out, _ = run("schemas", "check")
    assert (code, out) == (0, "compatible with v0.1\n")


def test_a_breaking_change_names_field_rule_and_order(history: Callable[..., None], run: Run) -> None:
    history("v0.1", **{"embeddings.requested-value": with_field("embeddings.requested-value", "space", type="int")})
    code, out, _ = run("schemas", "check")
    assert code == 1
    assert "embeddings.requested-value space: type-changed (new-reads-old, against v0.1)" in out
    assert "fix: keep the type" in out
    assert "order: every reader must be upgraded before the first writer" in out
    code, out, _ = run("schemas", "check", "--json")
    assert {finding["path"] for finding in json.loads(out)["findings"]} == {"space"}


def test_every_release_counts_and_each_version_once(history: Callable[..., None], run: Run) -> None:
    broken = with_field("job.progress-value", "state", type="int")
    history("v0.1", **{"job.progress-value": broken})
    history("v0.2")
    history("v0.3", **{"job.progress-value": catalog.schema("job.progress-value")})
    code, out, _ = run("schemas", "check", "--json")
    assert code == 1
    assert {finding["against"] for finding in json.loads(out)["findings"]} == {"v0.2"}
    assert run("schemas", "check", "--against", "v0.3")[0] == 0


def test_a_contract_that_is_gone_is_said(history: Callable[..., None], run: Run) -> None:
    history("v0.1", **{"old.topic-value": {"type": "record", "name": "Old", "fields": []}})
    code, out, _ = run("schemas", "check")
    assert code == 1
    assert "old.topic-value: contract-removed" in out


def test_outside_of_git_the_gate_cannot_tell(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "ReleaseHistory", lambda: Original(tmp_path))
    assert run("schemas", "check")[0] == 3


# --- with the real components ---------------------------------------------------------------------------------------


@pytest.mark.stack
def test_migrate_twice(fresh_database: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(fresh_database, monkeypatch)
    code, out, _ = run("migrate")
    assert (code, "nothing to do" in out) == (0, True)
    code, out, _ = run("migrate", "--no-bootstrap", "--json")
    assert code == 0
    assert json.loads(out)["applied"] == []


@pytest.mark.stack
def test_a_database_from_before_the_baseline_is_told_what_to_do(
    fresh_database: Settings, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(fresh_database, monkeypatch)
    with psycopg.connect(fresh_database.postgres.dsn("owner"), autocommit=True) as owner:
        owner.execute("update ops.migrations set name = 'adrs', checksum = 'of another file' where number = 2")
    code, out, err = run("migrate")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "halted: this database was made before the baseline of 0.1.0, and has another 0002_adrs",
        "hint: it cannot be migrated: delete it (`adriatic reset`), then import what was in it again",
    ]


@pytest.mark.stack
def test_generate_finds_what_is_out_of_date(
    fresh_database: Settings, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(fresh_database, monkeypatch)
    folder = tmp_path / "avro"
    shutil.copytree(catalog.AVRO_FOLDER, folder)
    monkeypatch.setattr(catalog, "AVRO_FOLDER", folder)
    assert run("schemas", "generate", "--check")[0] == 0
    (folder / "adriatic.app.adrs-value.avsc").unlink()
    code, out, _ = run("schemas", "generate", "--check")
    assert (code, out) == (1, "out of date adriatic.app.adrs-value.avsc\n")
    assert run("schemas", "generate")[:2] == (0, "wrote adriatic.app.adrs-value.avsc\n")
    assert run("schemas", "generate")[:2] == (0, "up to date\n")


@pytest.mark.stack
def test_topics_are_planned_applied_and_in_sync(stack: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"test-{uuid4().hex[:8]}."
    ours = {
        prefix + topic.name: msgspec.structs.replace(topic, name=prefix + topic.name, partitions=1)
        for topic in topics.load().values()
        if topic.name.startswith("job.progress")
    }
    monkeypatch.setattr(topics, "load", lambda: ours)
    use(stack, monkeypatch)
    try:
        code, out, _ = run("topics", "plan")
        assert code == 1
        assert out.count("+ ") == len(ours)
        assert run("topics", "check")[:2] == (1, "2 change(s) pending, 0 refused: see `adriatic topics plan`\n")
        assert run("topics", "apply")[0] == 0
        assert run("topics", "plan")[:2] == (0, "in sync\n")
        assert run("topics", "check")[:2] == (0, "in sync\n")
        code, out, _ = run("topics", "apply", "--json")
        assert (code, json.loads(out)["done"]) == (0, [])
        ours[prefix + "job.progress"] = msgspec.structs.replace(ours[prefix + "job.progress"], partitions=2)
        code, out, _ = run("topics", "apply")
        assert (code, out.startswith("! ")) == (1, True)
        assert run("topics", "apply", "--allow-partition-growth")[0] == 0
    finally:
        client = AdminClient({**stack.kafka.client_config()})  # of one that is collected, no answer ever comes
        for future in client.delete_topics(list(ours)).values():
            future.exception(60)


@pytest.mark.stack
def test_contracts_are_registered_once_and_a_bad_one_stops_all(stack: Settings) -> None:
    prefix = f"test-{uuid4().hex[:8]}."
    subject, other = f"{prefix}job.progress-value", f"{prefix}crawl.submitted-value"
    schema = catalog.schema("job.progress-value")
    with RegistryClient(stack.registry) as registry:
        (first,) = register_all(registry, {subject: schema})
        (again,) = register_all(registry, {subject: schema})
        assert (first.state, again.state, first.schema_id) == ("registered", "unchanged", again.schema_id)
        assert registry.level(subject) == "FULL_TRANSITIVE"
        bad = with_field("job.progress-value", "state", type="int")
        (refused,) = register_all(registry, {other: catalog.schema("crawl.submitted-value"), subject: bad})
        assert (refused.subject, refused.state) == (subject, "refused")
        assert refused.reasons
        assert registry.versions(other) == [], "all or none"


@pytest.mark.stack
def test_register_as_installed(stack: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(stack, monkeypatch)
    code, out, _ = run("schemas", "register", "--json")
    assert code == 0
    assert {outcome["subject"] for outcome in json.loads(out)} == set(catalog.subjects())
    code, out, _ = run("schemas", "register")
    assert code == 0
    assert out.count("unchanged") == len(catalog.subjects())
