"""What leaves for a provider beside the prompt: who asks, as a pseudonym; that nothing is kept; and to which hosts."""

from __future__ import annotations

import stat
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import ValidationError

from connectors.llm import Event, Failed, anthropic, build, gemini, openai
from connectors.llm.prompts import ask
from connectors.llm.pseudonyms import FILE, Pseudonyms
from runtime.settings import LlmSettings
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import standing_in

PROMPT = msgspec.structs.replace(ask("Be brief.", "Why?", (), 100), user="pseudonym-1")
REMOTE = LlmSettings.model_validate({"provider": "openai", "model": "m"})
TENANT, OTHER, ADA, BOB = (UUID(int=number) for number in range(1, 5))
SCRIPTS = {
    "anthropic": [recorded.ANTHROPIC_START, recorded.anthropic_text("x"), recorded.ANTHROPIC_END],
    "openai": [recorded.OPENAI_START, recorded.openai_text("x"), recorded.OPENAI_END],
    "gemini": [recorded.gemini_text("x"), recorded.GEMINI_END],
}


def settings(provider: str, base_url: str = "", **more: Any) -> LlmSettings:
    return LlmSettings.model_validate(
        {"provider": provider, "model": "m", "base_url": base_url, "api_key": "key-1", **more}
    )


async def events_of(made: LlmSettings) -> list[Event]:
    provider = build(made)
    async with aclosing(provider.stream(PROMPT)) as events:
        found = [event async for event in events]
    await provider.close()
    return found


async def sent(provider: str, **more: Any) -> dict[str, Any]:
    """The body of a request at a server that is not the maker's own."""
    async with standing_in() as server:
        server.script = SCRIPTS[provider]
        await events_of(settings(provider, f"{server.url}/v1" if provider == "openai" else server.url, **more))
        (request,) = server.requests
        return request


# --- pseudonyms -----------------------------------------------------------------------------------------------------


def test_a_pseudonym_is_the_same_each_time_and_another_for_each_tenant_and_key() -> None:
    names = Pseudonyms(b"key-1")
    assert names.name(TENANT, ADA) == names.name(TENANT, ADA)
    others = {names.name(TENANT, BOB), names.name(OTHER, ADA), Pseudonyms(b"key-2").name(TENANT, ADA)}
    assert len({names.name(TENANT, ADA), *others}) == 4


def test_a_pseudonym_has_nothing_of_the_user_and_fits_every_provider() -> None:
    name = Pseudonyms(b"key-1").name(TENANT, ADA)
    assert len(name) == 64
    assert ADA.hex not in name


def test_the_key_is_a_private_file_that_stays(tmp_path: Path) -> None:
    first, again = (Pseudonyms.open(tmp_path, REMOTE) for _ in range(2))
    assert first
    assert again
    assert first.name(TENANT, ADA) == again.name(TENANT, ADA)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_key_of_the_settings_makes_no_file(tmp_path: Path) -> None:
    made = Pseudonyms.open(tmp_path, settings("anthropic", user_key="key-1"))
    assert made
    assert made.name(TENANT, ADA) == Pseudonyms(b"key-1").name(TENANT, ADA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made", [settings("anthropic", send_user="never"), LlmSettings(), settings("gemini")])
def test_nobody_to_tell_needs_no_key(tmp_path: Path, made: LlmSettings) -> None:
    assert Pseudonyms.open(tmp_path, made) is None
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_the_key_answers_go_on(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, where the folder should be")
    assert Pseudonyms.open(tmp_path / "home", REMOTE) is None


# --- what is sent ---------------------------------------------------------------------------------------------------


async def test_anthropic_hears_who_asks_in_its_metadata() -> None:
    assert (await sent("anthropic"))["metadata"] == {"user_id": "pseudonym-1"}


def test_openai_itself_hears_who_asks_and_that_nothing_is_to_be_kept() -> None:
    for host in ("", "https://api.openai.com/v1", "https://eu.api.openai.com/v1"):
        privacy = openai.encode_privacy(PROMPT, settings("openai", host))
        assert privacy == {"store": False, "safety_identifier": "pseudonym-1"}


async def test_other_servers_of_the_dialect_get_no_field_that_they_may_not_know() -> None:
    assert {"user", "safety_identifier", "store", "metadata"} & set(await sent("openai")) == set()
    wished = await sent("openai", send_user="always")
    assert wished["user"] == "pseudonym-1"
    assert {"safety_identifier", "store"} & set(wished) == set()


async def test_google_itself_is_asked_to_keep_nothing() -> None:
    assert "store" not in await sent("gemini")
    provider = build(settings("gemini"))
    assert isinstance(provider, gemini.GeminiProvider)
    assert provider._encode(PROMPT)["store"] is False


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini"])
async def test_nothing_else_says_who_asks(provider: str) -> None:
    async with standing_in() as server:
        server.script = SCRIPTS[provider]
        await events_of(settings(provider, f"{server.url}/v1" if provider == "openai" else server.url))
        (headers,) = server.seen_headers
    assert "pseudonym-1" not in str(headers)


# --- where to -------------------------------------------------------------------------------------------------------


def test_the_hosts_of_the_makers_are_those_that_are_asked() -> None:
    bases = {"anthropic": anthropic.BASE_URL, "openai": openai.BASE_URL, "gemini": gemini.BASE_URL}
    for provider, base in bases.items():
        assert settings(provider).host == settings(provider, base).host


@pytest.mark.parametrize("pattern", ["models.example", "*.example", "MODELS.EXAMPLE"])
def test_an_allowed_host_is_asked(pattern: str) -> None:
    settings("openai", "https://models.example:8443/v1", allowed_hosts=[pattern])


@pytest.mark.parametrize("pattern", ["example", "odels.example", "*.models.example", "api.openai.com"])
def test_any_other_host_is_refused_at_the_start(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"models\.example is none of llm\.allowed_hosts"):
        settings("openai", "https://models.example/v1", allowed_hosts=[pattern])


def test_a_target_elsewhere_is_refused_by_its_name() -> None:
    targets = [{"provider": "anthropic", "model": "m", "key": "a"}, {"provider": "openai", "model": "n"}]
    more = {"keys": {"a": "key-1"}, "allowed_hosts": ["api.anthropic.com"]}
    with pytest.raises(ValidationError, match=r"target openai/n: api\.openai\.com is none of"):
        LlmSettings.model_validate({"models": [{"name": "good", "targets": targets}], **more})


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini"])
@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_redirect_is_not_followed(provider: str, status: int) -> None:
    async with standing_in() as server, standing_in() as elsewhere:
        server.status, server.headers = status, {"location": f"{elsewhere.url}/v1/messages"}
        *_, last = await events_of(settings(provider, f"{server.url}/v1" if provider == "openai" else server.url))
        assert elsewhere.requests == []
    assert isinstance(last, Failed)
    assert last.failure.kind == "misconfigured"
    assert f"HTTP {status}" in last.failure.error().detail
