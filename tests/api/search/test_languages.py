"""Search by words finds other forms of the words of other languages, first what has the word as it is asked for, and
nothing of it changes what an English tenant finds."""

from __future__ import annotations

from uuid import UUID

import pytest

from runtime.settings import Settings
from tests.api.search.corpus import Corpus
from tests.api.search.test_routes import clients
from tests.api.search.test_snippets import marked
from tests.connectors.embedders.stand_in import FakeEmbedder

pytestmark = pytest.mark.stack

TEXTS = {
    1: ("Entscheidungen zur Datenbank", "Wir speichern Aufträge in einer Datenbank, die Häuser und Mieter verbindet."),
    2: ("Löschung nach Fristen", "Die Löschungen der Protokolle sind nach dreißig Tagen fällig, und nicht sofort."),
    3: ("L'architecture des journaux", "Les équipes ont déployé un journal d’événements par région, avec sauvegarde."),
    4: ("Decisiones sobre los servidores", "Los registros de las peticiones se guardan para la auditoría."),
    5: ("Versões dos contratos", "As permissões são gravadas para que os usuários não percam uma sessão."),
    6: ("Decisioni sui servizi", "Il servizio è distribuito con una chiave che le squadre rinnovano."),
    7: ("Beslissingen over wachtrijen", "De gebruikers sturen een bericht naar de wachtrij, en dat wordt niet gewist."),
    8: ("Beslut om köer", "Tjänsten skickar meddelanden till en kö, och det är inte alltid i ordning."),
    9: ("Beslutninger om sletning", "Tjenesten sletter ikke brugernes billeder, og det er den eneste undtagelse."),
    10: ("Tjenester og nøkler", "Vi har etter dette en nøkkel for hver tjeneste, og det er ikke lov å dele dem."),
    11: ("Palvelut ja tietokannat", "Palvelun tietokanta on varmistettu, ja se ei ole muiden palveluiden käytössä."),
    12: ("Настройки отчётов", "Решения о хранении отчётов принимаются в базе, и это не обсуждается."),
    13: ("Decyzje o kolejkach", "Usługa zapisuje zamówienia do bazy, a wiadomości są w kolejce i nie giną."),
    14: ("Rozhodnutí o službách", "Zprávy se ukládají do databáze, která je pro všechny služby a není sdílená."),
    15: ("Use clusters for reports", "The cluster runs reports, and the dates of each report are kept in the router."),
    16: ("Berichte", "Der Cluster läuft nachts, und die Daten der Berichte sind in einem Cluster mit Router."),
}  # fmt: skip
FIRST = [
    ("Entscheidung", 1), ("Entscheidung Datenbanken", 1), ("Auftrag Haus", 1), ("Aufträgen", 1), ("Mietern", 1),
    ("Haeuser", 1), ("Hauses", 1), ("Protokoll", 2), ("Protokolls löschungen", 2), ("Loeschung", 2), ("Frist", 2),
    ("LÖSCHUNGEN", 2), ("protokollen der Frist", 2), ("Bericht", 16), ("Die Berichten", 16),
    ("architectures", 3), ("d'une architecture", 3), ("l’équipe", 3), ("equipe", 3), ("événement", 3), ("evenement", 3),
    ("journal déployée", 3), ("qu'elles soient déployées", 3), ("sauvegardes par régions", 3),
    ("decisión servidor", 4), ("decision servidores", 4), ("registro", 4), ("petición", 4), ("peticion", 4),
    ("auditorías", 4), ("versão", 5), ("versao", 5), ("permissão", 5), ("permissao", 5), ("sessões", 5),
    ("usuário", 5), ("contrato", 5), ("dell'architettura, il servizio", 6), ("squadra", 6), ("distribuita", 6),
    ("beslissing", 7), ("gebruiker", 7), ("wachtrij", 7), ("berichten gebruiker", 7),
    ("beslutet", 8), ("tjänster", 8), ("meddelandet", 8),
    ("beslutning", 9), ("bruger", 9), ("billederne", 9), ("undtagelser", 9), ("nøkkelen", 10), ("nokkelen", 10),
    ("palvelussa", 11), ("tietokannan", 11), ("tietokannassa", 11),
    ("настройка", 12), ("НАСТРОЙКАМИ", 12), ("решение", 12), ("решений", 12), ("хранение", 12), ("отчет", 12),
    ("decyzja", 13), ("usługi", 13), ("uslugi", 13), ("zamówienie", 13), ("wiadomość", 13),
    ("služba", 14), ("sluzba", 14), ("zprávami", 14), ("databází", 14), ("clustered", 15), ("date of a report", 15),
]  # fmt: skip
"""What is typed, and the text that has another form of it."""
BUSY = "Kafka Postgres"
"""Words that other texts have, so that whatever only begins like a word is not looked for."""


@pytest.fixture
def tenant(corpus: Corpus) -> UUID:
    tenant_id = corpus.tenant("many")
    for number, (title, body) in TEXTS.items():
        corpus.adr(tenant_id, title, f"# {title}\n\n{body}\n", number=number)
    corpus.adr(tenant_id, BUSY, f"# {BUSY}\n\nKafka and Postgres are what it stands on.\n", number=99)
    return tenant_id


