"""AWS Secrets Manager through its library, against a server that speaks its JSON 1.1."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from connectors.secrets.aws import AwsSource
from runtime.errors import DependencyUnavailable, Misconfigured, Unprepared
from runtime.secret_references import parse
from runtime.settings import SecretSettings
from tests.connectors.secrets.stores import AwsStandIn, serving


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> AwsStandIn:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-key")
    store = AwsStandIn()
    store.kept = {"adriatic/llm": json.dumps({"openai": "key-1", "number": 7}), "plain": "key-2"}
    return store


@pytest.fixture
def url(kept: AwsStandIn) -> Iterator[str]:
    with serving(kept) as address:
        yield address


async def read(url: str, place: str) -> str:
    reference = parse(place)
    assert reference
    source = AwsSource(SecretSettings(aws_region="eu-west-1", aws_endpoint=url))
    try:
        return await source.read(reference)
    finally:
        await source.close()


async def test_a_field_or_the_whole_text(url: str) -> None:
    assert await read(url, "aws:adriatic/llm#openai") == "key-1"
    assert await read(url, "aws:plain") == "key-2"


@pytest.mark.parametrize("place", ["aws:adriatic/llm#other", "aws:adriatic/llm#number", "aws:plain#openai"])
async def test_a_field_that_is_not_there(url: str, place: str) -> None:
    with pytest.raises(Unprepared, match="no such text"):
        await read(url, place)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ResourceNotFoundException", Unprepared),
        ("AccessDeniedException", Unprepared),
        ("DecryptionFailure", Unprepared),
        ("InternalServiceError", DependencyUnavailable),
        ("ThrottlingException", DependencyUnavailable),
    ],
)
async def test_a_refusal_says_its_code_and_quotes_nothing(
    kept: AwsStandIn, url: str, code: str, kind: type[Exception]
) -> None:
    kept.code = code
    with pytest.raises(kind, match=code) as caught:
        await read(url, "aws:adriatic/llm#openai")
    assert type(caught.value) is kind
    assert "key-1" not in str(caught.value)


async def test_nobody_listens(kept: AwsStandIn) -> None:
    with pytest.raises(DependencyUnavailable, match="cannot be asked"):
        await read("http://127.0.0.1:1", "aws:plain")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(Misconfigured) as caught:
        AwsSource(SecretSettings())
    assert "adriatic[aws]" in caught.value.hint
