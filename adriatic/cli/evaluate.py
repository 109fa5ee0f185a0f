"""`adriatic eval`: how well the running system finds what is known to be there.

Owns the tenants of an evaluation (`eval-…`, one a corpus, emptied before and after), and the table. The ADRs go in by
the import that everybody uses, through capture, flows and index, and are asked for over HTTP: what is measured is the
system, not a model of it. Refuses to tune anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from adriatic.cli.output import json_option
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, InvalidInput, NotFound
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.cli.evaluation_against import Compared, Measurement
    from adriatic.cli.remote import Remote
    from api.search.known_item import KnownItem, KnownItemScores
    from api.search.schemas import Hit
    from connectors.history import Fault, FileChange, HistorySource, SourceKind

LEFT_OUT_SHOWN = 10
"""Questions that are named when they could not be asked; all are counted."""
MODES: Final = ("words", "meaning", "hybrid")
TENANT_PREFIX: Final = "eval-"
PAGE: Final = 200
DECISIONS: Final = Path("docs/decisions")
"""What is read when nothing is named: this project's own."""

Ranks = dict[str, dict[str, dict[int, int | None]]]
"""The place of each query's right answer by corpus, mode and number of the ADR, None where it was not found."""


@dataclass(frozen=True, slots=True)
class EvaluatedHistory:
    """One history at its end."""

    name: str
    items: list[KnownItem]

    @property
    def queries(self) -> list[tuple[int, str]]:
        """Number of the ADR that is the answer, and the query."""
        return [(number, item.query) for number, item in enumerate(self.items, 1) if item.query]


@click.group("eval")
def evaluate() -> None:
    """Measure how well the running system finds things."""


def evaluation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every evaluation has."""
    for option in (
        json_option("Print the scores as JSON, and how well each question was answered: a run to compare with."),
        click.option(
            "--against",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="What an earlier run printed with --json: says what changed, question by question, and exits with 1 "
            "when something got worse by more than chance.",
        ),
        click.option("--keep", is_flag=True, help="Leave the ADRs in the evaluation's tenants, to look at them."),
        click.option(
            "--data",
            "paths",
            multiple=True,
            type=click.Path(exists=True, path_type=Path),
            help="A folder of JSONL histories, one JSONL history, a folder of Markdown, or a git repository; may be "
            "repeated.  [default: docs/decisions]",
        ),
    ):
        command = option(command)
    return command


@evaluate.command("known-item")
@evaluation_options
def known_item(paths: tuple[Path, ...], keep: bool, against: Path | None, as_json: bool) -> None:
    """Find each ADR by its title, after the title was taken out of its text.

    \b
    adriatic eval known-item                           this project's own decisions
    adriatic eval known-item --data histories/         every .jsonl(.gz) file in it, each as a corpus of its own
    adriatic eval known-item --json > before.json      a run to compare a later one with
    adriatic eval known-item --against before.json     what changed since

    Prints nDCG@10 for search by words, by meaning, and both. Each corpus gets a tenant, whose ADRs are deleted again.
    """
    settings = load()
    earlier = read_earlier(against, "known-item")
    corpora = list(_read(settings, paths))
    if not any(corpus.queries for corpus in corpora):
        raise InvalidInput(
            "there is no ADR with a title of its own", hint="name a folder of decision records by --data"
        )
    ranks: Ranks = {}
    with import_corpora(settings, corpora, keep=keep) as remotes:
        for corpus, remote in zip(corpora, remotes, strict=True):
            ranks[corpus.name] = rank(ask(corpus, remote), is_of_number)
    measured = measure_gains(corpora, ranks)
    compared = compare_with(earlier, measured)
    if as_json:
        click.echo(as_json_run("known-item", corpora, ranks, measured, compared))
    else:
        click.echo("\n".join(table(corpora, ranks)))
    end_with(compared, "nDCG@10", as_json=as_json)


# --- against an earlier run -----------------------------------------------------------------------------------------


def read_earlier(against: Path | None, task: str) -> list[Measurement] | None:
    """The run to compare with, read before anything is done: a wrong file is not to cost an evaluation."""
    from adriatic.cli.evaluation_against import load_earlier

    return None if against is None else load_earlier(against, task)


def compare_with(earlier: list[Measurement] | None, measured: Sequence[Measurement]) -> Compared | None:
    """What changed; None without a run to compare with."""
    from adriatic.cli.evaluation_against import compare

    return None if earlier is None else compare(earlier, measured)


def end_with(compared: Compared | None, measure: str, *, as_json: bool) -> None:
    """Say what changed, where it is not in the JSON, and exit with 1 when something got worse."""
    from adriatic.cli.evaluation_against import lines

    if compared is None:
        return
    if not as_json:
        click.echo("\n".join(lines(measure, compared)))
    if compared.worse:
        click.get_current_context().exit(1)


# --- corpora --------------------------------------------------------------------------------------------------------


def open_histories(settings: Settings, paths: Sequence[Path]) -> Iterator[tuple[str, HistorySource]]:
    """Every history that is named, or lies in a folder that is named, with the slug of its tenant."""
    from adriatic.cli.imports import tenant_slug
    from connectors.history import open_source
    from connectors.history.jsonl import is_jsonl

    if not paths and not DECISIONS.is_dir():
        raise click.UsageError("there is no docs/decisions here; name a folder of decision records by --data")
    for path in paths or [DECISIONS]:
        files = sorted(file for file in path.iterdir() if is_jsonl(file)) if path.is_dir() else []
        for file in files or [path]:
            yield tenant_slug(file.resolve()), open_source(file, content_bytes_max=settings.api.adr_bytes_max)


def _read(settings: Settings, paths: Sequence[Path]) -> Iterator[EvaluatedHistory]:
    from api.search.known_item import items

    for name, source in open_histories(settings, paths):
        if found := items(source.changes()):
            yield EvaluatedHistory(name, found)


class _Texts:
    """A corpus as an import reads it (`connectors.history.HistorySource`): titles gone, file names that say nothing."""

    kind: SourceKind = "folder"
    snapshot = False

    def __init__(self, corpus: EvaluatedHistory, ref: str, at: datetime) -> None:
        self.name = corpus.name
        self._items = corpus.items
        self._ref = ref
        self._at = at

    def count(self) -> int:
        return len(self._items)

    def changes(self) -> Iterator[FileChange | Fault]:
        from connectors.history import FileChange

        for number, item in enumerate(self._items, 1):
            text = item.text.encode()
            yield FileChange(self._ref, self._at, "", "", "A", f"{number:04d}.md", None, text, len(text))

    def notes(self) -> list[str]:
        return []


# --- the system -----------------------------------------------------------------------------------------------------


def _tenant_of(settings: Settings, corpus: EvaluatedHistory, prefix: str) -> AbstractContextManager[Remote]:
    """A connection as the corpus's tenant, made when it is missing."""
    from adriatic.cli.remote import connect, local_token, local_url
    from adriatic.cli.tenants import make_tenant

    slug = (TENANT_PREFIX + prefix + corpus.name)[:63].rstrip("-")
    tenant = make_tenant(settings, slug, if_missing=True)
    return connect(local_url(settings), local_token(settings, tenant.tenant_id))


