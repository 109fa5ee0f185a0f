"""What tokens cost: the price list, the price of a model at a time, and the arithmetic of one attempt.

Owns the shape of a row, which row is right, and the one rounding of money: an attempt's cost is a whole number of
micro-USD (millionths of a US dollar), rounded up once, for the sum of its buckets. Up, because then what has a price
never costs nothing, a budget is never charged less than the provider charges, and the error is below one micro-USD an
attempt, always on that side. No binary fraction is anywhere. Pure, but for `load`.

Refuses to guess: a model without a row has no price, which is None and never 0. The rows that come along are in
`schemas/prices/prices.toml`, which says how they are made; a file of the settings can add to them and overrule them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from connectors.llm import BYTES_PER_TOKEN, Tokens
from runtime.errors import Misconfigured

PRICES_FILE = Path(__file__).resolve().parents[2] / "schemas" / "prices" / "prices.toml"
PER_TOKENS = 1_000_000
"""Rates are for so many tokens, as providers print them."""
RATE_MAX = 10**12
"""Highest rate, in micro-USD for a million tokens: a dollar a token. A larger one has mistaken the unit."""

Rate = Annotated[int, Meta(ge=0, le=RATE_MAX)]

_SNAPSHOT = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)")


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Micro-USD for a million tokens of each bucket."""

    input_uncached: Rate
    cache_read: Rate
    cache_write_5m: Rate
    cache_write_1h: Rate
    output_visible: Rate
    reasoning: Rate

    def cost(self, tokens: Tokens) -> int:
        """Micro-USD, rounded up."""
        counted = zip(msgspec.structs.astuple(tokens), msgspec.structs.astuple(self), strict=True)
        total: int = sum(count * rate for count, rate in counted)
        return -(-total // PER_TOKENS)

    @property
    def dearest_input(self) -> int:
        return max(self.input_uncached, self.cache_read, self.cache_write_5m, self.cache_write_1h)

    @property
    def dearest_output(self) -> int:
        return max(self.output_visible, self.reasoning)


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row. It never changes; what changes is which row is the newest. See `schemas/prices/prices.toml`."""

    provider: str
    model: str
    valid_from: date
    source: Annotated[str, Meta(min_length=1)]
    read_on: date
    rates: Rates
    match: Literal["exact", "snapshots"] = "exact"
    long_above_tokens: Annotated[int, Meta(ge=0)] | None = None
    long_rates: Rates | None = None

    @property
    def price_id(self) -> str:
        """Names the row for ever: no other has the same provider, model and day."""
        return f"{self.provider}/{self.model}/{self.valid_from}"

    @property
    def is_free(self) -> bool:
        """Nothing that an attempt does can cost anything."""
        return not any(msgspec.structs.astuple(self.rates)) and self.long_rates is None

    def covers(self, provider: str, model: str) -> bool:
        if provider != self.provider or not model.startswith(self.model):
            return False
        rest = model[len(self.model) :]
        return not rest or (self.match == "snapshots" and _SNAPSHOT.fullmatch(rest) is not None)

    def cost(self, tokens: Tokens) -> int:
        """What an attempt with these tokens costs, in micro-USD."""
        read = tokens.input_uncached + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h
        return self.rates_for(read).cost(tokens)

    def estimate(self, input_bytes: int, output_tokens: int) -> int:
        """What an attempt costs as a rule that reads so many bytes and writes so many tokens, in micro-USD."""
        return self.cost(Tokens(input_uncached=-(-input_bytes // BYTES_PER_TOKEN), output_visible=output_tokens))

    def cost_at_most(self, input_tokens_max: int, output_tokens_max: int) -> int:
        """The most that an attempt can cost that reads and writes at most so many tokens, in micro-USD: each token in
        the dearest bucket of its side."""
        rates = [self.rates]
        if self.long_rates and input_tokens_max > (self.long_above_tokens or 0):
            rates.append(self.long_rates)
        read = input_tokens_max * max(each.dearest_input for each in rates)
        written = output_tokens_max * max(each.dearest_output for each in rates)
        return -(-(read + written) // PER_TOKENS)

    def rates_for(self, input_tokens: int) -> Rates:
        """The rates of an attempt that reads so many tokens."""
        is_long = self.long_rates is not None and input_tokens > (self.long_above_tokens or 0)
        return self.long_rates if is_long and self.long_rates else self.rates


class PriceList:
    """The rows of one process. Those of its own settings go before those that come along."""

    def __init__(self, shipped: Iterable[Price], own: Iterable[Price] = ()) -> None:
        self._rows = [*((False, row) for row in shipped), *((True, row) for row in own)]

    def find(self, provider: str, model: str, at: datetime) -> Price | None:
        """The price of an attempt that begins at `at`, or None where it is not known.

        A row of the settings goes before one that comes along, one for this very name before one for snapshots, and
        then the newest counts that is valid in UTC.
        """
        found = [(own, row) for own, row in self._rows if row.covers(provider, model) and row.valid_from <= at.date()]
        best = max(found, key=lambda each: (each[0], each[1].match == "exact", each[1].valid_from), default=None)
        return best and best[1]

    def find_row(self, price_id: str) -> Price | None:
        """The row that an attempt names, or None where it is not in this list any more."""
        return next((row for _, row in reversed(self._rows) if row.price_id == price_id), None)


class _PriceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prices: list[Price]


def read_rows(file: Path) -> Sequence[Price]:
    """The rows of one file. Raises `Misconfigured` when it is not there or is no price list."""
    try:
        rows = msgspec.toml.decode(file.read_bytes(), type=_PriceFile).prices
    except (OSError, msgspec.MsgspecError) as error:
        raise Misconfigured(
            f"the price list cannot be read: {error}",
            hint="schemas/prices/prices.toml shows the form (llm.prices)",
            coordinates={"file": str(file)},
        ) from error
    twice = {row.price_id for row in rows if sum(other.price_id == row.price_id for other in rows) > 1}
    if twice or any(row.long_rates is not None and row.long_above_tokens is None for row in rows):
        raise Misconfigured(
            f"{file.name} has rows twice ({', '.join(sorted(twice)) or 'none'}), or long rates without a threshold",
            hint="a new price is a new row with a later valid_from; long_rates need long_above_tokens",
        )
    return rows


def load(own: Path | None = None) -> PriceList:
    """The rows that come along and those of the file `own`. Raises `Misconfigured` as `read_rows` does."""
    return PriceList(read_rows(PRICES_FILE), read_rows(own) if own else ())
