"""The page on the whole running system: an import in another terminal makes it move, without a reload."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from runtime.settings import Settings
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.stack, pytest.mark.timeout(480)]

APPEARS_MS = 120_000
"""From a write to the page, on a machine that runs the whole system and a browser besides."""
DECISIONS = 60
TEXT = """# Decide about subject {number}

## Status

Accepted

## Context

Subject {number} of the lagoon needs a rule, because two crews measured it in two ways.

## Decision

Crew {number} measures at high tide.
"""


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    folder = tmp_path / "decisions"
    folder.mkdir()
    for number in range(1, DECISIONS + 1):
        (folder / f"{number:04d}-subject-{number}.md").write_text(TEXT.format(number=number))
    return folder


def test_an_import_moves_the_page_and_the_page_finds_what_came(
    system: Settings, visit: Callable[..., Visit], decisions: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
    environment |= {"ADRIATIC_HOME": str(system.home)}

    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "adriatic", *words]

    slug = f"lagoon-{uuid.uuid4().hex[:8]}"
    subprocess.run(command("tenant", "create", slug), env=environment, check=True, capture_output=True)
    made = subprocess.run(
        command("token", "--tenant", slug, "--json"), env=environment, check=True, capture_output=True
    ).stdout
    token = json.loads(made)["token"]

    seen = visit()
    page = seen.page
    page.goto(f"http://{system.api.host}:{system.api.port}/#token={token}")
    expect(page.locator("#connection")).to_have_text("live", timeout=APPEARS_MS)
    expect(page.locator("#count-adrs")).to_have_text("0", timeout=APPEARS_MS)
    expect(page.locator("#arm-words .state")).to_contain_text("fresh", timeout=APPEARS_MS)
    page.evaluate("window.sameDocument = true")
    seen.shot("live-before")

    with subprocess.Popen(
        command("import", str(decisions), "--tenant", slug),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as importing:
        expect(page.locator("#count-versions")).to_have_text(str(DECISIONS), timeout=APPEARS_MS)
        expect(page.locator("#feed li")).to_have_count(12, timeout=APPEARS_MS)
        seen.shot("live-during")
        output = importing.communicate(timeout=240)[0].decode()
    assert importing.returncode == 0, output
    expect(page.locator("#recent .hit")).to_have_count(12, timeout=APPEARS_MS)
    expect(page.locator("#chart-rate")).to_have_attribute("aria-label", re.compile("at most"), timeout=APPEARS_MS)

    page.fill("#q", "subject 17")
    page.wait_for_selector("#results .hit")
    page.click("#results .hit >> text=Decide about subject 17")
    expect(page.locator("#adr-title")).to_have_text("Decide about subject 17")
    page.fill("#question", "Who measures at high tide?")
    page.keyboard.press("Enter")
    expect(page.locator(".cite").first).to_be_visible(timeout=APPEARS_MS)
    seen.shot("live-after")
    assert page.evaluate("window.sameDocument") is True, "nothing was loaded anew"
    seen.clean()
