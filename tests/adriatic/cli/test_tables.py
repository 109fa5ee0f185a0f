"""What the command line lists stays whole and aligned, whatever it is written to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from adriatic.cli.tenants import list_tenants
from adriatic.cli.verify import print_report
from api.tenants import service
from dataflows.comparison import TenantReport, VerifyReport
from runtime.ids import new_id

LONGEST = "a" * 63
"""As long as a slug may be."""


@pytest.mark.parametrize("columns", ["40", "80", "300"])
def test_verify_prints_whole_names_into_a_pipe(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_report(
        VerifyReport([TenantReport(new_id(), LONGEST, {"adr": 1_000_000}), TenantReport(new_id(), "demo", {"adr": 7})])
    )
    head, *rows, verdict = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "tenant"
    assert head.rstrip().endswith("differences")
    assert [row.split()[:2] for row in rows] == [[LONGEST, "1000000"], ["demo", "7"]]
    assert verdict.startswith("clean")


def test_tenants_are_aligned_by_the_longest_slug(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def nobody(_: object) -> AsyncIterator[None]:
        yield None

    async def two(_: object) -> list[service.Tenant]:
        return [service.Tenant(new_id(), slug, "Name", datetime.now(UTC)) for slug in ("demo", LONGEST)]

    monkeypatch.setattr(service, "owner", nobody)
    monkeypatch.setattr(service, "list_all", two)
    lines = CliRunner().invoke(list_tenants, []).stdout.splitlines()
    assert len(lines) == 2
    assert {line.index("Name") for line in lines} == {36 + 2 + len(LONGEST) + 2}
