"""The how-to for analysts: its program reads the topics of a running system as it is printed there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, parse
from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack

PAGE = "docs/how-to/read-topics.md"


def test_the_program_on_the_page_prints_a_change(world: World, tenant: Tenant, tmp_path: Path) -> None:
    made = tenant.create("# Print what was read\n\nThe program on the page shows this title.\n")
    page = parse(PAGE, (ROOT / PAGE).read_text(encoding="utf-8"))
    (content,) = [token.content for token in page.tokens if token.type == "fence" and token.info == "python"]
    program, printed = tmp_path / "read.py", tmp_path / "printed"
    program.write_text(content)
    addresses = [world.settings.kafka.bootstrap_servers, world.settings.registry.url]
    with printed.open("w") as output:
        reading = subprocess.Popen(
            [sys.executable, "-u", str(program), *addresses, "adriatic.app.adr_versions"], stdout=output
        )
        try:
            line = eventually("the change is printed", lambda: _line_with(printed, made["adr_id"]))
        finally:
            reading.kill()
            reading.wait()
    assert line.startswith("c ")
    assert line.endswith("Print what was read")


def _line_with(printed: Path, text: str) -> str:
    return next((line for line in printed.read_text().splitlines() if text in line), "")