def _delete_adrs(remote: Remote) -> None:
    """Delete every ADR of the tenant, those of a run that was cut short included."""
    from api.adrs.schemas import Adr, AdrPage

    while page := remote.request("GET", "/v1/adrs", AdrPage, limit=PAGE).items:
        for adr in page:
            try:
                remote.request("DELETE", f"/v1/adrs/{adr.adr_id}", Adr, expected_version=adr.version)
            except NotFound:
                continue  # a repeated request whose first answer was lost


@contextmanager
def import_corpora(
    settings: Settings, corpora: Sequence[EvaluatedHistory], *, keep: bool, prefix: str = ""
) -> Iterator[Sequence[Remote]]:
    """A connection for each corpus, as a tenant that has its ADRs and no others; they are deleted afterwards."""
    with ExitStack() as stack:
        remotes = [stack.enter_context(_tenant_of(settings, corpus, prefix)) for corpus in corpora]
        for remote in remotes:
            _delete_adrs(remote)
            if not keep:
                stack.callback(_delete_adrs, remote)
        _import(settings, corpora, remotes)
        yield remotes


def _import(settings: Settings, corpora: Sequence[EvaluatedHistory], remotes: Sequence[Remote]) -> None:
    """Bring every corpus in, and wait until all of it can be found by words and by meaning."""
    from adriatic.cli import import_view as view
    from adriatic.cli.searchable import Watched, await_searchable
    from adriatic.cli.sending import IntoLog, send

    now = SYSTEM_CLOCK.now()
    # A log of its own: numbers begin at 1 again, and say which text an ADR is.
    log = f"run-{now:%Y%m%d-%H%M%S}"
    watched = []
    for corpus, remote in zip(corpora, remotes, strict=True):
        source = _Texts(corpus, log, now)
        with view.progress(corpus.name, source.count()) as progress:
            sent = send(remote, source, IntoLog(log), SYSTEM_CLOCK, progress, bytes_max=settings.api.import_bytes_max)
        watched.append(Watched(remote, sent.started.started_at, SYSTEM_CLOCK.monotonic()))
    with view.show_waiting() as show:
        await_searchable(watched, SYSTEM_CLOCK, show)
    if late := [corpus.name for corpus, each in zip(corpora, watched, strict=True) if not each.done]:
        raise DependencyUnavailable(
            f"{', '.join(late)}: not everything became searchable", hint="`adriatic status` shows which part waits"
        )


