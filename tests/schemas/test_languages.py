"""The language of a text is recognised by the words that join others, per document and per passage; nothing is guessed
of what says little, and English is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.languages import FUNCTION_WORDS, is_function_word, read_language, read_languages

PROSE = {
    "en": "We keep the events in Kafka, because each consumer reads them at its own speed.",
    "de": "Wir speichern die Ereignisse in Kafka, weil jeder Verbraucher sie mit seiner Geschwindigkeit liest.",
    "fr": "Nous gardons les événements dans Kafka, pour que chaque équipe les lise à son rythme.",
    "es": "Guardamos los eventos en Kafka para que cada equipo los lea a su ritmo.",
    "pt": "Guardamos os eventos no Kafka para que cada equipe os leia em seu ritmo, e não em outro.",
    "it": "Conserviamo gli eventi in Kafka, e ogni squadra li legge con il suo ritmo.",
    "nl": "Wij bewaren de gebeurtenissen in Kafka, omdat elke afnemer ze op zijn eigen snelheid leest.",
    "sv": "Vi sparar händelserna i Kafka, för att varje konsument ska läsa dem i sin egen takt.",
    "da": "Vi gemmer hændelserne i Kafka, fordi hver modtager læser dem i sit eget tempo, og ikke efter vores.",
    "no": "Vi lagrer hendelsene i Kafka, fordi hver mottaker leser dem i sitt eget tempo, og ikke etter vårt.",
    "fi": "Tapahtumat ovat Kafkassa, ja jokainen palvelu lukee ne omaan tahtiinsa, kun se on mahdollista.",
    "ru": "Мы храним события в Kafka, чтобы каждый потребитель читал их с удобной для него скоростью.",
    "pl": "Przechowujemy zdarzenia w Kafce, żeby każdy odbiorca czytał je w swoim tempie, a nie na żądanie.",
    "cs": "Události jsou v Kafce, protože každý příjemce je čte svým tempem, a to je pro nás důležité.",
}


def test_each_language_has_prose() -> None:
    assert PROSE.keys() == FUNCTION_WORDS.keys()


@pytest.mark.parametrize("language", PROSE)
def test_prose_is_in_its_language(language: str) -> None:
    assert read_language(PROSE[language]) == language
    expected = None if language == "en" else language
    assert read_languages("Kafka", [PROSE[language], "Kafka 4.1, 9092"]) == (expected, [expected, expected])


@pytest.mark.parametrize(
    "text",
    [
        *("", "Kafka", "Entscheidungen", "Rio de Janeiro", "de, en, fr, es, it", "settings.toml", "数据库", "zum 1.1."),
        "CREATE TABLE accounts ( id, name )",
        "| Dienst | Port |\n|---|---|\n| Suche | 80 |",
        "los " * 2 + "Kafka " * 40,
    ],
)
def test_what_says_little_is_in_no_language(text: str) -> None:
    assert read_language(text) is None
    assert read_languages(text, [text]) == (None, [None])


def test_a_passage_may_be_in_another_language_than_its_document() -> None:
    german, english, listing = PROSE["de"], PROSE["en"] + " It is not for the others to do so.", "topic: orders"
    assert read_languages("Ereignisse", [german, german, german, english, listing])[1] == ["de", "de", "de", None, "de"]
    assert read_languages("Events", [english, english, german, listing]) == (None, [None, None, "de", None])
    # Names and terms of another language change nothing.
    mixed = "Das Deployment of the Service ist für die Teams wichtig, und der Rollback muss schnell sein."
    assert read_languages("Rollback", [mixed, mixed]) == ("de", ["de", "de"])


def test_a_title_counts() -> None:
    assert read_languages("Wahl der Datenbank", ["Wir nehmen Postgres."]) == ("de", ["de"])
    assert read_languages("Datenbank", ["Wir nehmen Postgres."]) == (None, [None])


def test_a_word_that_joins_others_does_so_in_a_language_or_in_any() -> None:
    assert not is_function_word("haus", None)
    assert is_function_word("wie", "de")
    assert not is_function_word("wie", "fr")
    assert is_function_word("wie", None)


@given(st.text(), st.lists(st.text()))
def test_it_is_total(title: str, passages: list[str]) -> None:
    language, languages = read_languages(title, passages)
    assert language != "en"
    assert len(languages) == len(passages)
