"""The AI SDK's own parser reads our stream: the pinned package from the registry, run by node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.chat.dialects.golden import FOLDER
from tests.npm import INSTALL_S_MAX, install, needs_npm

PACKAGE = Path(__file__).parent / "ai-sdk"

pytestmark = needs_npm


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parser with its package."""
    return install(PACKAGE, tmp_path_factory.mktemp("ai-sdk")) / "read.js"


def read(parser: Path, answer: str) -> dict[str, Any]:
    with (FOLDER / f"ai_sdk-{answer}.sse").open("rb") as stream:
        told = subprocess.run(["node", parser], stdin=stream, capture_output=True, text=True, timeout=INSTALL_S_MAX)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def parts(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [part for part in found["message"]["parts"] if part["type"] == kind]


def test_it_reads_an_answer_with_its_sources(parser: Path) -> None:
    found = read(parser, "grounded")
    assert found["errors"] == []
    assert parts(found, "text") == [{"type": "text", "text": "It fails\nin the middle [1]. “é”", "state": "done"}]
    (source,) = parts(found, "source-document")
    assert (source["sourceId"], source["title"]) == ("1", "ADR-2 Nobody writes twice")
    assert parts(found, "data-citations")[0]["data"] == {"cited": [1], "unsupported": [9]}


def test_it_reads_thoughts_and_calls(parser: Path) -> None:
    found = read(parser, "tools")
    assert found["errors"] == []
    assert parts(found, "reasoning")[0]["text"] == "They want the weather.Twice."
    assert parts(found, "tool-get_weather")[0]["input"] == {"city": "Split"}
    assert parts(found, "tool-get_time")[0]["state"] == "input-available"


def test_it_reads_tools_that_were_run_for_it(parser: Path) -> None:
    found = read(parser, "looked-up")
    assert found["errors"] == []
    done, failed = parts(found, "tool-read_adr")
    assert (done["state"], done["input"], done["output"]) == ("output-available", {"number": 7}, {"sources": [2]})
    assert (failed["state"], failed["errorText"]) == ("output-error", "there is no ADR 8 here")
    assert done["providerExecuted"], "a client runs it no second time"
    assert failed["providerExecuted"]
    assert [each["sourceId"] for each in parts(found, "source-document")] == ["1", "2"], "each is told once"
    assert [part["text"] for part in parts(found, "text")] == ["I look.", "A fake [2]."]
    assert len(parts(found, "step-start")) == 2


def test_it_says_what_broke(parser: Path) -> None:
    assert read(parser, "broken")["errors"] == ["openai broke off (ask again)"]