async def test_another_form_of_a_word_is_found_beside_words_that_others_have(
    fresh_database: Settings, tenant: UUID
) -> None:
    wrong = {}
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed, number in FIRST:
            body = await client.search(f"{typed} kafka", mode="words", explain=True)
            found = [hit["number"] for hit in body["hits"] if hit["number"] != 99]
            if found[:1] != ([number] if number else []) or body.get("corrected"):
                wrong[typed] = (found, body.get("corrected"), body["explain"]["terms"])
    assert not wrong, "\n".join(map(str, wrong.items()))


async def test_an_explanation_says_what_was_asked_for_and_a_snippet_marks_it(
    fresh_database: Settings, tenant: UUID
) -> None:
    wrong = {}
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search("Aufträgen", mode="words", explain=True)
        assert body["explain"]["terms"] == ["auftragen", "auftraegen", "auftrag (de)"]
        assert body["hits"][0]["explain"]["words"]["terms"] == ["auftrag (de)"]
        for typed, places in MARKED:
            snippet = (await client.search(typed, mode="words"))["hits"][0]["snippet"]
            if marked(snippet) != places:
                wrong[typed] = snippet
    assert not wrong, "\n".join(map(str, wrong.items()))


MARKED = [
    ("Aufträgen", ["Aufträge"]),
    ("Haus Datenbanken", ["Datenbank", "Häuser"]),
    ("Protokollen", ["Protokolle"]),
    ("equipe", ["équipes"]),
    ("evenement", ["d’événements"]),
    ("отчет", ["отчётов"]),
    ("tietokannassa", ["tietokanta"]),
    ("gebruiker", ["gebruikers"]),
]


async def test_what_is_asked_for_as_it_is_written_stays_so(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed in ('"Entscheidung"', '"Aufträge in" "Entscheidung"', '"Aufträgen"'):
            assert (await client.search(typed, mode="words"))["hits"] == []
        found = await client.search('"Aufträge in" Entscheidung -Aufträgen', mode="words")
        assert [hit["number"] for hit in found["hits"]] == [1]
        assert (await client.search("-Aufträge Entscheidung", mode="words"))["hits"] == []


async def test_a_text_of_another_language_is_not_favoured_for_a_name(fresh_database: Settings, tenant: UUID) -> None:
    """A cluster is one in German too, whose stemmer makes something else of it."""
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed, terms in (
            ("Cluster", ["cluster"]),
            ("router", ["router"]),
            ("the dates are in the cluster", ["date", "cluster"]),
        ):
            body = await client.search(typed, mode="words", explain=True)
            assert body["explain"]["terms"] == terms
            assert {hit["number"] for hit in body["hits"]} == {15, 16} if len(terms) == 1 else {15}
        # Who asks in German is understood so.
        body = await client.search("wo sind die Cluster", mode="words", explain=True)
        assert body["explain"]["terms"][-1] == "clust (de)"


async def test_a_stem_completes_and_corrects_nothing(fresh_database: Settings, corpus: Corpus, tenant: UUID) -> None:
    corpus.adr(tenant, "Ohne", "Die Entscheidung ist nicht ohne den Mieter möglich.", number=20)
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed in ("þ", "þde", "þdeauft", "auft", "dea", "нас"):
            body = await client.search(typed, mode="words", typing=True, explain=True)
            stems = [term for term in body["explain"]["terms"] if "(" in term]
            assert stems == [], typed
        # A misspelt word is corrected to a word of the texts, and asked for in its other forms.
        body = await client.search("Entscheidugnen kafka", mode="words", explain=True)
        assert body["corrected"] == [{"from": "Entscheidugnen", "to": "Entscheidungen"}]
        assert body["explain"]["terms"] == ["entscheidungen", "kafka", "entscheid (de)"]
        assert {hit["number"] for hit in body["hits"]} == {1, 20, 99}


async def test_facets_count_what_is_found_by_a_stem(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search("Aufträgen kafka", mode="words", facets=["kind"])
        assert body["facets"]["sources"] == len(body["hits"]) == 2


async def test_another_tenants_stems_are_not_asked_for(fresh_database: Settings, corpus: Corpus, tenant: UUID) -> None:
    """What an English tenant asks for and finds is what it was, whatever a tenant beside it has."""
    other = corpus.tenant("english")
    title, body = TEXTS[15]
    corpus.adr(other, title, f"# {title}\n\n{body}\n", number=15)
    async with clients(fresh_database, tenant, other, embedder=FakeEmbedder()) as (mine, theirs):
        for typed in ("Mietern Berichten", "Entscheidung"):
            there = await theirs.search(typed, mode="words", correct=False, explain=True)
            assert (there["hits"], there["explain"]["terms"]) == ([], [word.lower() for word in typed.split()])
            here = await mine.search(typed, mode="words", correct=False, explain=True)
            assert here["hits"]
            assert any("(de)" in term for term in here["explain"]["terms"])


async def test_another_language_than_that_of_the_text_loses_nothing(
    fresh_database: Settings, corpus: Corpus, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passages in a language that they are not in are found by each of their words, as before."""
    monkeypatch.setattr("dataflows.chunker.read_languages", lambda _title, parts: ("fi", ["fi"] * len(parts)))
    wrong = corpus.tenant("wrong")
    for number, (title, body) in TEXTS.items():
        corpus.adr(wrong, title, f"# {title}\n\n{body}\n", number=number)
    async with clients(fresh_database, wrong, embedder=FakeEmbedder()) as (client,):
        for number, (title, body) in TEXTS.items():
            found = await client.search(f"{title} {body}", mode="words", correct=False)
            assert found["hits"][0]["number"] == number
