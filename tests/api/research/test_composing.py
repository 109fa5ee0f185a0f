"""The answer without a model: what is quoted, what is taken out, what is said to be missing, and each bound."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgspec
import pytest

from api.research import composing
from api.research.asking import ResearchDesk
from api.research.citing import CitationVerdict
from api.research.composing import (
    NOTHING,
    PassageText,
    assemble,
    compose,
    open_at_pages,
    place_claim,
    stands_on,
    withdraw,
)
from api.research.passes import FoundPassage, PassageKey
from api.research.schemas import (
    AnsweredPart,
    CheckedClaim,
    CitedSource,
    ResearchPass,
    ResearchRequest,
    ResearchResult,
    WrittenAnswer,
)
from api.withdrawn import NamedSource
from connectors.embedders.spaces import SpaceEmbedders
from runtime.errors import DependencyUnavailable
from runtime.settings import PostgresSettings, Settings
from tests.connectors.embedders.stand_in import FakeEmbedder


def passage(number: int, text: str, status: str = "accepted") -> PassageText:
    key = PassageKey("adr", UUID(int=number), 1, 0)
    found = FoundPassage(key, 100, 100 + len(text), f"Record {number}", "", status, f"ADR-{number}", "main", None, 1.0)
    return PassageText(found, text)


def test_each_part_is_answered_by_whole_sentences_with_their_places() -> None:
    context = [
        passage(1, "Short. Deletes are handled by tombstones here."),
        passage(2, "Nobody writes to both.", "superseded"),
    ]
    made = compose(["how are deletes handled?", "who writes to both?", "which mascot is preferred?"], context)
    assert [part.answered for part in made.parts] == [True, True, False]
    (claim,) = made.parts[0].claims
    assert (claim.text, claim.char_start, claim.char_end) == ("Deletes are handled by tombstones here.", 107, 146)
    assert [(source.number, source.label) for source in made.sources] == [(1, "ADR-1"), (2, "ADR-2")]
    assert made.text.count(NOTHING) == 1
    assert "Nobody writes to both. [2] (superseded)" in made.text, "what does not hold any more is said"


def test_what_does_not_hold_is_taken_out_and_counted() -> None:
    context = [passage(1, "Deletes are handled by tombstones here.")]
    made = compose(["how are deletes handled?"], context, lambda *_: CitationVerdict("absent", 0.0, 0, 0))
    assert (made.parts[0].answered, made.parts[0].claims, made.parts[0].dropped) == (False, [], 1)
    assert made.sources == []


def test_so_many_sources_and_tokens_and_no_more() -> None:
    many = [passage(number, "Deletes are handled.") for number in range(30)]
    assert len(assemble(many, 8)) == 8
    assert len(assemble([many[0], many[0]], 1)) == 2, "two passages of one source"
    long = "x" * (composing.CONTEXT_TOKENS_MAX * composing.CHARS_PER_TOKEN - 10)
    assert [len(each.text) for each in assemble([passage(1, long), many[2], passage(3, "short")], 8)] == [len(long), 5]


def test_so_many_quotes_of_such_a_length() -> None:
    many = [passage(number, "Deletes are handled by tombstones.") for number in range(composing.CLAIMS_EACH + 4)]
    assert len(compose(["how are deletes handled?"], many).parts[0].claims) == composing.CLAIMS_EACH
    endless = "deletes handled " * composing.QUOTE_CHARS_MAX
    made = compose(["how are deletes handled?"], [passage(1, f"{endless}. Deletes are handled.")])
    assert [claim.text for claim in made.parts[0].claims] == ["Deletes are handled."]


def test_a_passage_that_fits_too_little_answers_nothing() -> None:
    text = "Deletes are logged nightly by someone."
    assert not compose(["how are deletes handled by brokers?"], [passage(1, text)]).parts[0].answered
    assert compose(["how are deletes handled by brokers?"], [passage(1, text)], answered_min=0.3).parts[0].answered


def test_a_question_has_such_a_length() -> None:
    with pytest.raises(msgspec.ValidationError, match="length <= 1000"):
        msgspec.convert({"question": "x" * 1001}, ResearchRequest)
    with pytest.raises(msgspec.ValidationError, match="<= 3"):
        msgspec.convert({"question": "x", "passes": 4}, ResearchRequest)
    with pytest.raises(msgspec.ValidationError, match="<= 20"):
        msgspec.convert({"question": "x", "sources": 21}, ResearchRequest)


def test_a_step_that_takes_too_long_is_an_outage_and_the_desk_goes_on() -> None:
    settings = Settings(postgres=PostgresSettings(host="127.0.0.1", port=1))
    desk = ResearchDesk(settings, SpaceEmbedders.of(FakeEmbedder()), step_s_max=0.2)
    try:
        with pytest.raises(DependencyUnavailable, match=r"took longer than 0\.2 s"):
            desk.run(lambda _: asyncio.sleep(60))
        assert desk.run(lambda _: asyncio.sleep(0, "again")) == "again"
        with pytest.raises(DependencyUnavailable):
            desk.run(
                lambda researcher: researcher.search(
                    UUID(int=1), ResearchRequest("Why?"), researcher.begin(ResearchRequest("Why?"))
                )
            )
    finally:
        desk.close()


def result_of(*parts: AnsweredPart, written: WrittenAnswer | None = None) -> ResearchResult:
    sources = [
        CitedSource(
            number, "document", UUID(int=number), 1, None, None, f"Title {number}", "", "", f"/original#page={number}"
        )
        for number in (1, 2)
    ]
    return ResearchResult(True, sources, list(parts), "", [], None, None, [], None, written)


FIRST, SECOND = ("document", UUID(int=1)), ("document", UUID(int=2))


def claim(source: int, text: str, start: int = 0) -> CheckedClaim:
    return CheckedClaim(text, source, start, start + len(text), 1.0)


def test_what_stood_on_a_source_that_is_gone_is_gone_and_the_rest_stands() -> None:
    both = AnsweredPart("a?", True, [claim(1, "First says."), claim(2, "Second says.")])
    one = AnsweredPart("b?", True, [claim(1, "First only.")])
    left = withdraw(result_of(both, one), {FIRST})
    assert [each.number for each in left.sources] == [2], "numbers stay, since the text has them"
    assert [(part.answered, [each.text for each in part.claims]) for part in left.parts] == [
        (True, ["Second says."]),
        (False, []),
    ]
    assert (left.answered, left.withdrawn) == (True, 1)
    assert "First" not in left.text
    assert left.text.count(NOTHING) == 1
    nothing = withdraw(result_of(one), {FIRST, SECOND})
    assert (nothing.answered, nothing.sources, nothing.withdrawn) == (False, [], 2)
    whole = result_of(both, one)
    assert withdraw(whole, ()).parts == whole.parts


def test_a_round_that_took_words_of_what_is_gone_does_not_say_them() -> None:
    rounds = [ResearchPass(["a?"], 3, []), ResearchPass(["a? zirconium"], 1, [], [NamedSource("document", SECOND[1])])]
    result = msgspec.structs.replace(result_of(AnsweredPart("a?", True, [claim(1, "First.")])), passes=rounds)
    assert stands_on(msgspec.structs.replace(result, sources=[])) == {SECOND}, "it need not be cited"
    left = withdraw(msgspec.structs.replace(result, sources=result.sources[:1], text="First. [1]"), {SECOND})
    assert [each.queries for each in left.passes] == [["a?"], []]
    assert (left.text, left.withdrawn, left.answered) == ("First. [1]", 0, True)


def test_a_text_of_a_model_becomes_quotes_where_nothing_of_it_is_left() -> None:
    part = AnsweredPart("a?", True, [claim(2, "Second says.")])
    written = WrittenAnswer("m", [claim(1, "The first says so."), claim(2, "So does the second.")], [])
    left = withdraw(result_of(part, written=written), {FIRST})
    assert left.text == "So does the second. [2]\n"
    left = withdraw(result_of(part, written=msgspec.structs.replace(written, claims=written.claims[:1])), {FIRST})
    assert left.written is not None
    assert left.written.claims == []
    assert left.text == "Second says. [2]\n"


def test_each_claim_opens_its_source_at_its_own_page() -> None:
    result = result_of()
    claims = [claim(1, "a", 10), claim(1, "b", 500), claim(2, "c", 10)]
    places = [place_claim(each, result.sources) for each in claims]
    opened = open_at_pages(claims, result.sources, {places[0]: (1, 1), places[1]: (4, 5)})
    assert [(each.pages, each.path) for each in opened] == [
        ((1, 1), "/original#page=1"),
        ((4, 5), "/original#page=4"),
        (None, "/original#page=2"),
    ]
    no_pdf = [msgspec.structs.replace(each, path="/original") for each in result.sources]
    assert [each.path for each in open_at_pages(claims[:2], no_pdf, {places[1]: (4, 5)})] == ["/original"] * 2
