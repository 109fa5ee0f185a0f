"""Search by words finds other forms of the words of other languages, first what has the word as it is asked for, and
nothing of it changes what an English tenant finds."""

from __future__ import annotations

from uuid import UUID

import pytest

from runtime.settings import Settings
from tests.api.search.corpus import Corpus
from tests.api.search.test_routes import clients
from tests.connectors.embedders.stand_in import FakeEmbedder

pytestmark = pytest.mark.stack

TEXTS = {
    1: ("Entscheidungen zur Datenbank", "Wir speichern die Aufträge in einer Datenbank, weil das Häuser und Mieter verbindet."),
    2: ("Löschung nach Fristen", "Die Löschungen der Protokolle sind nach dreißig Tagen fällig, und nicht sofort."),
    3: ("L'architecture des journaux", "Les équipes ont déployé un journal d’événements dans chaque région, avec une sauvegarde."),
    4: ("Decisiones sobre los servidores", "Los registros de las peticiones se guardan en un servidor para la auditoría."),
    5: ("Versões dos contratos", "As permissões são gravadas para que os usuários não percam uma sessão."),
    6: ("Decisioni sui servizi", "Il servizio è distribuito con una chiave che le squadre rinnovano."),
    7: ("Beslissingen over wachtrijen", "De gebruikers sturen een bericht naar de wachtrij, en dat wordt niet verwijderd."),
    8: ("Beslut om köer", "Tjänsten skickar meddelanden till en kö, och det är inte alltid i ordning."),
    9: ("Beslutninger om sletning", "Tjenesten sletter ikke brugernes billeder, og det er den eneste undtagelse."),
    10: ("Tjenester og nøkler", "Vi har etter dette en nøkkel for hver tjeneste, og det er ikke lov å dele dem."),
    11: ("Palvelut ja tietokannat", "Palvelun tietokanta on varmistettu, ja se ei ole muiden palveluiden käytössä."),
    12: ("Настройки отчётов", "Решения о хранении отчётов принимаются в базе, и это не обсуждается."),
    13: ("Decyzje o kolejkach", "Usługa zapisuje zamówienia do bazy, a wiadomości są w kolejce i nie giną."),
    14: ("Rozhodnutí o službách", "Zprávy se ukládají do databáze, která je pro všechny služby a není sdílená."),
    15: ("Use clusters for reports", "The cluster runs reports, and the dates of each report are kept. Clusters are in the router."),
    16: ("Cluster für Berichte", "Der Cluster läuft nachts, und die Daten der Berichte sind in einem Cluster mit Router."),
}  # fmt: skip
FIRST = [
    ("Entscheidung", 1), ("Entscheidung Datenbanken", 1), ("Auftrag Haus", 1), ("Aufträgen", 1), ("Mietern", 1),
    ("Haeuser", 1), ("Hauses", 1), ("Protokoll", 2), ("Protokolls löschungen", 2), ("Loeschung", 2), ("Frist", 2),
    ("LÖSCHUNGEN", 2), ("protokollen der Frist", 2),
    ("architectures", 3), ("d'une architecture", 3), ("l’équipe", 3), ("equipe", 3), ("événement", 3), ("evenement", 3),
    ("journal déployée", 3), ("qu'elles soient déployées", 3), ("sauvegardes par régions", 3),
    ("decisión servidor", 4), ("decision servidores", 4), ("registro", 4), ("petición", 4), ("peticion", 4), ("auditorías", 4),
    ("versão", 5), ("versao", 5), ("permissão", 5), ("permissao", 5), ("sessões", 5), ("usuário", 5), ("contrato", 5),
    ("decisione della squadra", 6), ("dell'architettura o del servizio", 6), ("squadra", 6), ("chiavi", 6), ("distribuita", 6),
    ("beslissing", 7), ("gebruiker", 7), ("wachtrij", 7), ("berichten gebruiker", 7),
    ("beslutet", 8), ("tjänster", 8), ("meddelandet", 8),
    ("beslutning", 9), ("bruger", 9), ("billederne", 9), ("undtagelser", 9),
    ("nøkkelen", 10), ("nokkelen", 10), ("tjenesten etter", 10),
    ("palvelussa", 11), ("tietokannan", 11), ("tietokannassa", 11),
    ("настройка", 12), ("НАСТРОЙКАМИ", 12), ("решение", 12), ("решений", 12), ("хранение", 12), ("отчет", 12),
    ("decyzja", 13), ("usługi", 13), ("uslugi", 13), ("zamówienie", 13), ("wiadomość", 13),
    ("služba", 14), ("sluzba", 14), ("zprávami", 14), ("databází", 14),
    ("clustered", 15), ("date of reports", 15), ("Bericht", 16),
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
