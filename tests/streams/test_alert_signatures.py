"""A webhook that has a secret is signed in the form of Standard Webhooks, anew at each try, by the secret as it is."""

from __future__ import annotations

import time
from base64 import b64encode
from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.settings import AlertSettings
from tests.connectors.test_webhook_signing import is_signed
from tests.patience import until
from tests.streams.test_alerts import alert, deliveries, delivering, hooked, impatient
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

__all__ = ["impatient"]

OLD, NEW = (b"o" * 32, b"n" * 32)


def write(*keys: bytes) -> str:
    return " ".join(f"whsec_{b64encode(key).decode()}" for key in keys)


def test_each_try_is_signed_by_the_secret_as_it_is(bench: Bench, tmp_path: Path) -> None:
    kept = tmp_path / "webhook"
    kept.write_text(write(OLD) + "\n")
    first = alert(bench)
    with hooked(500) as hook:
        settings = AlertSettings(webhook_url=SecretStr(hook.url), webhook_secret=SecretStr(f"file:{kept}"))
        with delivering(bench, settings):
            until(lambda: len(hook.received) >= 2)
            kept.write_text(write(OLD, NEW))
            alert(bench, percent=95)
            until(lambda: len(hook.received) >= 3)
    refused, again, changed = hook.received
    assert refused[0]["webhook-id"] == again[0]["webhook-id"] == str(first)
    assert abs(int(again[0]["webhook-timestamp"]) - time.time()) < 300
    assert is_signed(OLD, *refused)
    assert is_signed(OLD, *again)
    assert not is_signed(NEW, *again)
    assert is_signed(OLD, *changed)
    assert is_signed(NEW, *changed)


def test_a_secret_that_is_none_is_said_without_a_word_of_it(bench: Bench) -> None:
    alert(bench)
    with hooked() as hook:
        settings = AlertSettings(webhook_url=SecretStr(hook.url), webhook_secret=SecretStr("whsec_tooshort"))
        with delivering(bench, settings):
            until(lambda: deliveries(bench).get("webhook", ("",))[0] == "failed")
    assert hook.received == [], "nothing goes out unsigned"
    error = deliveries(bench)["webhook"][2]
    assert "alerts.webhook_secret" in error
    assert "tooshort" not in error
