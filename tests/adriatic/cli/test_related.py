"""How the nearest ADRs look in a terminal, and what a label means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import click
import pytest
from click.testing import CliRunner

from adriatic.cli.related import find_by_number, freshness, lines, parse_target, related
from adriatic.cli.remote import Remote
from api.adrs.related import Reason, RelatedAdr, RelatedAdrs
from api.search.schemas import SearchResult
from api.watermarks import UNKNOWN, AsOf
from runtime.errors import InvalidInput, NotFound
from runtime.ids import new_id
from tests.adriatic.cli.test_search import HIT

AT = datetime(2026, 1, 15, 9, tzinfo=UTC)
FRESH = AsOf("fresh", "0/1A2B3C8", AT, 0.8)
NEAR = RelatedAdr(
    *(new_id(), "ADR-7", "main", "Keep ledgers", "superseded", 1.4321),
    reasons=[
        Reason(kind="link", text="this ADR supersedes it", link="supersedes", direction="to"),
        Reason(kind="words", text="both speak of ledger, rows", words=["ledger", "rows"], share=0.4),
    ],
)


def test_a_list_says_what_and_why() -> None:
    shown = [click.unstyle(line) for line in lines(RelatedAdrs([NEAR], FRESH))]
    assert shown == [
        " 1.432  ADR-7  Keep ledgers  superseded · main",
        "        this ADR supersedes it; both speak of ledger, rows",
    ]
    assert list(lines(RelatedAdrs([], FRESH))) == ["nothing is near it yet"]


def test_how_fresh_it_is_is_said() -> None:
    assert freshness(RelatedAdrs([], FRESH)) == "fresh: everything written until 0.8 s ago is compared"
    assert "unknown" in freshness(RelatedAdrs([], UNKNOWN))


@pytest.mark.parametrize("text", ["ADR-12", "adr 12", "12", "ADR_0012"])
def test_labels(text: str) -> None:
    assert parse_target(text) == 12


def test_an_id_is_an_id_and_anything_else_is_refused() -> None:
    wanted = new_id()
    assert parse_target(str(wanted)) == wanted
    done = CliRunner().invoke(related, ["use-kafka"])
    assert (done.exit_code, "ADR-12" in done.output) == (2, True)
    assert CliRunner().invoke(related, ["ADR-1", "--url", "http://x"]).exit_code == 2


class Answers:
    def __init__(self, *logs: str) -> None:
        hits = [
            HIT.__class__(
                **{name: getattr(HIT, name) for name in HIT.__struct_fields__} | {"log": log, "source_id": UUID(int=n)}
            )
            for n, log in enumerate(logs, 1)
        ]
        self._result = SearchResult("words", hits, [], cast("Any", None))

    def request(self, *_: Any, **__: Any) -> SearchResult:
        return self._result


def remote(*logs: str) -> Remote:
    return cast("Remote", Answers(*logs))


def test_a_label_is_looked_up_and_must_be_one() -> None:
    assert find_by_number(remote("main"), 2, None) == UUID(int=1)
    with pytest.raises(InvalidInput, match="main, platform"):
        find_by_number(remote("platform", "main"), 2, None)
    for answers, number in ((remote(), 2), (remote("main"), 3)):
        with pytest.raises(NotFound, match=f"ADR-{number}"):
            find_by_number(answers, number, None)
