"""Settings: who wins, what is refused, what is never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime import settings
from runtime.errors import Misconfigured
from runtime.settings import Role, load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory, and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(settings.ENV_PREFIX):
            monkeypatch.delenv(name)
    folder = tmp_path / ".adriatic"
    folder.mkdir()
    monkeypatch.setenv("ADRIATIC_HOME", str(folder))
    return folder


def test_defaults_need_nothing(home: Path) -> None:
    values = load()
    assert values.home == home
    assert values.kafka.bootstrap_servers == "127.0.0.1:9092"


def test_environment_beats_file_beats_recorded_stack(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "stack.toml").write_text('[kafka]\nbootstrap_servers = "stack:1"\nreplication_factor = 2\n[api]\nport = 1')
    (home.parent / "adriatic.toml").write_text('[kafka]\nbootstrap_servers = "file:1"\nreplication_factor = 3')
    monkeypatch.setenv("ADRIATIC_KAFKA__BOOTSTRAP_SERVERS", "environment:1")
    values = load()
    assert values.kafka.bootstrap_servers == "environment:1"
    assert values.kafka.replication_factor == 3
    assert values.api.port == 1


def test_all_faults_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_POSTGRES__PORT", "many")
    monkeypatch.setenv("ADRIATIC_API__PORT", "none")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "postgres.port" in caught.value.detail
    assert "api.port" in caught.value.detail
    assert caught.value.hint


def test_a_slip_in_a_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_KAFKA__BOOTSTRAP_SERVER", "x:1")
    with pytest.raises(Misconfigured, match=r"kafka\.bootstrap_server"):
        load()


def test_a_slip_in_a_sections_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_KAFAK__BOOTSTRAP_SERVERS", "x:1")
    monkeypatch.setenv("ADRIATIC_TEST_STACK", "for the tests, no setting")
    assert settings.unknown_variables() == ["ADRIATIC_KAFAK__BOOTSTRAP_SERVERS"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTGRES__PORT", "0"),
        ("POSTGRES__API_POOL_MAX", "0"),
        ("KAFKA__REPLICATION_FACTOR", "0"),
        ("KAFKA__BOOTSTRAP_SERVERS", ""),
        ("REGISTRY__TIMEOUT_S", "0"),
        ("REGISTRY__TIMEOUT_S", "nan"),
        ("API__PORT", "65536"),
        ("API__ADR_BYTES_MAX", "-1"),
        ("API__IMPORT_BYTES_MAX", "99999999999"),
        ("AUTH__LEEWAY_S", "-1"),
        ("AUTH__LEEWAY_S", "601"),
        ("EMBEDDER__DIMENSION", "16001"),
        ("EMBEDDER__BATCH_MAX", "0"),
        ("CDC__HEARTBEAT_S", "0"),
        ("CDC__SLOT", "My Slot"),
        ("TELEMETRY__OPS_PORT", "-1"),
        ("STACK__PORTS", '{"api": 70000}'),
        ("KAFKA__CLIENT", "not JSON"),
        *((name, url) for name in ("REGISTRY__URL", "EMBEDDER__BASE_URL") for url in ("", "host:81", "http://[")),
        *((name, url) for name in ("AUTH__JWKS_URL", "TELEMETRY__OTLP_ENDPOINT") for url in ("x", "http://a b/")),
    ],
)
def test_a_value_that_can_mean_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"ADRIATIC_{variable}", value)
    section = variable.partition("__")[0].lower()
    with pytest.raises(Misconfigured, match=section):
        load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTH__JWKS_URL", ""),
        ("AUTH__JWKS_URL", "https://[::1]:8443/keys?a=b"),
        ("TELEMETRY__OTLP_ENDPOINT", ""),
        ("TELEMETRY__OPS_PORT", "0"),
        ("AUTH__LEEWAY_S", "0"),
        ("EMBEDDER__THREADS", "0"),
        ("REGISTRY__TIMEOUT_S", "0.5"),
    ],
)
def test_the_ends_of_the_ranges_are_taken(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"ADRIATIC_{variable}", value)
    assert load()


def test_a_file_that_is_not_toml_is_a_fault(home: Path) -> None:
    (home.parent / "adriatic.toml").write_text("[api\nport = 1")
    with pytest.raises(Misconfigured, match="line 1"):
        load()


def test_variables_that_are_no_settings_are_listed_with_the_other_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_KAFAK__X", "1")
    assert load()
    with pytest.raises(Misconfigured, match="ADRIATIC_KAFAK__X: no such setting"):
        settings.check()
    monkeypatch.setenv("ADRIATIC_API__PORT", "0")
    for read in (load, settings.check):
        with pytest.raises(Misconfigured, match=r"^2 setting") as caught:
            read()
        assert "api.port" in caught.value.detail
        assert "ADRIATIC_KAFAK__X" in caught.value.detail


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADRIATIC_POSTGRES__API_PASSWORD", "geheim")
    monkeypatch.setenv("ADRIATIC_KAFKA__CLIENT_SECRETS", '{"sasl.password": "geheim"}')
    values = load()
    assert "geheim" not in repr(values)
    assert "geheim" not in str(values.model_dump())
    assert "geheim" in values.postgres.dsn("api")
    assert values.kafka.client_config()["sasl.password"] == "geheim"


def test_settings_do_not_change_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().kafka.bootstrap_servers = "x:1"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"SMTP_HOST": "mail"}, "needs alerts.email_from and alerts.email_to"),
        ({"WEBHOOK_URL": "hooks.example/secret"}, "should be an address"),
        ({"SLACK_URL": "file:///secret"}, "should be an address"),
        ({"SMTP_HOST": "mail", "EMAIL_FROM": "a@b", "EMAIL_TO": '["a@b\\nBcc: c@d"]'}, "email_to"),
    ],
)
def test_where_alerts_go_is_whole_and_no_secret_is_shown(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], fault: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"ADRIATIC_ALERTS__{name}", value)
    with pytest.raises(Misconfigured) as wrong:
        load()
    assert fault in str(wrong.value)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("role", "user"), [("admin", "postgres"), ("api", "adriatic_api"), ("flows", "adriatic_flows")]
)
def test_each_role_connects_as_itself(role: Role, user: str) -> None:
    assert load().postgres.dsn(role).startswith(f"postgresql://{user}:")


def test_the_home_is_the_nearest_one_above(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = home.parent / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.delenv("ADRIATIC_HOME")
    monkeypatch.chdir(inner)
    assert settings.find_home() == home


MODELS = """
[llm.keys]
one = "secret-1"

