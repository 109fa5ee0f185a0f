"""`adriatic eval citations`: does the check of citations tell right ones from wrong ones?

Owns the reading of histories into versions of tenants, the curve, and the table. Needs no running system: the check is
pure, and what a tenant has is a mapping. Refuses to tune anything. The set is in `api/research/citation_set.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click
import msgspec

from adriatic.cli.evaluate import evaluate, open_histories
from adriatic.cli.output import json_option
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from api.research.citation_set import JudgedClaim, TenantVersion

THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a claim's words that its evidence must have, for the curve."""
VERSIONS_MAX: Final = 3_000
"""Versions of one history that are read: the rest would make the set no other."""


@evaluate.command("citations")
@click.option(
    "--data",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="As for `eval known-item`; each history is a tenant.  [default: docs/decisions]",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Which set is made.")
@click.option("--each", type=click.IntRange(1, 1000), default=200, show_default=True, help="Claims of a kind at most.")
@json_option("Print the figures as JSON.")
def citations(paths: tuple[Path, ...], seed: int, each: int, as_json: bool) -> None:
    """Say how well the check of citations tells claims that hold from those that do not, on a set made by a seed.

    \b
    adriatic eval citations                            this project's own decisions, one tenant
    adriatic eval citations --data histories/          every .jsonl(.gz) file in it, each as a tenant

    Prints by kind how many were accepted, precision and recall by claim, and both by the share of words that is asked
    for: the curve of abstention. Exits with 1 when a citation of another tenant was accepted. Needs no system.
    """
    from api.research.citation_set import make_claims

    versions = list(read_versions(load(), paths))
    claims = make_claims(versions, seed, each)
    if not claims:
        raise InvalidInput("there is no sentence to make claims of", hint="name a folder of decision records by --data")
    found = figures(claims, versions)
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(table(found)))
    if found["kinds"].get("other tenant", {}).get("accepted"):
        click.get_current_context().exit(1)


def read_versions(settings: Settings, paths: Sequence[Path]) -> Iterator[TenantVersion]:
    """Every version of every file; each history is a tenant."""
    from api.research.citation_set import TenantVersion
    from connectors.history import Fault

    number = 0
    for tenant, source in open_histories(settings, paths):
        sources: dict[str, UUID] = {}
        counts: Counter[UUID] = Counter()
        for read, change in enumerate(source.changes()):
            if read == VERSIONS_MAX:
                break
            if isinstance(change, Fault) or change.content is None or change.change == "D":
                continue
            source_id = sources.pop(change.old_path or "", None) or sources.get(change.path)
            if source_id is None:
                number += 1
                source_id = UUID(int=number)
            sources[change.path] = source_id
            counts[source_id] += 1
            yield TenantVersion(tenant, source_id, counts[source_id], change.content.decode(errors="replace"))


def figures(claims: Sequence[Any], versions: Sequence[TenantVersion]) -> dict[str, Any]:
    """Count by kind, overall at the threshold in force, and along the curve."""
    from api.research.citation_set import judge, precision_and_recall
    from api.research.claims import SUPPORT_MIN

    judged = judge(claims, versions, SUPPORT_MIN)
    kinds: dict[str, Any] = {}
    for kind in dict.fromkeys(each.claim.kind for each in judged):
        of = [each for each in judged if each.claim.kind == kind]
        accepted = sum(each.accepted for each in of)
        kinds[kind] = {"holds": of[0].claim.holds, "claims": len(of), "accepted": accepted}
    precision, recall = precision_and_recall(judged)
    curve = []
    for threshold in sorted({*THRESHOLDS, SUPPORT_MIN}):
        at = judge(claims, versions, threshold)
        here, there = precision_and_recall(at)
        said_nothing = sum(not each.accepted for each in at) / len(at)
        curve.append({"support": threshold, "precision": here, "recall": there, "abstained": said_nothing})
    overall = {"support": SUPPORT_MIN, "precision": precision, "recall": recall, "low": _low(judged)}
    return {"task": "citations", "claims": len(judged), "kinds": kinds, "overall": overall, "curve": curve}


def _low(judged: Sequence[JudgedClaim]) -> float:
    """The lower end of the 95 % interval of the precision, by resampling."""
    from api.search.known_item import interval

    return interval([float(each.claim.holds) for each in judged if each.accepted])[0]


def table(found: dict[str, Any]) -> Iterator[str]:
    yield f"{'kind':<16}  {'':<6}  {'claims':>6}  {'accepted':>8}"
    for kind, each in found["kinds"].items():
        word = "holds" if each["holds"] else "wrong"
        yield f"{kind:<16}  {word:<6}  {each['claims']:>6}  {each['accepted']:>8}"
    overall = found["overall"]
    yield ""
    yield (
        f"precision {overall['precision']:.3f} (95 % of resamples: from {overall['low']:.3f}), "
        f"recall {overall['recall']:.3f} of {found['claims']} claims, at support {overall['support']:g}"
    )
    yield ""
    yield "support  precision  recall  abstained"
    for at in found["curve"]:
        yield f"{at['support']:>7.2f}  {at['precision']:>9.3f}  {at['recall']:>6.3f}  {at['abstained']:>9.3f}"
