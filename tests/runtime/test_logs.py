"""Log lines: one JSON object each, with the fields that everybody relies on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from runtime import logs
from runtime.settings import TelemetrySettings


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is process-wide: put back what other tests rely on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.readouterr().err.splitlines()]


def configure(level: Literal["INFO", "WARNING"] = "INFO") -> None:
    logs.configure("cdc", TelemetrySettings(log_level=level))


def test_a_line_has_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logs.get_logger("cdc").info("slot acquired", slot="adriatic")
    (line,) = lines(capsys)
    assert line["message"] == "slot acquired"
    assert line["level"] == "info"
    assert line["service"] == "cdc"
    assert line["slot"] == "adriatic"
    assert line["timestamp"].endswith("Z")


def test_bound_fields_are_on_every_line_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logs.bind(tenant_id="t-1", request_id="r-1")
    logs.get_logger("api").info("one")
    logs.get_logger("api").warning("two")
    assert [(line["tenant_id"], line["request_id"]) for line in lines(capsys)] == [("t-1", "r-1")] * 2


@pytest.mark.parametrize(
    "value", ["half a \ud83d", 2**80, {1: "x"}, ValueError("why"), b"\xff", float("nan"), [object()]]
)
def test_no_value_keeps_a_line_from_being_written(capsys: pytest.CaptureFixture[str], value: Any) -> None:
    configure()
    logs.get_logger("cdc").info("said", value=value)
    (line,) = lines(capsys)
    assert line["message"] == "said"


@pytest.mark.parametrize("ending", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r", "\x9b2J"])
def test_no_character_ends_a_line_for_any_reader(capsys: pytest.CaptureFixture[str], ending: str) -> None:
    configure()
    logs.get_logger("api").info("request", path=f"/tags/{ending}/x")
    written = capsys.readouterr().err
    assert written.isascii()
    (line,) = written.splitlines()
    assert json.loads(line)["path"] == f"/tags/{ending}/x"


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure("WARNING")
    logs.get_logger("cdc").info("quiet")
    logs.get_logger("cdc").warning("loud")
    assert [line["message"] for line in lines(capsys)] == ["loud"]


def test_lines_of_libraries_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("some.library").warning("it is %s", "odd")
    (line,) = lines(capsys)
    assert (line["message"], line["level"], line["service"]) == ("it is odd", "warning", "cdc")


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_a_library_that_somebody_turned_up_is_not_heard(
    capsys: pytest.CaptureFixture[str], level: Literal["INFO", "WARNING"]
) -> None:
    configure(level)
    library = logging.getLogger("some.library.with.prompts")
    library.setLevel(logging.DEBUG)
    library.debug("this is the prompt")
    library.info("and this the answer")
    assert lines(capsys) == []


def test_an_exception_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    try:
        raise ValueError("no")
    except ValueError:
        logs.get_logger("cdc").exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: no" in line["exception"]


def test_inside_a_span_the_line_names_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        logs.get_logger("cdc").info("traced")
    (line,) = lines(capsys)
    assert line["trace_id"] == format(span.get_span_context().trace_id, "032x")
    assert line["span_id"] == format(span.get_span_context().span_id, "016x")