def ask(corpus: EvaluatedHistory, remote: Remote) -> Iterator[tuple[int, str, list[Hit]]]:
    """Ask every query in every mode: the number of the right ADR, the mode, and what was found. A query that no search
    takes is left out, and said."""
    from adriatic.cli import import_view as view
    from api.search.known_item import DEPTH
    from api.search.schemas import SearchRequest, SearchResult

    left_out: list[str] = []
    with view.progress(f"asking {corpus.name}", len(corpus.queries) * len(MODES)) as progress:
        for number, query in corpus.queries:
            for mode in MODES:
                request = SearchRequest(query, mode, limit=DEPTH)
                try:
                    result = remote.request("POST", "/v1/search", SearchResult, body=request)
                except InvalidInput as error:
                    left_out.append(f"{mode}, {query!r}: {error.detail}")
                    progress(1)
                    continue
                if result.degraded:
                    raise DependencyUnavailable(result.degraded[0].detail, hint=result.degraded[0].hint)
                yield number, mode, result.hits
                progress(1)
    if left_out:
        click.echo(f"{corpus.name}: {len(left_out)} of the questions could not be asked", err=True)
        for each in left_out[:LEFT_OUT_SHOWN]:
            click.echo(f"  {each}", err=True)


def rank(
    answers: Iterable[tuple[int, str, list[Hit]]], is_right: Callable[[int, Hit], bool]
) -> dict[str, dict[int, int | None]]:
    """The place of the first hit that is right, by mode and query."""
    ranks: dict[str, dict[int, int | None]] = {mode: {} for mode in MODES}
    for number, mode, hits in answers:
        ranks[mode][number] = next((place for place, hit in enumerate(hits, 1) if is_right(number, hit)), None)
    return ranks


def is_of_number(number: int, hit: Hit) -> bool:
    """Whether a hit is the ADR that was asked for."""
    return hit.number == number


# --- the result -----------------------------------------------------------------------------------------------------


def scores_of(corpora: Sequence[EvaluatedHistory], ranks: Ranks) -> dict[str, KnownItemScores]:
    from api.search.known_item import scores

    return {mode: scores([rank for corpus in corpora for rank in ranks[corpus.name][mode].values()]) for mode in MODES}


def measure_gains(corpora: Sequence[EvaluatedHistory], ranks: Ranks) -> list[Measurement]:
    """The gain of each question, by mode. A question that no mode was asked has none."""
    from adriatic.cli.evaluation_against import Measurement
    from api.search.known_item import gain

    measured = []
    for corpus in corpora:
        for number, _query in corpus.queries:
            asked = ranks[corpus.name]
            values = {mode: gain(asked[mode][number]) for mode in MODES if number in asked[mode]}
            if values:
                measured.append(Measurement(corpus.name, corpus.items[number - 1].path, values))
    return measured


def as_json_run(
    task: str,
    corpora: Sequence[EvaluatedHistory],
    ranks: Ranks,
    measured: Sequence[Measurement] = (),
    compared: Compared | None = None,
    **more: Any,
) -> bytes:
    """A run as JSON: what people read, and what a later run is compared with. `more` stands beside it."""

    def figures(some: Sequence[EvaluatedHistory]) -> dict[str, Any]:
        return {"adrs": sum(len(corpus.items) for corpus in some), **scores_of(some, ranks)}

    return msgspec.json.encode(
        {
            "task": task,
            "corpora": [{"name": corpus.name, **figures([corpus])} for corpus in corpora],
            "overall": figures(corpora),
            **more,
            "measurements": measured,
            "against": compared,
        }
    )


def table(corpora: Sequence[EvaluatedHistory], ranks: Ranks) -> Iterator[str]:
    width = max(len("overall"), *(len(corpus.name) for corpus in corpora))
    yield f"{'nDCG@10':<{width}}  {'ADRs':>5}  {'queries':>7}" + "".join(f"  {mode:>8}" for mode in MODES)
    for name, some in (*((corpus.name, [corpus]) for corpus in corpora), ("overall", corpora)):
        found = scores_of(some, ranks)
        adrs, queries = sum(len(corpus.items) for corpus in some), found[MODES[0]].queries
        yield f"{name:<{width}}  {adrs:>5}  {queries:>7}" + "".join(f"  {found[mode].ndcg:>8.3f}" for mode in MODES)
    overall = scores_of(corpora, ranks)
    yield ""
    for mode in MODES:
        each = overall[mode]
        yield (
            f"{mode:<8} nDCG@10 {each.ndcg:.3f} (95 % of resamples: {each.low:.3f} to {each.high:.3f}), "
            f"MRR@10 {each.mrr:.3f}, recall@10 {each.recall:.3f}"
        )
    yield f"best: {max(MODES, key=lambda mode: overall[mode].ndcg)}"
