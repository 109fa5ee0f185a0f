"""Stems of other languages stand beside the words of a passage, in their order, and can be taken for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.analysis import BESIDE, analyse, analyse_query
from schemas.languages import FUNCTION_WORDS
from schemas.stems import LANGUAGES, MARK, analyse_in, find_words, mark_stems, unmark

ALIKE = [
    *("de entscheidung entscheidungen", "de löschung löschungen loeschungen loschung", "de häuser hauses haeuser"),
    *("fr décision décisions decisions", "fr déployé déployée déployés", "fr journal journaux"),
    *("es decisión decisiones decision", "es guardado guardados guardar", "pt versão versões versao versoes"),
    *("pt organização organizações organizacao", "it decisione decisioni", "it architettura architetture"),
    *("nl beslissing beslissingen", "sv tjänst tjänsten tjänster", "da beslutning beslutninger beslutningen"),
    *("no nøkkel nøkkelen nokkelen", "fi palvelu palvelun palvelut palvelussa", "ru настройка настройки настройками"),
    *("ru отчёт отчёты отчета", "pl usługa usługi uslugi", "cs služba služby sluzby"),
]


@pytest.mark.parametrize("line", ALIKE)
def test_forms_of_a_word_share_a_stem(line: str) -> None:
    language, first, *others = line.split()
    for other in others:
        assert set(mark_stems(language, first)) & set(mark_stems(language, other)), other


def test_a_passage_has_the_stem_of_each_word_in_its_order() -> None:
    text = "Die Löschungen der Protokolle, und Löschung mit getUserName"
    words, beside, stems = analyse_in("de", text).split(BESIDE)
    assert f"{words}{BESIDE}{beside}" == analyse(text)
    assert stems.split() == [f"{MARK}de{stem}" for stem in ("loschung", "protokoll", "loschung")]
    assert analyse_in("de", "und das").split(BESIDE) == ["und das"]
    assert analyse_in(None, text) == analyse(text)
    # With nothing beside the words, the stems still stand third.
    assert analyse_in("de", "Protokolle").split(BESIDE) == ["Protokolle", "", f"{MARK}deprotokoll"]


def test_which_words_have_a_stem() -> None:
    text = "Rück\u00adgabe der DATEN an x86 in handleOrder, l'équipe d\u2019été " + "ö" * 61
    assert list(find_words(text)) == ["rückgabe", "der", "daten", "équipe", "été"]


def test_a_stem_is_told_from_a_word() -> None:
    assert unmark(mark_stems("de", "entscheidungen")[0]) == ("de", "entscheid")
    assert unmark("entscheid") is None
    assert mark_stems("de", "nicht") == ()


def test_each_language_that_is_recognised_has_stems() -> None:
    assert {*LANGUAGES} == FUNCTION_WORDS.keys() - {"en"}


@given(st.text() | st.text("þÞabﬁ\u1d7a\x1e\x1f ", max_size=40))
def test_no_text_has_a_word_that_is_taken_for_a_stem(text: str) -> None:
    for analysed in (analyse(text), analyse_query(text)):
        assert MARK not in analysed.lower()
        assert analysed.count(BESIDE) <= 1


@given(st.sampled_from(LANGUAGES), st.text() | st.lists(st.sampled_from(["ab", "é", "Ö", "ї", "ł"])).map("".join))
def test_stems_are_words_of_letters_behind_what_is_analysed(language: str, text: str) -> None:
    analysed = analyse_in(language, text)
    assert analysed.startswith(analyse(text))
    parts = analysed.split(BESIDE)
    for stem in parts[2].split() if len(parts) > 2 else ():
        assert stem.startswith(MARK + language)
        assert stem.isalpha()
