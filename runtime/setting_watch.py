"""Settings of what is watched, who is told, and for how long it is kept.

Owns the sections `alerts`, `abuse` and `retention`. Refuses limits (`limits`), which refuse something; these do not.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from runtime.setting_kinds import Port, SecretUrl, Section

DAYS_MAX = 36_500
"""Longest time that rows can be said to be kept, in days: a century is for ever."""


MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$")]


class AlertSettings(Section):
    """Where alerts of spending go, beside the log and the topic `spend.alert`. What is empty is off; nothing is sent to
    a host that is not named here."""

    webhook_url: SecretUrl = Field(SecretStr(""), description="Each alert is posted there as JSON.")
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Signs what is posted to `webhook_url`: `whsec_…`, or where it is kept, as `llm.api_key`. Several, "
        "with spaces between, each sign. Empty signs nothing.",
    )
    slack_url: SecretUrl = Field(SecretStr(""), description='The same in the form of Slack: `{"text": …}`.')
    smtp_host: str = Field("", description="Mail server; empty sends no e-mail.")
    smtp_port: Port = Field(587, description="Port of the mail server; 465 where it begins with TLS.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`tls` begins with it, `none` has none, for a server on this machine."
    )
    smtp_user: str = Field("", description="Who logs in there; empty is nobody.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of `smtp_user`.")
    email_from: MailAddress | Literal[""] = Field("", description="Sender of the e-mails.")
    email_to: tuple[MailAddress, ...] = Field((), max_length=20, description="Who gets them.")

    @model_validator(mode="after")
    def _complete(self) -> AlertSettings:
        if self.smtp_host and not (self.email_from and self.email_to):
            raise ValueError("alerts.smtp_host needs alerts.email_from and alerts.email_to")
        return self


class AbuseSettings(Section):
    """What is flagged for a person to look at. Nobody is refused anything by it. 0: it is not looked for."""

    calls_per_minute: int = Field(60, ge=0, description="Calls of models of one user that began in one minute.")
    new_user_tokens: int = Field(
        50_000, ge=0, description="Tokens of a user in its first 24 hours. The users of API keys are not new users."
    )
    users_per_address: int = Field(
        10, ge=0, description="Users who were new within 24 hours and came from one address; of IPv6, from one /64."
    )
    address_key: SecretStr = Field(
        SecretStr(""),
        description="What addresses are hashed with; the same on all machines. Empty: a file in the state directory.",
    )


class RetentionSettings(Section):
    """How long rows of the chat and of spending are kept that no book needs, in days. The ledger, the counters of
    budgets and the aggregates stay; answers and drafts have `llm.kept_days`."""

    alerts_days: int = Field(
        400, ge=1, le=DAYS_MAX, description="Alerts and their deliveries, but for those of windows that still run."
    )
    audit_days: int = Field(
        1_100, ge=1, le=DAYS_MAX, description="Overrides and stops, counted from when they were over."
    )
    keys_days: int = Field(
        400, ge=1, le=DAYS_MAX, description="API keys that were revoked, and secrets that ended, counted from then."
    )
    flags_days: int = Field(90, ge=1, le=DAYS_MAX, description="Flags of use that looked like abuse.")


class SearchSettings(Section):
    """When a tenant's search takes an index by meaning or segments by words, and what is expected of it."""

    exact_passages_max: int = Field(
        5_000,
        ge=100,
        le=10_000_000,
        description="Passages of one kind that a search by meaning compares one by one. A tenant with more gets an "
        "index of its own, and loses it below half of that.",
    )
    index_memory_mb: int = Field(
        512,
        ge=64,
        le=65_536,
        description="Memory in MB of Postgres in which the graph of one index is built. A million passages want 2 500; "
        "with less it is built many times slower.",
    )
    words_packed_min: int = Field(
        1_000,
        ge=100,
        le=10_000_000,
        description="Sources of one kind from which on the search by words reads all that have a word, in packed "
        "segments; each 50 words count as one where sources are longer. A tenant with fewer than half loses them.",
    )
    recall_goal: float = Field(
        0.98,
        ge=0.5,
        le=1.0,
        description="Share of the ten nearest that an index must find. `adriatic status` says where it finds fewer.",
    )
