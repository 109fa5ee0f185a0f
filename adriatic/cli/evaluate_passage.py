"""`adriatic eval passage`: does the running system find the passage that a sentence was taken out of?

Owns the tenants of this evaluation (`eval-pas-…`) and what its table has beside that of known items: how often the
right ADR is found, whichever of its passages is shown. Refuses to tune anything. The task is in
`api/search/passage_item.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from adriatic.cli.evaluate import (
    EvaluatedHistory,
    Ranks,
    as_json_run,
    ask,
    compare_with,
    end_with,
    evaluate,
    evaluation_options,
    import_corpora,
    is_of_number,
    measure_gains,
    open_histories,
    rank,
    read_earlier,
    scores_of,
    table,
)
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.cli.evaluation_against import Measurement
    from api.search.passage_item import PassageItem
    from api.search.schemas import Hit

PREFIX: Final = "pas-"


@dataclass(frozen=True, slots=True)
class PassageHistory:
    """One history: the corpus that goes in, and where in each text the sentence was."""

    corpus: EvaluatedHistory
    items: list[PassageItem]

    def is_right(self, number: int, hit: Hit) -> bool:
        """Whether a hit shows the passage that the sentence of this ADR was in."""
        chunk = hit.chunk
        return hit.number == number and self.items[number - 1].is_right(chunk.char_start, chunk.char_end)


@evaluate.command("passage")
@evaluation_options
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Which sentences are taken out.")
def passage(paths: tuple[Path, ...], keep: bool, against: Path | None, as_json: bool, seed: int) -> None:
    """Find the passage that a sentence was taken out of, one sentence of each ADR.

    \b
    adriatic eval passage                              this project's own decisions
    adriatic eval passage --data histories/            every .jsonl(.gz) file in it, each as a corpus of its own
    adriatic eval passage --json > before.json         a run to compare a later one with

    The sentence is in no text that is searched. Prints nDCG@10 for search by words, by meaning, and both: the right
    ADR counts as found where the right passage of it is shown; then how often the ADR is found at all. Each corpus gets
    a tenant, whose ADRs are deleted again.
    """
    settings = load()
    earlier = read_earlier(against, "passage")
    histories = list(_read(settings, paths, seed))
    corpora = [one.corpus for one in histories]
    if not any(corpus.queries for corpus in corpora):
        raise InvalidInput("there is no sentence to ask for", hint="name a folder of decision records by --data")
    shown: Ranks = {}
    found: Ranks = {}
    with import_corpora(settings, corpora, keep=keep, prefix=PREFIX) as remotes:
        for one, remote in zip(histories, remotes, strict=True):
            answers = list(ask(one.corpus, remote))
            shown[one.corpus.name] = rank(answers, one.is_right)
            found[one.corpus.name] = rank(answers, is_of_number)
    measured = measure_both(corpora, shown, found)
    compared = compare_with(earlier, measured)
    if as_json:
        click.echo(as_json_run("passage", corpora, shown, measured, compared, adrs_found=scores_of(corpora, found)))
    else:
        click.echo("\n".join((*table(corpora, shown), *lines_of_adrs(corpora, found))))
    end_with(compared, "nDCG@10", as_json=as_json)


def _read(settings: Settings, paths: Sequence[Path], seed: int) -> Iterator[PassageHistory]:
    from api.search.known_item import KnownItem
    from api.search.passage_item import items

    for name, source in open_histories(settings, paths):
        if found := items(source.changes(), seed):
            # Runs with another seed ask other questions of the same ADR, and are not to be compared with it.
            texts = [KnownItem(f"{item.path}: {item.query}", item.query, item.text) for item in found]
            yield PassageHistory(EvaluatedHistory(name, texts), found)


def measure_both(corpora: Sequence[EvaluatedHistory], shown: Ranks, found: Ranks) -> list[Measurement]:
    """The gain of each question by mode, and beside it that of its ADR, whichever passage is shown."""
    return [
        msgspec.structs.replace(
            each, values=each.values | {f"{mode}, ADR": gain for mode, gain in whole.values.items()}
        )
        for each, whole in zip(measure_gains(corpora, shown), measure_gains(corpora, found), strict=True)
    ]


def lines_of_adrs(corpora: Sequence[EvaluatedHistory], found: Ranks) -> Iterator[str]:
    """Say how well the ADR itself is found, whichever passage is shown."""
    yield ""
    for mode, each in scores_of(corpora, found).items():
        yield f"{mode:<8} the ADR, whichever passage is shown: nDCG@10 {each.ndcg:.3f}, recall@10 {each.recall:.3f}"
