"""`adriatic eval guard`: does what seems to break a decision break it?

Owns the reading of labelled changes, the count, and its table. Needs no running system: the rule is pure (`api/guard`),
and is asked of each change with all decisions of a folder, which is more than a check is told of. Refuses to tune
anything.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click
import msgspec

from adriatic.cli.evaluate import evaluate
from adriatic.cli.output import json_option
from runtime.errors import InvalidInput

if TYPE_CHECKING:
    from api.guard.breaking import BreakEvidence
    from api.guard.stances import Stances

CHANGES: Final = Path("tests/api/guard/labelled_changes.toml")
DECISIONS: Final = Path("docs/decisions")
"""What is read when nothing is named: this project's own."""
SHARES: Final = ("precision", "recall")


class LabelledChange(msgspec.Struct, frozen=True):
    """What a change adds to a file, and the numbers of the decisions that it breaks, each of which is right; none: it
    breaks nothing. The rule was written with the changes of the `first` part at hand; those of the `second` were
    written afterwards and changed nothing."""

    part: str
    breaks: list[int]
    path: str
    added: str

    @property
    def diff(self) -> str:
        """The change as git would tell it."""
        lines = self.added.strip("\n").split("\n")
        added = "".join(f"+{line}\n" for line in lines)
        return f"--- a/{self.path}\n+++ b/{self.path}\n@@ -0,0 +1,{len(lines)} @@\n{added}"


class LabelledProposal(msgspec.Struct, frozen=True):
    """A proposed record beside one that stands, each a title and a text: whether both decide the same."""

    right: Literal["duplicate", ""]
    proposed: tuple[str, str]
    standing: tuple[str, str]


class LabelledChanges(msgspec.Struct, frozen=True):
    change: list[LabelledChange]
    proposal: list[LabelledProposal] = []


@dataclass(frozen=True, slots=True)
class JudgedChange:
    """A change, and what was said of it: for each kind of evidence and name, the decisions."""

    change: LabelledChange
    said: dict[tuple[BreakEvidence, str], set[int]]

    @property
    def right(self) -> list[bool]:
        """Whether each of what was said is right: all decisions that it names are."""
        return [numbers <= set(self.change.breaks) for numbers in self.said.values()]

    @property
    def found(self) -> bool:
        return any(numbers & set(self.change.breaks) for numbers in self.said.values())


@evaluate.command("guard")
@click.option(
    "--changes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A TOML file of labelled changes.  [default: {CHANGES}]",
)
@click.option(
    "--decisions",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"The folder of the decisions, which are named by the numbers of their files.  [default: {DECISIONS}]",
)
@json_option("Print the figures as JSON.")
def guard(changes: Path | None, decisions: Path | None, as_json: bool) -> None:
    """Say how much of what seems to break a decision does, and how much of what does is found.

    \b
    adriatic eval guard                                               this project's own labelled changes
    adriatic eval guard --changes mine.toml --decisions docs/adr      others, of the same form

    Prints precision and recall by kind of evidence, and the changes of which something wrong or nothing was said. Needs
    no system.
    """
    path, folder = changes or CHANGES, decisions or DECISIONS
    if not path.is_file() or not folder.is_dir():
        raise click.UsageError(f"{CHANGES} and {DECISIONS} are not here; name both by --changes and --decisions")
    labelled = read_changes(path)
    found = figures(judge(labelled.change, read_decisions(folder)), labelled.proposal)
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(table(found)))


