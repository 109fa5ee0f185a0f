"""`adriatic eval research`: what its rounds, its expansion and its reranking are worth, and when to say nothing.

Owns the tenants of this evaluation (`eval-res-…`), the ways that are compared, and the table. The texts go in by the
import that everybody uses; the steps are those of the worker, run in this process on the database of the system, since
thousands of jobs would measure the queue. Refuses to tune anything. The task is in `api/research/evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click
import msgspec

from adriatic.cli.evaluate import (
    EvaluatedHistory,
    compare_with,
    end_with,
    evaluate,
    evaluation_options,
    import_corpora,
    open_histories,
    read_earlier,
)
from adriatic.cli.evaluate_related import read_ids
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.cli.evaluation_against import Compared, Measurement
    from api.research.asking import ResearchDesk
    from api.research.evaluation import HeldOut, MadeQuestion
    from api.research.schemas import ResearchRequest

PREFIX: Final = "res-"
WAYS: Final[Mapping[str, tuple[bool, bool, int, bool]]] = {
    # taken apart, expand, passes, rerank
    "search": (False, False, 1, False),
    "by itself": (True, False, 1, False),
    "all": (True, True, 3, True),
    "no expansion": (True, False, 3, True),
    "one pass": (True, True, 1, True),
    "no reranking": (True, True, 3, False),
}
"""One search; what research does by itself; everything; and everything but one."""
FITS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a question's words that its best passage must have, for the curve of abstention."""
FOREIGN_MAX: Final = 40
"""Questions of other histories that each is asked, which it cannot answer."""


@dataclass(slots=True)
class ResearchedHistory:
    """One history, its questions, and what was measured on the way."""

    corpus: EvaluatedHistory
    held: HeldOut
    tenant_id: UUID | None = None
    items: dict[UUID, int] = field(default_factory=dict)
    found: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    fits: list[float] = field(default_factory=list)
    foreign_fits: list[float] = field(default_factory=list)


@evaluate.command("research")
@evaluation_options
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Which questions are made.")
@click.option("--each", type=click.IntRange(1, 500), default=20, show_default=True, help="Questions of a kind at most.")
def research(paths: tuple[Path, ...], keep: bool, against: Path | None, as_json: bool, seed: int, each: int) -> None:
    """Find what questions are about that were made of a history: of titles, sentences and links that were taken out.

    \b
    adriatic eval research                             this project's own decisions
    adriatic eval research --data histories/           every .jsonl(.gz) file in it, each as a history of its own

    Prints recall@20 and nDCG@10 of one search, of research, and of research with its expansion, its rounds and its
    reranking switched off in turn; then how many questions are answered by how well a passage must fit, those that the
    history can answer and those of other histories that it cannot. Each history gets a tenant, which is emptied again.
    """
    from api.auth.controller import CallerIdentity

    settings = load()
    earlier = read_earlier(against, "research")
    histories = list(_read(settings, paths, seed, each))
    if not any(one.held.questions for one in histories):
        raise InvalidInput("there is nothing to ask for", hint="name a folder of decision records by --data")
    with import_corpora(settings, [one.corpus for one in histories], keep=keep, prefix=PREFIX) as remotes:
        for one, remote in zip(histories, remotes, strict=True):
            one.tenant_id = remote.request("GET", "/v1/me", CallerIdentity).tenant_id
            one.items = {adr_id: number for number, adr_id in read_ids(remote).items()}
        _measure(settings, histories)
    measured = _measurements(histories)
    compared = compare_with(earlier, measured)
    click.echo(_as_json(histories, measured, compared) if as_json else "\n".join(table(histories)))
    end_with(compared, "nDCG@10", as_json=as_json)


def _read(settings: Settings, paths: Sequence[Path], seed: int, each: int) -> Iterator[ResearchedHistory]:
    from api.adrs.linked import items
    from api.research.evaluation import hold_out
    from api.search.known_item import KnownItem

    for name, source in open_histories(settings, paths):
        found = items(source.changes())
        held = hold_out(found, seed, each)
        texts = [KnownItem(item.path, None, text) for item, text in zip(found, held.texts, strict=True)]
        if texts:
            yield ResearchedHistory(EvaluatedHistory(name, texts), held)


# --- the steps ------------------------------------------------------------------------------------------------------


def _measure(settings: Settings, histories: Sequence[ResearchedHistory]) -> None:
    from adriatic.cli import import_view as view
    from api.research.asking import ResearchDesk
    from connectors.embedders.spaces import SpaceEmbedders

    embedders = SpaceEmbedders.from_settings(settings.embedder, settings.secrets)
    desk = ResearchDesk(settings, embedders)
    try:
        for one in histories:
            with view.progress(f"asking {one.corpus.name}", len(one.held.questions)) as progress:
                for question in one.held.questions:
                    ask_each_way(desk, one, question)
                    progress(1)
                others = [each for other in histories if other is not one for each in other.held.questions]
                for question in _spread([each for each in others if len(each.right) == 1]):
                    one.foreign_fits.append(ask(desk, one, question, WAYS["search"])[1])
    finally:
        desk.close()
        embedders.close()


