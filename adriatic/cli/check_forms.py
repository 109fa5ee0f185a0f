"""How a check is shown: lines for people, SARIF for tools of code review, and GitHub's own annotations. Pure.

Owns the forms. What is cited and does not hold is a warning at its line, and so is what likely breaks a decision; what
possibly does is a note there. What governs the change has no line, so it is a note about the whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from runtime import __version__

if TYPE_CHECKING:
    from api.guard.schemas import (
        BrokenDecision,
        ChangePlace,
        CheckResult,
        GoverningDecision,
        ProposalFinding,
        VettedProposal,
    )

PASSAGE_CHARS_MAX: Final = 240
"""What people see of a passage: three lines."""
RULES: Final[Mapping[str, str]] = {
    "cites-what-does-not-hold": "The change names a decision that is superseded, deprecated or rejected.",
    "seems-to-break": "The change uses or says what a decision that holds refuses.",
    "proposes": "A record that the change proposes has a number that is taken, or says what another one does, or else.",
    "governed-by": "A decision that holds speaks of what the change touches. Read it.",
}
SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def show_text(result: CheckResult) -> str:
    """The findings for people, those that are certain first."""
    return "\n".join(_lines(result))


def _lines(result: CheckResult) -> Iterator[str]:
    for each in result.cited:
        yield f"{_where(each.place)}: {each.reason}"
        yield f"    {each.place.text}"
    if not result.cited:
        yield f"nothing in {result.lines} lines cites a decision that does not hold"
    for broken in result.seems_to_break:
        yield f"{_where(broken.place)}: {_say(broken)}"
        yield f"    {broken.place.text}"
        yield f"    {broken.heading}: {' '.join(broken.passage.split())[:PASSAGE_CHARS_MAX]}"
    for proposal, finding in _findings(result):
        yield f"{_where(proposal.place)}: {_judge(proposal, finding)}"
    if result.governing:
        yield ""
        yield "Decisions that speak of this change, the nearest first:"
    for near in result.governing:
        yield f"  {_title(near)}  ({near.decision.address})"
        yield f"      {near.reason}" + (f"; near to {', '.join(near.near_to[:3])}" if near.near_to else "")
        yield f"      {' '.join(near.passage.split())[:PASSAGE_CHARS_MAX]}"
    for missing in result.degraded:
        yield f"searched without {missing.arm}: {missing.detail}"


def _where(place: ChangePlace) -> str:
    return f"{place.path or 'line'}:{place.line}"


def _say(broken: BrokenDecision) -> str:
    said = f"{broken.likelihood}, {broken.confidence:.0%} of such were right"
    return f"seems to break {_title(broken)} ({broken.decision.address}): {broken.reason} ({said})"


def _findings(result: CheckResult) -> Iterator[tuple[VettedProposal, ProposalFinding]]:
    return ((proposal, finding) for proposal in result.proposals for finding in proposal.findings)


def _judge(proposal: VettedProposal, finding: ProposalFinding) -> str:
    sure = "" if finding.likelihood == "certain" else f", {finding.confidence:.0%} of such were right"
    named = f"{finding.decision.address}; " if finding.decision else ""
    said = f"{named}{finding.likelihood}{sure}"
    return f"{proposal.title}: {finding.reason} ({said})"


def _title(found: GoverningDecision | BrokenDecision) -> str:
    return f"{found.decision.label or found.decision.log} {found.decision.title}"


def show_github(result: CheckResult) -> str:
    """Commands of a workflow's log, which GitHub shows at the lines of a pull request."""
    lines = []
    for each in result.cited:
        title = _escape("Decision that does not hold")
        lines.append(f"::warning {_locate(each.place)}title={title}::{_escape_data(each.reason)}")
    for broken in result.seems_to_break:
        kind = _weigh(broken.likelihood, "notice")
        title = _escape("Seems to break a decision")
        lines.append(f"::{kind} {_locate(broken.place)}title={title}::{_escape_data(_say(broken))}")
    for proposal, finding in _findings(result):
        kind = _weigh(finding.likelihood, "notice")
        lines.append(
            f"::{kind} {_locate(proposal.place)}title={_escape('Proposed decision')}::"
            f"{_escape_data(_judge(proposal, finding))}"
        )
    for governing in result.governing:
        said = f"{governing.decision.address}: {governing.reason}"
        lines.append(f"::notice title={_escape(_title(governing))}::{_escape_data(said)}")
    return "\n".join(lines)


def _weigh(likelihood: str, weak: str) -> str:
    """What is only possible weighs less, by the word that a form has for it."""
    return weak if likelihood == "possible" else "warning"


def _locate(place: ChangePlace) -> str:
    return f"file={_escape(place.path)},line={place.line}," if place.path else ""


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape(text: str | None) -> str:
    return _escape_data(text or "").replace(":", "%3A").replace(",", "%2C")


def show_sarif(result: CheckResult) -> str:
    """SARIF 2.1.0, which most tools of code review read."""
    found = [_at("cites-what-does-not-hold", "warning", each.reason, each.place) for each in result.cited]
    for broken in result.seems_to_break:
        level = _weigh(broken.likelihood, "note")
        made = _at("seems-to-break", level, f"{_say(broken)}. It says: {broken.passage}", broken.place)
        found.append(made | {"rank": round(100 * broken.confidence, 1)})
    for proposal, finding in _findings(result):
        level = _weigh(finding.likelihood, "note")
        made = _at("proposes", level, _judge(proposal, finding), proposal.place)
        found.append(made | {"rank": round(100 * finding.confidence, 1)})
    found += [
        _result("governed-by", "note", f"{_title(each)} ({each.decision.address}): {each.reason}", each.near_to)
        for each in result.governing
    ]
    rules = [{"id": name, "shortDescription": {"text": about}} for name, about in RULES.items()]
    driver = {"name": "adriatic", "version": __version__, "rules": rules}
    runs = [{"tool": {"driver": driver}, "results": found}]
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": runs}, indent=2)


def _at(rule: str, level: str, text: str, place: ChangePlace) -> dict[str, Any]:
    made = _result(rule, level, text, [place.path] if place.path else [])
    for location in made.get("locations", []):
        location["physicalLocation"]["region"] = {"startLine": place.line}
    return made


def _result(rule: str, level: str, text: str, paths: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"ruleId": rule, "level": level, "message": {"text": text}}
    if paths:
        made["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": path}}} for path in paths[:1]]
    return made


FORMS: Final[Mapping[str, Callable[[CheckResult], str]]] = {
    "text": show_text,
    "sarif": show_sarif,
    "github": show_github,
}
