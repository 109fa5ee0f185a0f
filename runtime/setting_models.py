"""Settings of language models: who answers, what callers may name, and who can answer for each name.

Owns the section `llm`, the form of `[[llm.models]]` and of its targets, and whether they fit together. What is made of
them is in `connectors/llm/routing/routes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from runtime.setting_kinds import Name, OptionalUrl, Seconds, Section, is_allowed_host

LlmProvider = Literal["extractive", "anthropic", "openai", "gemini"]
OnCancel = Literal["cancel", "drain"]
SendUser = Literal["auto", "always", "never"]
OWN_HOSTS: Mapping[str, str] = {
    "anthropic": "api.anthropic.com",
    "openai": "api.openai.com",
    "gemini": "generativelanguage.googleapis.com",
}
"""Where the makers of the dialects answer themselves."""

IN_FLIGHT_DEFAULT = 50
"""Answers that one process has one target write at a time: what an ordinary account of a provider takes."""
IN_FLIGHT_MAX = 20_000
"""Most of them: an SDK opens so many connections and no more."""
WAITING_DEFAULT = 1_000
"""Questions that wait for a turn at one target, some 30 kB each."""
WAITING_MAX = 20_000
"""Most of them."""
MODEL_CHARS_MAX = 128
"""Longest name of a model: those of providers have some fifty."""
MODELS_MAX = 64
"""Most targets of one model, and most models that it falls back to."""
WEIGHT_MAX = 1_000
"""Largest weight of a target: shares of a thousandth are fine enough."""
HEDGE_MS_MAX = 600_000
"""Longest wait before a second target is asked, in milliseconds: no answer takes longer to begin."""
CONTEXT_TOKENS_MAX = 100_000_000
"""Largest number of tokens that a model can be said to take: what is more is a slip."""


class LlmTargetSettings(Section):
    """One model of one provider, by one key: who can be asked."""

    name: str = Field("", description="What metrics and messages call it; empty is `provider/model`.")
    provider: LlmProvider = Field(description="As `llm.provider`.")
    model: str = Field("", description="As `llm.model`.")
    base_url: OptionalUrl = Field("", description="As `llm.base_url`.")
    key: str = Field("", description="Name of its key in `llm.keys`; empty is no key.")
    weight: int = Field(
        0,
        ge=0,
        le=WEIGHT_MAX,
        description="Its share of being asked first, among those of its model that have one. Without any, and for "
        "those that follow, the order is the one that they are written in.",
    )
    context_tokens: int | None = Field(
        None,
        gt=0,
        le=CONTEXT_TOKENS_MAX,
        description="What it reads and writes in one answer, in tokens; what is larger goes to others. Without it, "
        "everything is tried.",
    )
    tools: bool = Field(True, description="It can call tools.")
    images: bool = Field(True, description="It reads pictures.")
    form: bool = Field(True, description="It answers in a form that is asked for.")
    on_cancel: OnCancel = Field("cancel", description="As `llm.on_cancel`.")
    in_flight_max: int = Field(IN_FLIGHT_DEFAULT, gt=0, le=IN_FLIGHT_MAX, description="As `llm.in_flight_max`.")
    waiting_max: int = Field(WAITING_DEFAULT, ge=0, le=WAITING_MAX, description="As `llm.waiting_max`.")
    first_token_s: Seconds | None = Field(None, description="As `llm.first_token_s`, which it is without it.")

    @property
    def title(self) -> str:
        return self.name or "/".join(filter(None, (self.provider, self.model)))

    @property
    def endpoint(self) -> tuple[str, ...]:
        """What two targets share when they ask the same."""
        return (self.provider, self.base_url, self.model, self.key)


class LlmModelSettings(Section):
    """What callers name, and who answers for it."""

    name: Annotated[Name, Field(max_length=MODEL_CHARS_MAX)] = Field(description="What callers call it.")
    targets: tuple[LlmTargetSettings, ...] = Field(
        min_length=1, max_length=MODELS_MAX, description="Who is asked, one after the other, until one answers."
    )
    fallbacks: tuple[str, ...] = Field(
        (), max_length=MODELS_MAX, description="Other models, whose targets are asked after these."
    )
    hedge_after_ms: int | None = Field(
        None,
        gt=0,
        le=HEDGE_MS_MAX,
        description="When a target has given nothing for so long, in milliseconds, the next one is asked as well, and "
        "the first that has content answers; both are paid for. Once for each answer, and only while few answers need "
        "it. Without it, never.",
    )
    hedge_quantile: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="With it, not before so many of the last 100 answers of that target would have begun: 0.95 asks "
        "twice for the slowest twentieth. It needs `hedge_after_ms`.",
    )

    @model_validator(mode="after")
    def _complete(self) -> LlmModelSettings:
        if self.hedge_quantile is not None and self.hedge_after_ms is None:
            raise ValueError("hedge_quantile needs hedge_after_ms, which is the least wait")
        return self


class LlmSettings(Section):
    """Who answers in the chat. `extractive` quotes passages and needs no model; the others ask one, with a key. What is
    not said here for one target of `models` holds for all."""

    provider: LlmProvider = Field(
        "extractive",
        description="`extractive` quotes what the search finds; `openai` is any endpoint that speaks its API.",
    )
    model: str = Field("", description="Name of the model, for all but `extractive`.")
    base_url: OptionalUrl = Field("", description="Base of the endpoint's API; empty is the provider's own.")
    api_key: SecretStr = Field(
        SecretStr(""), description="Key of the endpoint, or where it is kept: `file:…`, `env:…`, `vault:…`, `aws:…`."
    )
    models: tuple[LlmModelSettings, ...] = Field(
        (),
        description="Models that callers may name, each with the targets that can answer for it, in the place of "
        "`llm.provider`; the first is for who names none. As a variable: JSON.",
    )
    keys: dict[str, SecretStr] = Field(
        default_factory=dict, description="Keys that targets of `llm.models` name; each as `llm.api_key`."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that may be asked, such as `api.openai.com` or `*.openai.azure.com`; a target elsewhere is "
        "refused at the start. Empty: those that targets name. As a variable: JSON.",
    )
    send_user: SendUser = Field(
        "auto",
        description="Tell providers a pseudonym of who asks, so that they can stop one user instead of all: `auto` "
        "where the provider's own API has a field for it, `always` to other endpoints too, `never`.",
    )
    user_key: SecretStr = Field(
        SecretStr(""),
        description="What pseudonyms are made with; the same on all machines. Empty: a file in the state directory.",
    )
    connect_s: float = Field(5.0, gt=0, description="To open a connection, in seconds.")
    first_token_s: float = Field(
        20.0, gt=0, description="Until the answer begins, in seconds; and the longest wait for a turn to ask."
    )
    idle_s: float = Field(20.0, gt=0, description="Between two pieces of an answer, in seconds.")
    total_s: float = Field(300.0, gt=0, description="One whole answer, in seconds.")
    output_tokens_max: int = Field(2_048, gt=0, description="Longest answer, in tokens of the model.")
    in_flight_max: int = Field(
        IN_FLIGHT_DEFAULT,
        gt=0,
        le=IN_FLIGHT_MAX,
        description="Answers that `llm.provider` writes at a time, for one API process.",
    )
    waiting_max: int = Field(
        WAITING_DEFAULT, ge=0, le=WAITING_MAX, description="Questions that wait for a turn at `llm.provider`."
    )
    on_cancel: OnCancel = Field(
        "cancel",
        description="When nobody reads an answer any more: `cancel` closes the connection at once; `drain` reads on "
        "for up to 30 s, where only the end has an exact bill.",
    )
    streams_max: int = Field(
        1_050,
        gt=0,
        le=20_000,
        description="Answers of one API process at a time: those that are written, and those that wait for their turn.",
    )
    starts_waiting_max: int = Field(
        2_000,
        ge=0,
        le=20_000,
        description="Questions that wait for their turn to begin, where one API process has more to do than leaves its "
        "running answers smooth, and as many that wait for a connection to be prepared with. Beyond it: 503 with "
        "`Retry-After`.",
    )
    start_wait_s: float = Field(
        10.0, gt=0, description="Longest wait for both, in seconds. Beyond it: 503 with `Retry-After`."
    )
    streams_per_tenant_max: int = Field(16, gt=0, description="Of these, for one tenant, in one API process.")
    prices: Path | None = Field(
        None, description="A price list of your own, for models whose price is not in `schemas/prices/prices.toml`."
    )
    kept_days: int = Field(
        30,
        ge=0,
        le=3_650,
        description="Questions and answers are kept so long, to be read again and as the memory of conversations; "
        "0: not at all.",
    )
    cache_s: int = Field(
        3_600,
        ge=0,
        le=604_800,
        description="How long an answer of a model may be given again to the very same prompt of the same tenant, in "
        "seconds; 0: never, not even while it is being written.",
    )

    @model_validator(mode="after")
    def _complete(self) -> LlmSettings:
        self._check_provider()
        if self.models:
            self._check_models()
        return self

    def _check_provider(self) -> None:
        if self.provider != "extractive" and not self.model:
            raise ValueError(f"llm.provider {self.provider} needs llm.model")
        if self.provider in ("anthropic", "gemini") and not self.api_key.get_secret_value():
            raise ValueError(f"llm.provider {self.provider} needs llm.api_key")

        if self.host and not is_allowed_host(self.host, self.allowed_hosts):
            raise ValueError(f"{self.host} is none of llm.allowed_hosts: add it, or ask somebody else")

    @property
    def host(self) -> str:
        """Who is asked; empty where nobody is."""
        return (urlsplit(self.base_url).hostname or "") if self.base_url else OWN_HOSTS.get(self.provider, "")

    @property
    def asks_maker(self) -> bool:
        """Whether the maker of the dialect answers itself, and no other server that speaks it: only there each field
        of its API is known to be taken. Makers have further hosts by region."""
        own = OWN_HOSTS.get(self.provider, "")
        return bool(own) and (self.host == own or self.host.endswith(f".{own}"))

    def _check_models(self) -> None:
        if self.model or self.provider != "extractive":
            raise ValueError("llm.models takes the place of llm.provider and llm.model: say it in one way")
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two of llm.models have the same name")
        named: dict[str, tuple[str, ...]] = {}
        for model in self.models:
            if unknown := [name for name in model.fallbacks if name not in names]:
                raise ValueError(f"model {model.name} falls back to {unknown[0]}, which is none of llm.models")
            for target in model.targets:
                try:
                    self.for_target(target)
                except ValueError as error:
                    raise ValueError(f"model {model.name}, target {target.title}: {error}") from None
                if named.setdefault(target.title, target.endpoint) != target.endpoint:
                    raise ValueError(f"two different targets are called {target.title}: name them")

    def for_target(self, target: LlmTargetSettings) -> LlmSettings:
        """What a provider is built from: what the target says, and else what is said for all. Raises `ValueError`
        where the target is not complete."""
        if target.key and target.key not in self.keys:
            raise ValueError(f"llm.keys has no {target.key}")
        names = ("provider", "model", "base_url", "in_flight_max", "waiting_max", "on_cancel")
        changed = {name: getattr(target, name) for name in names}
        changed |= {"api_key": self.keys[target.key] if target.key else SecretStr(""), "models": ()}
        changed |= {"first_token_s": target.first_token_s or self.first_token_s}
        copy = self.model_copy(update=changed)
        copy._check_provider()
        return copy