def read_changes(path: Path) -> LabelledChanges:
    """What a file has. Raises `InvalidInput`."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), LabelledChanges)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(f"{path} has no labelled changes: {error}", hint=f"{CHANGES} shows the form") from None


def read_decisions(folder: Path) -> dict[int, Stances]:
    """What the accepted decisions of a folder refuse and choose, by the numbers of their files."""
    from api.adrs.document import parse
    from api.guard.stances import read_stances

    found = {}
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        record = parse(text)
        if (number := re.match(r"\d+", path.name)) and record.status == "accepted":
            found[int(number[0])] = read_stances(record.title or "", text)
    return found


def judge(changes: Sequence[LabelledChange], decisions: dict[int, Stances]) -> list[JudgedChange]:
    """What is said of each change."""
    from api.guard.breaking import find_breaches
    from api.guard.change import read_change
    from api.guard.uses import read_uses

    numbers, records = list(decisions), list(decisions.values())
    judged = []
    for change in changes:
        said: dict[tuple[BreakEvidence, str], set[int]] = {}
        for breach in find_breaches(read_uses(read_change(change.diff)), records):
            said.setdefault((breach.evidence, breach.named), set()).add(numbers[breach.record])
        judged.append(JudgedChange(change, said))
    return judged


def judge_proposals(proposals: Sequence[LabelledProposal]) -> dict[str, Any]:
    """How often what is called a duplicate is one, and how many are found."""
    from api.guard.proposals import compare_decisions, read_decision

    said = []
    for each in proposals:
        found = compare_decisions(read_decision(*each.proposed), read_decision(*each.standing))
        said.append(found is not None and found.kind == "duplicate")
    wanted = [bool(each.right) for each in proposals]
    right = sum(one and other for one, other in zip(said, wanted, strict=True))
    return {
        "proposals": len(said),
        "said": sum(said),
        "right": right,
        "precision": right / sum(said) if any(said) else None,
        "recall": right / sum(wanted) if any(wanted) else None,
        "confidence": round((right + 1) / (sum(said) + 2), 2),
    }


# --- the result -----------------------------------------------------------------------------------------------------


def confidence(judged: Sequence[JudgedChange]) -> dict[BreakEvidence, float]:
    """The share of right ones by evidence, drawn towards a half as one right and one wrong more would."""
    said, right = _count(judged)
    return {key: round((right[key] + 1) / (said[key] + 2), 2) for key in said}


def _count(judged: Sequence[JudgedChange]) -> tuple[Counter[BreakEvidence], Counter[BreakEvidence]]:
    said: Counter[BreakEvidence] = Counter()
    right: Counter[BreakEvidence] = Counter()
    for each in judged:
        for (evidence, _), is_right in zip(each.said, each.right, strict=True):
            said[evidence] += 1
            right[evidence] += is_right
    return said, right


def _share(judged: Sequence[JudgedChange]) -> dict[str, Any]:
    wanted = [each for each in judged if each.change.breaks]
    said = sum(len(each.said) for each in judged)
    right = sum(sum(each.right) for each in judged)
    return {
        "changes": len(judged),
        "said": said,
        "right": right,
        "breaking": len(wanted),
        "found": sum(each.found for each in wanted),
        "precision": right / said if said else None,
        "recall": sum(each.found for each in wanted) / len(wanted) if wanted else None,
    }


def figures(judged: Sequence[JudgedChange], proposals: Sequence[LabelledProposal] = ()) -> dict[str, Any]:
    parts = dict.fromkeys(each.change.part for each in judged)
    said, right = _count(judged)
    measured = confidence(judged)
    return {
        "parts": {part: _share([each for each in judged if each.change.part == part]) for part in parts},
        "overall": _share(judged),
        "evidence": {
            key: {"said": said[key], "right": right[key], "confidence": measured[key]} for key in sorted(measured)
        },
        "duplicates": judge_proposals(proposals) if proposals else None,
        "wrong": [
            {"change": _name(each.change), "evidence": evidence, "named": named, "said": sorted(numbers)}
            for each in judged
            for ((evidence, named), numbers), right in zip(each.said.items(), each.right, strict=True)
            if not right
        ],
        "missed": [
            {"change": _name(each.change), "breaks": each.change.breaks}
            for each in judged
            if each.change.breaks and not each.found
        ],
    }


def _name(change: LabelledChange) -> str:
    return f"{change.path}: {change.added.strip().splitlines()[0].strip()[:80]}"


def table(found: dict[str, Any]) -> Iterator[str]:
    yield f"{'changes':<10}  {'':>5}  breaking  found  said  right  precision  recall"
    for name, each in (*found["parts"].items(), ("overall", found["overall"])):
        shares = "".join(f"  {'-' if each[by] is None else format(each[by], '.3f'):>{len(by)}}" for by in SHARES)
        counts = (
            f"{each['changes']:>5}  {each['breaking']:>8}  {each['found']:>5}  {each['said']:>4}  {each['right']:>5}"
        )
        yield f"{name:<10}  {counts}{shares}"
    yield ""
    yield "evidence    said  right  confidence, as it is shown"
    for name, each in found["evidence"].items():
        yield f"{name:<10}  {each['said']:>4}  {each['right']:>5}  {each['confidence']:>10.2f}"
    if each := found["duplicates"]:
        yield f"{'duplicate':<10}  {each['said']:>4}  {each['right']:>5}  {each['confidence']:>10.2f}"
        yield ""
        shares = ", ".join(f"{by} {'-' if each[by] is None else format(each[by], '.3f')}" for by in SHARES)
        yield f"duplicates among {each['proposals']} proposed records: {shares}"
    if found["wrong"] or found["missed"]:
        yield ""
    for each in found["wrong"]:
        yield f"wrong   {each['change']}: said {each['said']} for {each['evidence']} of {each['named']!r}"
    for each in found["missed"]:
        yield f"missed  {each['change']}: breaks {each['breaks']}"