[[llm.models]]
name = "good"
fallbacks = ["fast"]

[[llm.models.targets]]
provider = "anthropic"
model = "large"
key = "one"

[[llm.models]]
name = "fast"

[[llm.models.targets]]
provider = "openai"
model = "small"
"""


def test_models_come_from_the_file_and_their_keys_from_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.parent / "adriatic.toml").write_text(MODELS)
    monkeypatch.setenv("ADRIATIC_LLM__KEYS", '{"one": "secret-2"}')
    llm = load().llm
    assert [model.name for model in llm.models] == ["good", "fast"]
    first = llm.for_target(llm.models[0].targets[0])
    assert (first.provider, first.model, first.api_key.get_secret_value()) == ("anthropic", "large", "secret-2")
    assert "secret" not in str(llm)


@pytest.mark.parametrize(
    ("said", "instead", "fault"),
    [
        ('"fast"]', '"slow"]', "falls back to slow"),
        ('name = "fast"', 'name = "good"', "the same name"),
        ('key = "one"', 'key = "two"', "llm.keys has no two"),
        ('key = "one"', "", "needs llm.api_key"),
        ('model = "small"', "", "needs llm.model"),
        ('"small"\n', '"small"\nname = "anthropic/large"\n', "two different targets"),
        ("[llm.keys]", '[llm]\nmodel = "m"\n[llm.keys]', "say it in one way"),
        ('name = "fast"', 'name = "fast"\nweigth = 1', "weigth"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(home: Path, said: str, instead: str, fault: str) -> None:
    assert said in MODELS
    (home.parent / "adriatic.toml").write_text(MODELS.replace(said, instead))
    with pytest.raises(Misconfigured) as caught:
        load()
    assert fault in caught.value.detail


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"PROVIDER": "gemini", "MODEL": "m"}, "llm.provider gemini needs llm.api_key"),
        ({"PROVIDER": "anthropic", "MODEL": "m"}, "llm.provider anthropic needs llm.api_key"),
        ({"PROVIDER": "gemini", "API_KEY": "k"}, "llm.provider gemini needs llm.model"),
        ({"PROVIDER": "openai"}, "llm.provider openai needs llm.model"),
        ({"PROVIDER": "openai", "MODEL": "m"}, ""),
        ({"PROVIDER": "gemini", "MODEL": "m", "API_KEY": "k"}, ""),
    ],
)
def test_a_model_is_named_and_a_key_given_where_one_is_needed(
    given: dict[str, str], missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"ADRIATIC_LLM__{name}", value)
    if not missing:
        assert load().llm.provider == given["PROVIDER"].lower()
        return
    with pytest.raises(Misconfigured) as caught:
        load()
    assert missing in caught.value.detail
