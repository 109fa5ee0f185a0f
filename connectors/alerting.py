"""Sends an alert to where the settings say: the log, a webhook, a webhook in Slack's form, and e-mail.

Owns the channels, their forms and their bounds. Nothing is sent to a host that the settings do not name: a redirect is
a refusal. Refuses to try again, and to know whether it was sent before (`streams/alerts.py`); whoever gets one twice
knows it by its id.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any, Protocol

import httpx
import msgspec

from connectors.http_errors import translate
from connectors.postgres.spend import AlertMessage
from connectors.webhook_signing import WebhookSigner
from runtime.errors import DependencyUnavailable, Misconfigured
from runtime.logs import get_logger
from runtime.settings import AlertSettings, SecretSettings

POST_S_MAX = 10.0
"""One request to a webhook, from the connection to the status."""
SMTP_S_MAX = 10.0
"""One answer of a mail server. A message takes some eight of them."""
MICRO_USD = 1_000_000

log = get_logger("spend")


class AlertChannel(Protocol):
    """One way out."""

    def send(self, message: AlertMessage) -> None:
        """Raises `DependencyUnavailable` when it is worth trying again, and `Misconfigured` when it is not."""


def channels_of(settings: AlertSettings, secrets: SecretSettings) -> Mapping[str, AlertChannel]:
    """The channels that the settings name; the log always. `secrets` says where a secret of a channel is read."""
    channels: dict[str, AlertChannel] = {"log": LogChannel()}
    if webhook := settings.webhook_url.get_secret_value():
        signer = WebhookSigner(settings.webhook_secret, secrets) if settings.webhook_secret.get_secret_value() else None
        channels["webhook"] = WebhookChannel(webhook, "alerts.webhook_url", describe, signer)
    if slack := settings.slack_url.get_secret_value():
        channels["slack"] = WebhookChannel(slack, "alerts.slack_url", lambda message: {"text": say(message)})
    if settings.smtp_host:
        channels["email"] = EmailChannel(settings)
    return channels


def say(message: AlertMessage) -> str:
    """One sentence for people."""
    of = {"org": "the organisation", "user": f"user {message.subject}", "key": f"key {message.subject}"}[message.level]
    window = "" if message.period == "prepaid" else f" that began on {message.begins:%Y-%m-%d}"
    stopped = " Everything that it covers is stopped." if message.percent > 100 else ""
    return (
        f"{message.tenant}: {message.percent} % of the {message.period} budget of {of}{window} are spent: "
        f"{_dollars(message.spent_micro_usd)} of {_dollars(message.limit_micro_usd)}.{stopped}"
    )


def describe(message: AlertMessage) -> dict[str, Any]:
    """The alert for programs."""
    return {
        "text": say(message),
        "alert_id": str(message.alert_id),
        "tenant_id": str(message.tenant_id),
        "tenant": message.tenant,
        "budget_id": str(message.budget_id),
        "level": message.level,
        "subject": message.subject,
        "period": message.period,
        "begins": message.begins.isoformat(),
        "percent": message.percent,
        "limit_micro_usd": message.limit_micro_usd,
        "spent_micro_usd": message.spent_micro_usd,
        "raised_at": message.raised_at.isoformat(),
    }


def _dollars(micro_usd: int) -> str:
    whole, micro = divmod(micro_usd, MICRO_USD)
    return f"${whole:,}.{micro:06d}"


class LogChannel:
    """Writes a line into the log of this process."""

    def send(self, message: AlertMessage) -> None:
        log.warning("a budget crossed a threshold", **describe(message))


class WebhookChannel:
    """Posts JSON to one address, which may hold a secret and is in no message. `setting` names where it stands; without
    a `signer` nothing is signed."""

    def __init__(self, url: str, setting: str, render: Any, signer: WebhookSigner | None = None) -> None:
        self._url = url
        self._setting = setting
        self._render = render
        self._signer = signer

    def send(self, message: AlertMessage) -> None:
        status = asyncio.run(self._post(message))
        if status < 300:
            return
        detail, hint = f"the address in {self._setting} answers {status}", f"check {self._setting}"
        if status >= 500 or status in (408, 429):
            raise DependencyUnavailable(detail, hint=hint)
        raise Misconfigured(detail, hint=f"{hint}; redirects are not followed")

    async def _post(self, message: AlertMessage) -> int:
        headers = {"content-type": "application/json", "idempotency-key": str(message.alert_id)}
        body = msgspec.json.encode(self._render(message))
        if self._signer:
            headers |= await self._signer.sign(str(message.alert_id), body)
        who = f"the address in {self._setting}"
        try:
            # The client's own time-outs are for each wait: who sends a byte now and then would hold it for days.
            async with asyncio.timeout(POST_S_MAX), httpx.AsyncClient(timeout=POST_S_MAX) as http:
                with translate(who, f"check {self._setting}"):
                    # What is behind the status is of no interest, and has no bound.
                    async with http.stream("POST", self._url, content=body, headers=headers) as response:
                        return response.status_code
        except TimeoutError:
            raise DependencyUnavailable(
                f"{who} has not answered within {POST_S_MAX:g} s", hint=f"check {self._setting}"
            ) from None


class EmailChannel:
    """Hands a message to one mail server."""

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings

    def send(self, message: AlertMessage) -> None:
        settings = self._settings
        who = f"the mail server {settings.smtp_host}:{settings.smtp_port}"
        try:
            with self._connect() as server:
                if settings.smtp_user:
                    server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
                server.send_message(self._write(message))
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            raise Misconfigured(
                f"{who} does not take it: {type(error).__name__}", hint="check alerts.smtp_*"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            detail = f"{who} did not take it: {type(error).__name__}"
            raise DependencyUnavailable(detail, hint="check alerts.smtp_*") from error

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.smtp_security == "tls":
            return smtplib.SMTP_SSL(
                settings.smtp_host, settings.smtp_port, timeout=SMTP_S_MAX, context=ssl.create_default_context()
            )
        server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=SMTP_S_MAX)
        if settings.smtp_security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server

    def _write(self, message: AlertMessage) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = f"{message.percent} % of a budget of {message.tenant} are spent"
        mail["From"] = self._settings.email_from
        mail["To"] = ", ".join(self._settings.email_to)
        mail["Message-ID"] = f"<{message.alert_id}@adriatic>"
        mail.set_content(f"{say(message)}\n\nAlert {message.alert_id}, budget {message.budget_id}.\n")
        return mail
