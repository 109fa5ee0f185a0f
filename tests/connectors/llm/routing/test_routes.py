"""Models as data: who can answer for a name, and in which order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.llm.prompts import Form, Image, Prompt, PromptMessage, Text, Tool
from connectors.llm.routing.routes import DEFAULT_MODEL, RouteTable
from runtime.errors import InvalidInput, NotFound
from runtime.settings import LlmSettings

PLAIN = Prompt("", (PromptMessage("user", (Text("x" * 400),)),), (), 100)
"""Some 200 tokens."""


def table(*models: dict[str, Any], **more: Any) -> RouteTable:
    return RouteTable(LlmSettings.model_validate({"models": models, **more}))


def target(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": "openai", "model": name, **more}


def titles(routes: RouteTable, model: str | None = None, prompt: Prompt = PLAIN, draw: float = 0.0) -> list[str]:
    return [each.title for each in routes.order(model, prompt, lambda: draw)]


def test_the_single_provider_is_a_model_of_one_target() -> None:
    routes = RouteTable(LlmSettings.model_validate({"provider": "openai", "model": "m"}))
    assert titles(routes) == titles(routes, DEFAULT_MODEL) == ["openai/m"]
    assert titles(RouteTable(LlmSettings())) == ["extractive"]


def test_without_weights_targets_are_asked_as_written_then_those_of_the_fallbacks() -> None:
    routes = table(
        {"name": "fast", "targets": [target("a"), target("b")], "fallbacks": ["good"]},
        {"name": "good", "targets": [target("c"), target("a")], "fallbacks": ["fast"]},
    )
    assert titles(routes) == titles(routes, "fast") == ["a", "b", "c"]
    assert titles(routes, "good") == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("draw", "order"),
    [(0.0, ["a", "b", "c"]), (0.749, ["a", "b", "c"]), (0.75, ["c", "a", "b"]), (0.999, ["c", "a", "b"])],
)
def test_weights_draw_who_is_the_first(draw: float, order: list[str]) -> None:
    routes = table({"name": "m", "targets": [target("a", weight=3), target("b"), target("c", weight=1)]})
    assert titles(routes, draw=draw) == order


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
def test_everybody_is_in_the_order_once_and_none_without_a_share_is_drawn(weights: list[int], draw: float) -> None:
    routes = table({"name": "m", "targets": [target(str(at), weight=weight) for at, weight in enumerate(weights)]})
    found = titles(routes, draw=draw)
    assert Counter(found) == Counter(str(at) for at in range(len(weights)))
    assert weights[int(found[0])] > 0 or not any(weights)


@pytest.mark.parametrize(
    ("limit", "prompt"),
    [
        ({"context_tokens": 199}, PLAIN),
        ({"tools": False}, Prompt("", PLAIN.messages, (), 1, tools=(Tool("t", "", "{}"),))),
        ({"images": False}, Prompt("", (PromptMessage("user", (Image("image/png", b"x"),)),), (), 1)),
        ({"form": False}, Prompt("", PLAIN.messages, (), 1, form=Form())),
    ],
)
def test_a_target_gets_only_what_it_takes(limit: dict[str, Any], prompt: Prompt) -> None:
    routes = table({"name": "m", "targets": [target("a", **limit), target("b")]})
    assert titles(routes, prompt=prompt) == ["b"]
    alone = table({"name": "m", "targets": [target("a", **limit)]})
    with pytest.raises(InvalidInput, match="no target of model m"):
        titles(alone, prompt=prompt)


def test_what_fits_exactly_is_taken() -> None:
    assert titles(table({"name": "m", "targets": [target("a", context_tokens=200)]})) == ["a"]


def test_a_model_that_is_not_there() -> None:
    routes = table({"name": "m", "targets": [target("a")]}, {"name": "n", "targets": [target("b")]})
    with pytest.raises(NotFound) as caught:
        titles(routes, "o")
    assert "m, n" in caught.value.hint


def test_targets_have_what_is_said_for_all_and_what_they_say() -> None:
    models = [target("a", provider="anthropic", key="mine", first_token_s=3, in_flight_max=7), target("b")]
    routes = table({"name": "m", "targets": models}, keys={"mine": "secret"}, first_token_s=9, idle_s=4)
    first, second = routes.targets
    assert (first.settings.first_token_s, second.settings.first_token_s) == (3, 9)
    assert first.settings.idle_s == second.settings.idle_s == 4
    assert (first.settings.in_flight_max, second.settings.in_flight_max) == (7, 50)
    assert first.key.api_key == "secret"
    assert second.key.api_key == ""
    assert "secret" not in str(first.settings)
