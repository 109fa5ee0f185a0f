"""Prices: rows that never change, the right row, and real usage of each provider to the micro-dollar."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest

from connectors.llm import Tokens, TokenUsage
from connectors.llm.anthropic import AnthropicDecoder
from connectors.llm.openai import OpenAIDecoder
from connectors.llm.prices import PRICES_FILE, Price, PriceList, Rates, load, read_rows
from connectors.llm.sse import ServerEvent
from runtime.errors import Misconfigured

ROWS = read_rows(PRICES_FILE)
HASHES = PRICES_FILE.with_name("rows.sha256")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def digest(row: Price) -> str:
    return hashlib.sha256(msgspec.json.encode(row, order="deterministic")).hexdigest()


def find(provider: str, model: str, at: datetime = NOW) -> Price:
    price = load().find(provider, model, at)
    assert price, model
    return price


# --- the rows ---------------------------------------------------------------------------------------------------------


def test_a_row_never_changes_and_never_goes() -> None:
    """A row that fails here was edited: take the edit back and add a row. A new row adds the line that is missing."""
    known = [line.split("  ") for line in HASHES.read_text(encoding="utf-8").splitlines()]
    assert [[digest(row), row.price_id] for row in ROWS] == known
    assert digest(ROWS[0]) != digest(msgspec.structs.replace(ROWS[0], read_on=date(2026, 1, 1)))


def test_every_row_has_a_source_and_a_day_and_no_two_are_the_same() -> None:
    assert all(row.source.startswith(("https://", "connectors/")) for row in ROWS)
    assert len({row.price_id for row in ROWS}) == len(ROWS)
    assert {row.provider for row in ROWS} == {"extractive", "anthropic", "openai", "gemini", "minilm"}


def test_only_what_asks_nobody_is_free() -> None:
    assert [row.price_id for row in ROWS if row.is_free] == [
        "extractive/extractive/2026-01-01",
        "minilm/all-MiniLM-L6-v2-int8/2026-01-01",
    ]


def test_rates_have_the_unit_that_they_say() -> None:
    """A model costs between a cent and a thousand dollars for a million tokens. A slip in the unit is a factor of a
    thousand, or more."""
    rates = [each for row in ROWS for each in (row.rates, row.long_rates) if each and not row.is_free]
    assert all(
        5_000 <= rate <= 1_000_000_000
        and each.input_uncached >= each.cache_read
        and each.reasoning == each.output_visible
        for each in rates
        for rate in msgspec.structs.astuple(each)
    )


# --- which row --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("anthropic", "claude-opus-4-5", "anthropic/claude-opus-4-5/2025-11-24"),
        ("anthropic", "claude-opus-4-5-20251101", "anthropic/claude-opus-4-5/2025-11-24"),
        ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o/2024-08-06"),
        ("openai", "gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini/2024-07-18"),
        ("openai", "gpt-4o-audio-preview", None),
        ("openai", "gpt-4o-mini-search-preview-2025-03-11", None),
        ("openai", "claude-opus-4-5", None),
        ("openai", "gpt-test-1", None),
        ("extractive", "extractive", "extractive/extractive/2026-01-01"),
        ("extractive", "extractive-latest", None),
    ],
)
def test_a_name_with_a_date_is_the_model_and_one_that_begins_so_is_another(
    provider: str, model: str, found: str | None
) -> None:
    price = load().find(provider, model, NOW)
    assert (price and price.price_id) == found


def test_the_newest_price_that_is_valid_counts() -> None:
    before, after = datetime(2026, 10, 6, 23, 59, tzinfo=UTC), datetime(2026, 10, 7, tzinfo=UTC)
    assert find("anthropic", "claude-sonnet-5-5", before).rates.cache_read == 200_000
    assert find("anthropic", "claude-sonnet-5-5", after).rates.cache_read == 100_000
    assert load().find("anthropic", "claude-sonnet-5-5", datetime(2020, 1, 1, tzinfo=UTC)) is None
    assert find("gemini", "gemini-3.7-flash").rates.input_uncached == 750_000, "not yet that of next year"


OWN = """
[[prices]]
provider = "openai"
model = "{model}"
valid_from = {since}
source = "the contract of 2026"
read_on = 2026-11-01
[prices.rates]
input_uncached = 1
cache_read = 1
cache_write_5m = 1
cache_write_1h = 1
output_visible = 2
reasoning = 2
"""


def test_a_file_of_ones_own_adds_and_overrules(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(OWN.format(model="local-1", since="2026-01-01") + OWN.format(model="gpt-4o", since="2020-01-01"))
    prices = load(own)
    for model in ("local-1", "gpt-4o"):
        price = prices.find("openai", model, NOW)
        assert price
        assert price.source == "the contract of 2026"
    assert prices.find("openai", "gpt-4o-2024-08-06", NOW) == find("openai", "gpt-4o-2024-08-06"), "it is exact"
    assert prices.find("openai", "local-2", NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "prices = 1",
        OWN.format(model="a", since="2026-01-01") * 2,
        OWN.format(model="a", since="2026-01-01") + "discount = 3\n",
        OWN.format(model="a", since="2026-01-01").replace("reasoning = 2", "reasoning = -2"),
        OWN.format(model="a", since="2026-01-01").replace("reasoning = 2", "reasoning = 0.5"),
        OWN.format(model="a", since="2026-01-01").replace("reasoning = 2", ""),
        OWN.format(model="a", since="2026-01-01").replace("read_on", "long_above_tokens = -1\nread_on"),
    ],
)
def test_a_file_that_is_no_price_list_is_refused(text: str | None, tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    if text is not None:
        own.write_text(text)
    with pytest.raises(Misconfigured):
        load(own)


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def test_a_sum_is_rounded_up_once() -> None:
    rates = Rates(400_000, 400_000, 400_000, 400_000, 400_000, 400_000)
    assert rates.cost(Tokens()) == 0
    assert rates.cost(Tokens(input_uncached=1)) == 1
    assert rates.cost(Tokens(1, 1, 1, 1, 1, 0)) == 2, "each for itself would be 5"
    assert rates.cost(Tokens(1, 1, 1, 1, 1, 1)) == 3
    assert Rates(3, 0, 0, 0, 0, 0).cost(Tokens(input_uncached=10**15)) == 3 * 10**9, "no binary fraction is in between"


def test_a_long_request_is_dearer_in_all_its_tokens() -> None:
    price = find("gemini", "gemini-2.5-pro")
    assert price.cost(Tokens(input_uncached=150_000, cache_read=50_000, output_visible=100)) == 187_500 + 6_250 + 1_000
    # One token more, in whatever bucket.
    assert price.cost(Tokens(input_uncached=150_000, cache_read=50_001, output_visible=100)) == 375_000 + 12_501 + 1_500


@pytest.mark.parametrize("row", [row for row in ROWS if row.long_rates], ids=lambda row: row.price_id)
@pytest.mark.parametrize("read", [0, 50_000, 100_001, 900_000])
def test_no_tokens_cost_more_than_their_bound(row: Price, read: int) -> None:
    bound = row.cost_at_most(read, 1_000)
    for spread in (
        Tokens(input_uncached=read, reasoning=1_000),
        Tokens(cache_write_1h=read, output_visible=1_000),
        Tokens(cache_read=read // 2, cache_write_5m=read - read // 2, output_visible=400, reasoning=600),
    ):
        assert row.cost(spread) <= bound
    assert row.estimate(read, 1_000) <= bound


def test_who_has_no_rows_knows_no_price() -> None:
    assert PriceList([]).find("extractive", "extractive", NOW) is None


# --- real usage -------------------------------------------------------------------------------------------------------

ANTHROPIC_USAGE = b"""{"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage":
{"input_tokens": 2095, "cache_creation_input_tokens": 3000, "cache_read_input_tokens": 100000, "cache_creation":
{"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000}, "output_tokens": 503}}"""
"""Cached tokens are beside `input_tokens`."""
OPENAI_USAGE = b"""{"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-5-2025-08-07", "choices": [],
"usage": {"prompt_tokens": 105095, "completion_tokens": 503, "total_tokens": 105598,
"prompt_tokens_details": {"cached_tokens": 100000, "audio_tokens": 0},
"completion_tokens_details": {"reasoning_tokens": 320, "audio_tokens": 0}}}"""
"""Cached tokens are inside of `prompt_tokens`, and reasoning inside of `completion_tokens`."""


def counted(decoder: AnthropicDecoder | OpenAIDecoder, blob: bytes) -> Tokens:
    events = [event for event in decoder.decode(ServerEvent("", blob)) if isinstance(event, TokenUsage)]
    return events[-1].tokens


def test_a_blob_of_anthropic_costs_exactly() -> None:
    tokens = counted(AnthropicDecoder(), ANTHROPIC_USAGE)
    assert tokens == Tokens(2095, 100_000, 2000, 1000, 503, 0)
    # 2 095 x $5 + 100 000 x $0.50 + 2 000 x $6.25 + 1 000 x $10 + 503 x $25, for a million each.
    assert find("anthropic", "claude-opus-4-5").cost(tokens) == 10_475 + 50_000 + 12_500 + 10_000 + 12_575


def test_a_blob_of_openai_costs_exactly() -> None:
    tokens = counted(OpenAIDecoder(), OPENAI_USAGE)
    assert tokens == Tokens(5095, 100_000, 0, 0, 183, 320)
    # 5 095 x $1.25 = 6 368.75; 100 000 x $0.125; 503 x $10: the quarters are rounded once.
    assert find("openai", "gpt-5").cost(tokens) == 6_369 + 12_500 + 5_030
    assert find("openai", "gpt-5").cost(tokens) < find("openai", "gpt-5").cost(Tokens(105_095, output_visible=503))
