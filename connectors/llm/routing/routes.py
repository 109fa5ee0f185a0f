"""Models as data: which targets can answer for a name, and in which order they are asked.

Owns the reading of the settings, what a target takes, and the order: of those with a weight one is drawn to be the
first, the rest follow as they are written, then those of the models that it falls back to. Pure. Refuses to know how a
target is at the moment (`router`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from connectors.llm import BYTES_PER_TOKEN
from connectors.llm.prompts import Image, Prompt
from connectors.llm.routing.hedging import HedgePolicy
from runtime.errors import InvalidInput, NotFound
from runtime.setting_models import LlmTargetSettings
from runtime.settings import LlmSettings

DEFAULT_MODEL = "default"
"""What the one model is called that `llm.provider` makes."""


class EndpointKey(NamedTuple):
    """Who is asked: targets that have it in common share a breaker and slots. It has a secret: never show it."""

    provider: str
    base_url: str
    model: str
    api_key: str

    @property
    def account(self) -> tuple[str, str, str]:
        """What a key that is not taken, or has no money, is wrong for."""
        return (self.provider, self.base_url, self.api_key)


class RouteIdentity(NamedTuple):
    """What an answer hangs on beside its prompt: the name of the model, and provider, address and model of each target
    that may be asked for it. It has no secret."""

    name: str
    targets: tuple[tuple[str, str, str], ...]

    @property
    def asks_a_model(self) -> bool:
        """Whether somebody answers who does not only quote."""
        return any(provider != "extractive" for provider, _, _ in self.targets)


@dataclass(frozen=True)
class RouteTarget:
    """One that can be asked. `settings` are those that its provider is built from; `context_tokens` None: not known."""

    title: str
    settings: LlmSettings
    weight: int = 0
    context_tokens: int | None = None
    tools: bool = True
    images: bool = True
    form: bool = True

    @cached_property
    def key(self) -> EndpointKey:
        own = self.settings
        return EndpointKey(own.provider, own.base_url, own.model, own.api_key.get_secret_value())

    def takes(self, prompt: Prompt) -> bool:
        """Whether it can answer this at all, as far as the settings know."""
        pictures = any(isinstance(part, Image) for message in prompt.messages for part in message.parts)
        return (
            (self.context_tokens is None or count_tokens(prompt) <= self.context_tokens)
            and (self.tools or not prompt.tools)
            and (self.images or not pictures)
            and (self.form or prompt.form is None)
            and not (prompt.needs_model and self.settings.provider == "extractive")
        )


def count_tokens(prompt: Prompt) -> int:
    """What an answer to `prompt` may use, in tokens: an estimate by the bytes, with the longest output."""
    return prompt.size_bytes // BYTES_PER_TOKEN + prompt.output_tokens_max


class RouteTable:
    """The models that callers may name. The first is for who names none."""

    def __init__(self, settings: LlmSettings) -> None:
        self._targets: dict[str, tuple[RouteTarget, ...]] = {}
        self._fallbacks: dict[str, tuple[str, ...]] = {}
        self._hedging: dict[str, HedgePolicy] = {}
        for model in settings.models:
            self._targets[model.name] = tuple(_read_target(settings, target) for target in model.targets)
            self._fallbacks[model.name] = model.fallbacks
            if model.hedge_after_ms is not None:
                self._hedging[model.name] = HedgePolicy(model.hedge_after_ms / 1_000, model.hedge_quantile)
        if not settings.models:
            title = "/".join(filter(None, (settings.provider, settings.model)))
            self._targets[DEFAULT_MODEL] = (RouteTarget(title, settings),)

    @property
    def targets(self) -> list[RouteTarget]:
        """All of them; several may have one key."""
        return [target for targets in self._targets.values() for target in targets]

    def find(self, model: str | None) -> str:
        """The name of a model, or of the first one. Raises `NotFound` for one that is not there."""
        if model is None:
            return next(iter(self._targets))
        if model not in self._targets:
            raise NotFound(f"there is no model {model}", hint=f"model can be {', '.join(self._targets)}")
        return model

    def find_hedging(self, model: str | None) -> HedgePolicy | None:
        """When a second target is asked beside the first; None: never. Raises `NotFound` as `find` does."""
        return self._hedging.get(self.find(model))

    def identify(self, model: str | None) -> RouteIdentity:
        """Raises `NotFound` for a model that is not there."""
        name = self.find(model)
        targets = [target for each in (name, *self._fallbacks.get(name, ())) for target in self._targets[each]]
        return RouteIdentity(name, tuple(target.key[:3] for target in targets))

    def order(self, model: str | None, prompt: Prompt, draw: Callable[[], float]) -> list[RouteTarget]:
        """Who can answer `prompt`, in the order of asking. `draw` gives a number from 0 up to 1.

        Raises `NotFound` for a model that is not there, `InvalidInput` for a prompt that none of its targets takes.
        """
        name, found = self.find(model), dict[EndpointKey, RouteTarget]()
        for each in (name, *self._fallbacks.get(name, ())):
            able = [target for target in self._targets[each] if target.takes(prompt)]
            for target in _put_first(able, draw):
                found.setdefault(target.key, target)
        if not found:
            raise InvalidInput(
                f"no target of model {name} takes this: some {count_tokens(prompt)} tokens, with what it asks for",
                hint="ask for less, or name another model",
            )
        return list(found.values())


def _read_target(settings: LlmSettings, target: LlmTargetSettings) -> RouteTarget:
    return RouteTarget(
        *(target.title, settings.for_target(target), target.weight, target.context_tokens),
        *(target.tools, target.images, target.form),
    )


def _put_first(targets: Sequence[RouteTarget], draw: Callable[[], float]) -> Sequence[RouteTarget]:
    """The one whose weight was drawn before the others, which keep their order."""
    drawn = draw() * sum(target.weight for target in targets)
    for target in targets:
        drawn -= target.weight
        if drawn < 0:
            return [target, *(other for other in targets if other is not target)]
    return targets
