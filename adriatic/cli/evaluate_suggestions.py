"""`adriatic eval suggestions`: is what is suggested of two decisions right?

Owns the reading of labelled pairs, the count, and its table. Needs no running system: the rule is pure
(`connectors/reading/suggesting.py`), and is asked of texts that were cut as the index cuts them. Refuses to tune
anything.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from adriatic.cli.evaluate import evaluate
from adriatic.cli.output import json_option
from runtime.errors import InvalidInput

if TYPE_CHECKING:
    from connectors.reading.outcomes import Decision
    from schemas.suggestions import Evidence, SuggestionKind

PAIRS: Final = Path("tests/dataflows/suggestion_pairs.toml")
"""What is read when nothing is named: this project's own."""
SHARES: Final = ("precision", "recall")


class LabelledPair(msgspec.Struct, frozen=True):
    """Two decisions, each a title and a text, and what is right of them: a kind, or nothing. The rule was written with
    the pairs of the `first` part at hand; those of the `second` were written afterwards and changed nothing."""

    part: str
    right: str
    newer: tuple[str, str]
    older: tuple[str, str]


class LabelledPairs(msgspec.Struct, frozen=True):
    pair: list[LabelledPair]


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair, and what was suggested of it."""

    pair: LabelledPair
    kind: SuggestionKind | None
    evidence: Evidence | None

    @property
    def right(self) -> bool:
        return (self.kind or "") == self.pair.right


@evaluate.command("suggestions")
@click.option(
    "--pairs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A TOML file of labelled pairs.  [default: {PAIRS}]",
)
@json_option("Print the figures as JSON.")
def suggestions(pairs: Path | None, as_json: bool) -> None:
    """Say how much of what is suggested of two decisions is right, and how much of what is right is suggested.

    \b
    adriatic eval suggestions                          this project's own labelled pairs
    adriatic eval suggestions --pairs mine.toml        others, of the same form

    Prints precision and recall by kind and evidence, and the pairs of which something wrong was said. Needs no system.
    """
    path = pairs or PAIRS
    if not path.is_file():
        raise click.UsageError(f"there is no {PAIRS} here; name a file of labelled pairs by --pairs")
    judged = judge(read_pairs(path))
    click.echo(msgspec.json.encode(figures(judged)) if as_json else "\n".join(table(judged)))


def read_pairs(path: Path) -> list[LabelledPair]:
    """The pairs of a file. Raises `InvalidInput`."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), LabelledPairs).pair
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(f"{path} has no labelled pairs: {error}", hint=f"{PAIRS} shows the form") from None


def judge(pairs: Sequence[LabelledPair]) -> list[JudgedPair]:
    """What is suggested of each pair."""
    from connectors.reading.suggesting import suggest

    judged = []
    for pair in pairs:
        found = suggest(_decision(*pair.newer), _decision(*pair.older))
        judged.append(JudgedPair(pair, found.kind if found else None, found.evidence if found else None))
    return judged


def _decision(title: str, text: str) -> Decision:
    from connectors.reading.outcomes import Decision, DecisionText
    from dataflows.chunker import chunk

    return Decision(title, [DecisionText(part.heading_path, part.char_start, part.body) for part in chunk(title, text)])


# --- the result -----------------------------------------------------------------------------------------------------


def confidence(judged: Sequence[JudgedPair]) -> dict[tuple[SuggestionKind, Evidence], float]:
    """The share of right ones by kind and evidence, drawn towards a half as one right and one wrong more would."""
    said: Counter[tuple[SuggestionKind, Evidence]] = Counter()
    right: Counter[tuple[SuggestionKind, Evidence]] = Counter()
    for each in judged:
        if each.kind is not None and each.evidence is not None:
            said[each.kind, each.evidence] += 1
            right[each.kind, each.evidence] += each.right
    return {key: round((right[key] + 1) / (said[key] + 2), 2) for key in said}


def _share(judged: Sequence[JudgedPair]) -> dict[str, Any]:
    said = [each for each in judged if each.kind is not None]
    wanted = [each for each in judged if each.pair.right]
    right = sum(each.right for each in said)
    return {
        "pairs": len(judged),
        "suggested": len(said),
        "right": right,
        "precision": right / len(said) if said else None,
        "recall": right / len(wanted) if wanted else None,
    }


def figures(judged: Sequence[JudgedPair]) -> dict[str, Any]:
    parts = dict.fromkeys(each.pair.part for each in judged)
    return {
        "parts": {part: _share([each for each in judged if each.pair.part == part]) for part in parts},
        "overall": _share(judged),
        "confidence": {" ".join(key): value for key, value in sorted(confidence(judged).items())},
        "wrong": [
            {
                "newer": each.pair.newer[0],
                "older": each.pair.older[0],
                "right": each.pair.right,
                "said": each.kind or "",
            }
            for each in judged
            if not each.right
        ],
    }


def table(judged: Sequence[JudgedPair]) -> Iterator[str]:
    found = figures(judged)
    yield f"{'pairs':<10}  {'':>5}  suggested  right  precision  recall"
    for name, each in (*found["parts"].items(), ("overall", found["overall"])):
        shares = "".join(f"  {'-' if each[by] is None else format(each[by], '.3f'):>{len(by)}}" for by in SHARES)
        yield f"{name:<10}  {each['pairs']:>5}  {each['suggested']:>9}  {each['right']:>5}{shares}"
    yield ""
    yield "confidence, as it is shown beside a suggestion"
    yield from (f"  {name:<22} {value:.2f}" for name, value in found["confidence"].items())
    if found["wrong"]:
        yield ""
    for each in found["wrong"]:
        yield f"wrong  {each['newer']} <> {each['older']}: said {each['said'] or '-'}, right is {each['right'] or '-'}"
