"""`adriatic schemas`: the Avro contracts, in the files, against earlier releases, and at the registry.

Exit codes: 0 fine, 1 not compatible or out of date, 2 wrong usage, 3 cannot tell (no registry, no database, no git).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adriatic.cli.output import json_option, show
from adriatic.cli.waiting import retry_until, wait_option
from runtime.deadline import Deadline
from runtime.errors import NotFound
from runtime.settings import Settings, load
from schemas import catalog
from schemas.catalog import Schema

if TYPE_CHECKING:
    from connectors.registry import RegistryClient
    from schemas.compatibility import Finding
    from schemas.releases import ReleaseHistory


@click.group()
def schemas() -> None:
    """The Avro contracts: list, generate, check, register."""


@schemas.command("list")
@json_option()
def list_(as_json: bool) -> None:
    """What contracts there are, from their files; no registry is asked."""
    contracts = catalog.load()
    width = max(map(len, contracts))
    lines = (
        f"{subject:{width}}  {', '.join(field['name'] for field in schema['fields'])}"
        for subject, schema in contracts.items()
    )
    show(as_json, json.dumps(contracts), lines)


@schemas.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; end with 1 when a file is out of date.")
def generate(only_check: bool) -> None:
    """Write the contracts of captured tables, and schemas/sql/schema.sql, from a migrated database."""
    wanted = derive_files(load())
    stale = [file for file, text in wanted.items() if not file.is_file() or file.read_text() != text]
    for file in stale:
        if not only_check:
            file.write_text(wanted[file])
        click.echo(f"{'out of date' if only_check else 'wrote'} {file.name}")
    if not stale:
        click.echo("up to date")
    sys.exit(1 if stale and only_check else 0)


def derive_files(settings: Settings) -> dict[Path, str]:
    """What each file that is made from the database ought to say."""
    from adriatic.stack.state import STATE_FILE, describe

    contracts = {
        catalog.AVRO_FOLDER / f"{subject}{catalog.SUFFIX}": catalog.dumps(schema)
        for subject, schema in read_contracts(settings).items()
    }
    return contracts | {STATE_FILE: describe(settings.postgres)}


def read_contracts(settings: Settings) -> dict[str, Schema]:
    """The contracts of every published table, by subject."""
    from connectors.capture import outbox
    from connectors.capture.publication import describe_published
    from schemas import capture

    prefix = settings.cdc.prefix
    contracts: dict[str, Schema] = {}
    for table in describe_published(settings.postgres, settings.cdc.publication):
        if table.name == outbox.TABLE:
            continue  # its rows go to the topics of the events
        topic = f"{prefix}.{table.name}"
        arguments = (prefix, table.relation.schema, table.relation.table, table.columns)
        contracts[catalog.subject_of(topic, "key")] = capture.key_schema(*arguments)
        contracts[catalog.subject_of(topic, "value")] = capture.envelope_schema(*arguments)
    return contracts


@schemas.command()
@click.option("--against", metavar="REF", help="A tag, branch or commit instead of all releases (tags v*).")
@json_option()
def check(against: str | None, as_json: bool) -> None:
    """Compare the contracts with those of earlier releases, offline. Ends with 1 when one could not be read by another.

    Each version must read every other (FULL_TRANSITIVE), so all releases are compared, not only the last.
    """
    from schemas.releases import ReleaseHistory

    history = ReleaseHistory()
    refs = [against] if against else history.tags()
    try:
        findings = list(_findings(history, refs))
    except NotFound as error:
        raise click.BadParameter(str(error), param_hint="--against") from None
    encoded = json.dumps({"against": refs, "findings": [asdict(finding) for finding in findings]})
    show(as_json, encoded, _list_findings(findings, refs))
    sys.exit(1 if findings else 0)


def _findings(history: ReleaseHistory, refs: Sequence[str]) -> list[Finding]:
    """Every version of every contract once, however many releases had it. A contract that is gone is told once too,
    by the last release that has it being the newest of `refs`."""
    from schemas import compatibility

    new = catalog.load()
    seen: set[tuple[str, str]] = set()
    findings: list[Finding] = []
    for position, ref in enumerate(refs):
        contracts = history.release(ref).contracts
        old = {
            subject: history.schema(blob)
            for subject, blob in contracts.items()
            if (subject, blob) not in seen and (position == 0 or subject in new)
        }
        seen.update(contracts.items())
        findings.extend(compatibility.check(old, new, ref))
    return findings


def _list_findings(findings: Sequence[Finding], refs: Sequence[str]) -> Iterator[str]:
    if not refs:
        yield "no release yet (no tag v*): nothing to be compatible with"
        return
    for finding in findings:
        where = f"{finding.subject} {finding.path}".rstrip()
        yield f"{where}: {finding.rule} ({finding.direction}, against {finding.against})"
        yield f"    {finding.detail}"
        yield f"    fix: {finding.fix}"
        yield f"    order: {finding.first}"
    named = refs[0] if len(refs) == 1 else f"{len(refs)} releases, the last {refs[0]}"
    yield f"{len(findings)} finding(s) against {named}" if findings else f"compatible with {named}"


@dataclass(frozen=True, slots=True)
class RegisterOutcome:
    """One subject after `register`: `state` is registered, unchanged or refused."""

    subject: str
    state: str
    schema_id: int | None = None
    level: str = ""
    reasons: tuple[str, ...] = ()


@schemas.command()
@wait_option(30)
@json_option()
def register(wait_s: float, as_json: bool) -> None:
    """Register every contract, each subject with FULL_TRANSITIVE. All are checked before the first. Safe to run again.

    Ends with 1 when the registry refuses one; nothing is registered then.
    """
    from connectors.registry import RegistryClient

    contracts = catalog.load()
    with RegistryClient(load().registry) as registry:
        outcomes = retry_until(Deadline.after(wait_s), lambda: register_all(registry, contracts))
    refused = any(outcome.state == "refused" for outcome in outcomes)
    show(as_json, json.dumps([asdict(outcome) for outcome in outcomes]), _list_outcomes(outcomes))
    sys.exit(1 if refused else 0)


def register_all(registry: RegistryClient, contracts: Mapping[str, Schema]) -> list[RegisterOutcome]:
    """Check all, then register all. Running it again after an interruption completes it."""
    from connectors.registry import LEVEL

    known = {subject: registry.find(subject, schema) for subject, schema in contracts.items()}
    reasons = {
        subject: _reasons(registry, subject, contracts[subject]) for subject, id_ in known.items() if id_ is None
    }
    if any(reasons.values()):
        return [RegisterOutcome(subject, "refused", reasons=tuple(why)) for subject, why in reasons.items() if why]
    outcomes = []
    for subject, schema in contracts.items():
        registered = registry.register(subject, schema) if known[subject] is None else None
        registry.set_level(subject)
        schema_id = registered.schema_id if registered else known[subject]
        outcomes.append(RegisterOutcome(subject, "registered" if registered else "unchanged", schema_id, LEVEL))
    return outcomes


def _reasons(registry: RegistryClient, subject: str, schema: Schema) -> list[str]:
    """Why the registry would refuse; a subject that exists is checked at our level, whatever level it had."""
    if not registry.versions(subject):
        return []
    registry.set_level(subject)
    return registry.check(subject, schema)


def _list_outcomes(outcomes: Sequence[RegisterOutcome]) -> Iterator[str]:
    width = max((len(outcome.subject) for outcome in outcomes), default=0)
    for outcome in outcomes:
        shown: Any = "-" if outcome.schema_id is None else outcome.schema_id
        yield f"{outcome.subject:{width}}  {outcome.state:10}  id {shown:>5}  {outcome.level}".rstrip()
        yield from (f"    {reason}" for reason in outcome.reasons)
