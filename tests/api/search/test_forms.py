"""Search by words finds what is there in whatever form it is asked for: other scripts, accents, names, endings.

The texts share no subject, and each query asks in another form than its text is written in.
"""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from api.search import query as queries
from runtime.settings import Settings
from schemas.analysis import analyse_query
from tests.api.search.corpus import Corpus, writing

pytestmark = pytest.mark.stack

TEXTS = {
    1: ("Build the parser in C++", "The parser is the hot path. C++ lets us place memory."),
    2: ("Rewrite reports in F#", "Reports are sums over ledgers, which F# says shortly."),
    3: ("Host pages with ASP.NET", "The portal stays on .NET, behind one proxy."),
    4: ("Render with Vue.js", "Forms are made of components. Vue.js has what we need."),
    5: ("Name handlers after events", "A handler is called handleOrderPlaced or retryHttpCall."),
    6: ("Failures carry AX-9035", "Whoever sees AX-9035 or E_QUOTA knows whom to call."),
    7: ("Die Aufbewahrungsfristen", "Die Löschung geschieht nach dreißig Tagen, auf Straßen und in Zügen."),
    8: ("Le café des équipes", "Les équipes se réunissent après le déploiement."),
    9: ("订单写入数据库", "服务先写入数据库, 然后发送消息。"),
    10: ("キャッシュを使う", "検索結果はキャッシュに置く。有効期限は短い。"),
    11: ("Кэш для отчётов", "Отчёты хранятся в кэше одну минуту."),
    12: ("Who may", "Rights are given by role."),
    13: ("Listen on 9443", "The port is 9443/tcp on fe80::7, and /srv/gate/listen.toml says so."),
    14: ("Freeze the contract as v7", "Clients ask for /v7/bills. v2.4.1 is the last of the old ones."),
    15: ("Answer mail as desk@example.net", "It is sent from desk@example.net."),
    16: ("Sign in with OAuth2", "Whoever signs in is known by OAuth2 alone."),
    17: ("Partitions are rebalanced", "Partitioning follows the key."),
}  # fmt: skip
FIRST = [
    ("c++", 1), ("Ｃ＋＋", 1), ("F#", 2), ("fsharp", 2), ("dotnet", 3), (".net", 3), ("asp.net", 3), ("vuejs", 4),
    ("vue", 4), ("Vue", 4), ("handleOrderPlaced", 5), ("order placed", 5), ("http", 5), ("AX9035", 6), ("9035", 6),
    ("ax-9035", 6), ("quota", 6), ("Loschung", 7), ("loeschung", 7), ("dreissig", 7), ("Aufbewahrung", 7),
    ("Aufbewahrungsfrist", 7), ("strassen", 7), ("zuegen", 7), ("cafe", 8), ("équipe", 8), ("equipes deploiement", 8),
    ("数据库", 9), ("订单", 9), ("消息", 9), ("库", 9), ("キャッシュ", 10), ("ｷｬｯｼｭ", 10), ("有効期限", 10),
    ("检索", None), ("кэш", 11), ("ОТЧЁТЫ", 11), ("отчет", 11), ("who may", 12), ("WHO", 12), ("9443", 13),
    ("listen.toml", 13), ("v7", 14), ("/v7/bills", 14), ("2.4.1", 14), ("v2.4.1", 14), ("example.net", 15),
    ("desk@example.net", 15), ("OAuth 2", 16), ("oauth", 16), ("partitoning", 17), ("rebalancing", 17), ("zzz", None),
    ('"vue js"', 4), ('"数据库"', 9), ('"据数"', None),
]  # fmt: skip


def test_the_right_one_is_first(fresh_database: Settings) -> None:
    with writing(fresh_database) as corpus:
        tenant_id = corpus.tenant("forms")
        known = {_write(corpus, tenant_id, number): number for number in TEXTS}
    wrong = {}
    with psycopg.connect(fresh_database.postgres.dsn("api")) as connection:
        connection.execute("select set_config('app.tenant_id', %s, false)", [str(tenant_id)])
        for typed, number in FIRST:
            query = queries.parse(typed)
            rows = connection.execute(
                "select w.source_id from mv.search_words(%(words)s, null, null, null, 10) w where %(clause)s = '' "
                "or w.source_id in (select source_id from mv.search_sources_with("
                "websearch_to_tsquery('pg_catalog.english', %(clause)s))) order by w.score desc",
                {"words": analyse_query(query.text), "clause": " ".join(map(queries.analyse_clause, query.required))},
            ).fetchall()
            found = known[rows[0][0]] if rows else None
            if found != number:
                wrong[typed] = (found, number)
    assert wrong == {}


def _write(corpus: Corpus, tenant_id: UUID, number: int) -> UUID:
    title, body = TEXTS[number]
    return corpus.adr(tenant_id, title, f"# {title}\n\n{body}\n")