def _spread(questions: Sequence[MadeQuestion]) -> Sequence[MadeQuestion]:
    """Choose at most `FOREIGN_MAX` of them, from all histories alike."""
    return questions[:: max(1, len(questions) // FOREIGN_MAX)][:FOREIGN_MAX]


def ask_each_way(desk: ResearchDesk, one: ResearchedHistory, question: MadeQuestion) -> None:
    """Ask a question of a history in every way, and keep how well each did."""
    from api.research.evaluation import measure

    for name, way in WAYS.items():
        ranked, fit = ask(desk, one, question, way)
        one.found.setdefault(name, []).append(measure(question.right, ranked))
        if name == "search" and len(question.right) == 1:
            one.fits.append(fit)


def ask(
    desk: ResearchDesk, one: ResearchedHistory, question: MadeQuestion, way: tuple[bool, bool, int, bool]
) -> tuple[list[int], float]:
    """The items in the order that research gives them, and how well the best passage fits."""
    from api.research import passes
    from api.research.composing import fit
    from api.research.researcher import Researcher
    from api.research.schemas import ResearchRequest

    apart, expand, rounds, rerank = way
    request: ResearchRequest = ResearchRequest(question.text, expand=expand, passes=rounds, rerank=rerank)
    state = Researcher.begin(request)
    if not apart:
        state = passes.ResearchState(parts=[question.text], planned=passes.plan_first(question.text, [question.text]))
    assert one.tenant_id is not None, "imported before it is asked"
    steps = {"search": Researcher.search, "rerank": Researcher.rerank}
    while (step := passes.choose_step(request, state)) != "answer":
        state = desk.run(partial(steps[step], tenant_id=one.tenant_id, request=request, state=state))
    best = state.found[: passes.HITS_EACH]
    texts = desk.run(partial(Researcher.read, tenant_id=one.tenant_id, found=best))
    ranked = [one.items[each.key.source_id] for each in passes.best_of_sources(state.found)]
    return ranked, max((fit(question.text, each) for each in texts), default=0.0)


# --- the result -----------------------------------------------------------------------------------------------------


def _measurements(histories: Sequence[ResearchedHistory]) -> list[Measurement]:
    """The gain of each question, by way."""
    from adriatic.cli.evaluation_against import Measurement

    return [
        Measurement(one.corpus.name, f"{question.kind}: {question.text}", {way: one.found[way][at][1] for way in WAYS})
        for one in histories
        for at, question in enumerate(one.held.questions)
    ]


def _scores(histories: Sequence[ResearchedHistory], kind: str | None = None) -> dict[str, Any]:
    from api.research.evaluation import scores

    return {
        way: scores(
            [
                each
                for one in histories
                for question, each in zip(one.held.questions, one.found[way], strict=True)
                if kind is None or question.kind == kind
            ]
        )
        for way in WAYS
    }


def curve(histories: Sequence[ResearchedHistory]) -> list[dict[str, float]]:
    """Tell, by how well a passage must fit, the share of questions that are answered though they cannot be, and of
    those that can be."""
    fits = [each for one in histories for each in one.fits]
    foreign = [each for one in histories for each in one.foreign_fits]
    return [
        {
            "fit": at,
            "answered": fmean(each >= at for each in fits) if fits else 0.0,
            "answered_though_foreign": fmean(each >= at for each in foreign) if foreign else 0.0,
        }
        for at in FITS
    ]


def _as_json(
    histories: Sequence[ResearchedHistory], measured: Sequence[Measurement], compared: Compared | None
) -> bytes:
    return msgspec.json.encode(
        {
            "task": "research",
            "histories": [{"name": one.corpus.name, **_scores([one])} for one in histories],
            "overall": _scores(histories),
            "abstention": curve(histories),
            "measurements": measured,
            "against": compared,
        }
    )


def table(histories: Sequence[ResearchedHistory]) -> Iterator[str]:
    from api.research.evaluation import KINDS

    overall = _scores(histories)
    yield f"{'':<12}  {'recall@20':>9}  {'95 %':<14}  {'nDCG@10':>7}  95 %, of {overall['all'].questions} questions"
    for way, each in overall.items():
        yield (
            f"{way:<12}  {each.recall:>9.3f}  {each.recall_low:.3f} to {each.recall_high:.3f}  {each.ndcg:>7.3f}  "
            f"{each.ndcg_low:.3f} to {each.ndcg_high:.3f}"
        )
    yield ""
    yield f"{'nDCG@10':<12}" + "".join(f"  {kind:>8}" for kind in KINDS)
    by_kind = {kind: _scores(histories, kind) for kind in KINDS}
    for way in WAYS:
        yield f"{way:<12}" + "".join(f"  {by_kind[kind][way].ndcg:>8.3f}" for kind in KINDS)
    yield ""
    yield "fit   answered  though it is another history's question"
    for at in curve(histories):
        yield f"{at['fit']:.2f}  {at['answered']:>8.3f}  {at['answered_though_foreign']:>8.3f}"
