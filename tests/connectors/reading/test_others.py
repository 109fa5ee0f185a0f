"""What a record does to others, says of others, or says under a condition, in all languages: none of it is its own state.

Each line has the answers that a person may give who reads it; `\\n` stands for the end of a line.
"""

# ruff: noqa: E501 - the forms are a table, and letters are those of their writers
from __future__ import annotations

import pytest

from api.adrs.document import ParsedAdr, parse

BODY = "\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n"

# fmt: off
STATES = """
accepted|Akzeptiert, ersetzt ADR-3
accepted|Akzeptiert. Ersetzt ADR-3.
accepted|Akzeptiert\\n\\nErsetzt: ADR-3
accepted|Angenommen (ersetzt ADR-3)
accepted|Accepté, remplace l'ADR-3
accepted|Accepté\\n\\nRemplace : ADR-3
accepted|承認済み（ADR-3を置き換え）
accepted|Accepted. Obsoletes ADR-9
accepted|Accepted\\n\\nObsoletes ADR-9
accepted|Accepted\\n\\nDeprecates ADR-3
accepted|Przyjęta. Zastępuje ADR-3
accepted|Принято. Заменяет ADR-3
accepted|Accettata. Sostituisce ADR-3
accepted|Aanvaard. Vervangt ADR-3
accepted|Aceita. Substitui ADR-3
accepted|Aceptada. Sustituye a ADR-3
accepted|已接受，取代ADR-3
accepted|已接受。已取代ADR-3
accepted|已接受，替代ADR-3
accepted|已接受，废弃ADR-3
accepted|已接受（替换 ADR-3）
accepted|Accepted. ADR-3 is superseded by this.
accepted|Accepted. ADR-3 is hereby superseded.
accepted|Accepted; ADR-3 is now deprecated
accepted|Accepted. With this, ADR-3 is superseded.
accepted|Accepted. ADR-3 has been superseded.
accepted|Accepted. ADR-3 and ADR-4 are thereby obsolete.
accepted|Accepted (ADR-3 is thereby deprecated)
accepted|Accepted. [ADR-3](0003-x.md) was rejected.
accepted|Accepted\\n\\nADR-3 is superseded by this record
accepted|Accepted\\n\\nADR-3 is now obsolete
accepted|Akzeptiert. ADR-3 ist damit abgelöst.
accepted|Akzeptiert. ADR-3 wird hiermit ersetzt.
accepted|Akzeptiert. Damit ist ADR-3 veraltet.
accepted|Akzeptiert; ADR-3 ist nun überholt
accepted|Akzeptiert. Löst ADR-3 ab.
accepted|Accepté. L'ADR-3 est remplacé.
accepted|Accepté. L'ADR-3 est désormais obsolète.
accepted|Accepté. Abroge l'ADR-3.
accepted|Accepté. Annule et remplace l'ADR-3
accepted|Aceptada. El ADR-3 queda obsoleto.
accepted|Aceptada; ADR-3 ha sido sustituido
accepted|Aceita. O ADR-3 fica obsoleto.
accepted|Accettata. L'ADR-3 è superata.
accepted|Accettata. ADR-3 è stata sostituita
accepted|Aanvaard. ADR-3 is hiermee vervangen.
accepted|Aanvaard; ADR-3 is vervallen
accepted|Przyjęta. ADR-3 została zastąpiona.
accepted|Принято. ADR-3 устарело.
accepted|Принято; ADR-3 теперь заменено.
accepted|已接受。ADR-3 已废弃。
accepted|已接受，ADR-3 被取代
accepted|承認済み。ADR-3は廃止。
accepted|承認済み。ADR-3は置き換えられました。
accepted|承認済み。ADR-3を廃止する
accepted|Ersetzt ADR-3; angenommen
accepted|Replaces ADR-3. Accepted.
accepted|Accepted. Makes ADR-3 obsolete.
accepted/unknown|Accepted. We retired ADR-3.
accepted/unknown|Accepted. Superseded ADR-3.
accepted/unknown|Accepted. This replaced ADR-3.
accepted/unknown|Accepted. Deprecated ADR-3.
superseded|Superseded by ADR-9
superseded|Accepted. Superseded by ADR-9
superseded|Ersetzt durch ADR-9
superseded|Akzeptiert, ersetzt durch ADR-9
superseded|Akzeptiert; ersetzt ADR-3; ersetzt durch ADR-9
superseded|Ersetzt (ADR-9)
superseded|Remplacé (ADR-9)
superseded/unknown|Remplacé : ADR-9
superseded|Remplacé par l'ADR-9
superseded|Replaces ADR-3 and is superseded by ADR-9
superseded|Accepted. ADR-9 supersedes this.
superseded|Durch ADR-9 ersetzt
superseded|Wurde durch ADR-9 abgelöst
superseded|已被ADR-9取代
superseded|被ADR-9替代
superseded|由ADR-9取代
superseded|ADR-9に置き換えられた
superseded|ADR-9により置き換え
superseded|ADR-9に置き換え
superseded|A été remplacée par l'ADR-9
superseded|Superseded: ADR-9
superseded|Superseded [ADR-9](0009-x.md)
superseded|ADR-9 supersedes this
rejected/unknown|The team has decided against this
rejected/unknown|We decided against it
rejected/unknown|Decided against
rejected|We accepted this provisionally; the board then rejected it.
rejected/unknown|Accepted at first. The board later rejected it.
rejected/unknown|Accepted; but the architects rejected it
unknown|Accepted if the load test passes
unknown/proposed|Accepted, if the load test passes
unknown/proposed|Accepted (provided that the load test passes)
unknown/proposed|Accepted provided the load test passes
unknown/proposed|Accepted unless the test fails
unknown/proposed|Akzeptiert, falls der Lasttest besteht
unknown/proposed|Akzeptiert wenn der Lasttest besteht
unknown/proposed|Accepté si le test passe
unknown/proposed|Aceptada si pasa la prueba
unknown/proposed|Aceita se o teste passar
unknown/proposed|Accettata se il test passa
unknown/proposed|Aanvaard mits de test slaagt
unknown/proposed|Aanvaard als de test slaagt
unknown/proposed|Przyjęta, jeśli test przejdzie
unknown/proposed|Принято, если тест пройдет
unknown/proposed|如果测试通过则接受
unknown/proposed|テストに通れば承認
rejected/unknown|Wir haben uns dagegen entschieden
rejected/unknown|Dagegen entschieden
rejected/unknown|Gegen diesen Vorschlag entschieden
rejected/unknown|Das Team hat sich gegen diesen Vorschlag entschieden
rejected/unknown|Décidé contre
rejected/unknown|Decidido en contra
rejected/unknown|Decidido contra
rejected/unknown|Deciso contro
rejected/unknown|Besloten tegen
rejected/unknown|Zdecydowano przeciw
rejected/unknown|Решено против
rejected/unknown|决定反对
rejected/unknown|决定不采用
rejected/unknown|反対に決定
accepted/unknown|Accepted against the advice of security
accepted/unknown|Accepted. We decided against Kafka.
rejected|Abgelehnt zugunsten von ADR-9
rejected|Rejected in favour of ADR-9
rejected|Rejeté au profit de l'ADR-9
rejected|Rechazada en favor de ADR-9
rejected|Rejeitada em favor da ADR-9
rejected|Rifiutata a favore di ADR-9
rejected|Afgewezen ten gunste van ADR-9
rejected|Odrzucona na rzecz ADR-9
rejected|Отклонено в пользу ADR-9
rejected|Abgelehnt, zugunsten von ADR-9
rejected/superseded|Verworfen zugunsten von ADR-9
superseded|Abgelöst zugunsten von ADR-9
superseded/unknown|Veraltet zugunsten von ADR-9
accepted|Accepted\\n\\nSuperseded by: n/a
accepted|Accepted\\n\\nSuperseded by: N/A
accepted|Accepted\\n\\nSuperseded by: keine
accepted|Accepted\\n\\nSuperseded by: -
accepted|Accepted\\n\\nSuperseded by: none
accepted|Accepted\\n\\nSuperseded by: TBD
accepted|Accepted\\n\\nSuperseded by: not applicable
accepted|Accepted\\n\\nSuperseded by none
accepted|Akzeptiert\\n\\nErsetzt durch: keine
accepted|Akzeptiert\\n\\nErsetzt durch: n/a
accepted|Accepté\\n\\nRemplacé par : aucun
accepted|Accepté\\n\\nRemplacée par : aucune
accepted|Aceptada\\n\\nSustituido por: ninguno
accepted|Aceita\\n\\nSubstituído por: nenhum
accepted|Accettata\\n\\nSostituita da: nessuno
accepted|Aanvaard\\n\\nVervangen door: geen
accepted|Aanvaard\\n\\nVervangen door: n.v.t.
accepted|Przyjęta\\n\\nZastąpiona przez: brak
accepted|Принято\\n\\nЗаменено на: нет
accepted|已接受\\n\\n被取代：无
accepted|承認済み\\n\\n置き換え先：なし
accepted|Accepted (superseded by: n/a)
accepted|Accepted. Replaces parts of ADR-3; replaced in parts by ADR-9
accepted|Accepted. Superseded in part by ADR-9
accepted|Akzeptiert. Teilweise ersetzt durch ADR-9
accepted|Akzeptiert; ersetzt in Teilen durch ADR-9
accepted|Accepté. Remplacé en partie par l'ADR-9
accepted|Aceptada. Sustituida en parte por ADR-9
accepted|Accettata. Sostituita in parte da ADR-9
accepted|Aanvaard. Vervangen deels door ADR-9
unknown/proposed/accepted|Not fully accepted
unknown/proposed/accepted|Not unanimously accepted
unknown/proposed/accepted|Nicht vollständig akzeptiert
unknown/proposed/accepted|Nicht einstimmig angenommen
unknown/proposed/accepted|Pas entièrement accepté
unknown/proposed/accepted|No totalmente aceptada
unknown/proposed/accepted|Não totalmente aceita
unknown/proposed/accepted|Non completamente accettata
unknown/proposed/accepted|Niet volledig aanvaard
unknown/proposed/accepted|Nie w pełni przyjęta
unknown/proposed/accepted|Не полностью принято
unknown/proposed/accepted|未完全接受
unknown/proposed/accepted|完全には承認されていない
unknown/proposed|Not accepted, not rejected
unknown/proposed|Neither accepted nor rejected
unknown/proposed|Nicht angenommen, nicht abgelehnt
unknown/proposed|Not accepted and not rejected
unknown/proposed|Ni accepté ni rejeté
unknown/proposed|Pas accepté, pas rejeté
unknown/proposed|No aceptada, no rechazada
unknown/proposed|Non accettata, non rifiutata
unknown/accepted|Deprecation proposed
unknown/accepted|Deprecation rejected
unknown/accepted|Rejection proposed
unknown/proposed|Acceptance proposed
unknown/accepted|Dépréciation proposée
unknown/accepted|Ablösung vorgeschlagen
unknown/accepted|Deprecazione proposta
unknown/accepted|Replacement proposed
unknown/accepted|Withdrawal proposed
unknown/accepted|Supersession proposed
deprecated|Replaced by nothing; deprecated
deprecated|Durch nichts ersetzt; veraltet
deprecated|Remplacé par rien ; obsolète
unknown/proposed|未接受
unknown/proposed|未批准
unknown/proposed|承認されていない
unknown/proposed|承認されていません
rejected|没有通过
rejected|承認されなかった
accepted|Rejected at first; accepted after the second review
accepted/unknown|Rejected in May; accepted in June
deprecated|Non più valido
deprecated/rejected|Invalidé
accepted|已接纳
accepted|Accepted
accepted|Accepted by the team on 2024-05-01
accepted|Accepted, supersedes ADR-3
accepted|Accepted, amends ADR-3
superseded|Superseded by ADR 2024-05-01
superseded|Superseded by ADRs 9 and 10
rejected|Rejected
rejected|Not accepted
rejected|Nicht angenommen
rejected|Verworfen
accepted|Akzeptiert – ersetzt ADR-3 und ADR-4
accepted|Beschlossen; löst ADR-3 ab
accepted|Accepté et remplace l'ADR-3
accepted|Accepté (annule l'ADR-3)
accepted|Aceptada (reemplaza a ADR-3)
accepted|Aceptada. Deroga el ADR-3
accepted|Aprovada, substitui o ADR-3
accepted|Aprovada. Revoga a ADR-3
accepted|Approvata (sostituisce la ADR-3)
accepted|Goedgekeurd, vervangt ADR-3
accepted|Zatwierdzona (zastępuje ADR-3)
accepted|Утверждено, отменяет ADR-3
accepted|已批准，替换了ADR-3
accepted|已采纳（废止ADR-3）
accepted|採用。ADR-3を置換
accepted|採用（ADR-3に代わる）
accepted|Accepted, replacing ADR-3
accepted|Approved. Supersedes: ADR-3
accepted|Approved, supersedes [ADR-3](0003-x.md)
accepted|Accepted on 2024-05-01, obsoleting ADR-3
accepted|Akzeptiert am 01.05.2024, ersetzt [ADR-3](0003-x.md)
accepted|Akzeptiert\\n\\nErsetzt [ADR-3](0003-x.md)
accepted|Akzeptiert\\n\\n* Ersetzt ADR-3
accepted|Accepté\\n\\n* Remplace ADR-3
accepted|Accepted. Replaces ADR-3, ADR-4 and ADR-5.
accepted|Accepted. ADR-3, ADR-4 and ADR-5 are superseded.
accepted|Accepted. ADR-3 (parcels) is superseded.
accepted|Accepted. ADR-3: superseded.
accepted|Accepted. ADR-3 – deprecated.
accepted|Accepted. ADR-3 is now marked as superseded.
accepted|Accepted. ADR-3 becomes obsolete.
accepted|Accepted. The old ADR-3 is retired.
accepted|Accepted. As a result, ADR-3 is deprecated
accepted|Accepted. This means ADR-3 is deprecated
accepted|Accepted. ADR-3 will be superseded.
accepted|Accepted, ADR-3 rejected
accepted|Akzeptiert. ADR-3 gilt nicht mehr.
accepted|Akzeptiert, ADR-3 wird aufgehoben
accepted|Accepté. L'ADR-3 est abrogé
accepted|Accepté. ADR-3 est remplacé par le présent ADR
accepted|Aceptada. ADR-3 ya no vigente
accepted|Aceita. ADR-3 foi substituída por esta decisão
accepted|Accettata. ADR-3 non più valido
accepted|Aanvaard. ADR-3 geldt niet meer
accepted|Przyjęta. ADR-3 jest nieaktualna
accepted|Принято. ADR-3 больше не действует
accepted|已接受。ADR-3 不再有效
accepted|承認済み。ADR-3 は無効
accepted|Принято. ADR-3 отменен.
accepted|承認済み。これによりADR-3は廃止
accepted|已接受。因此ADR-3作废
superseded|Accepted, then superseded by ADR-9
superseded|Superseded by [ADR-9](0009-x.md), which replaces ADR-3
superseded|Supersedes ADR-3, superseded by ADR-9
superseded|Ersetzt ADR-3, ersetzt durch ADR-9
superseded|Accepted. Replaced by ADR-9. ADR-3 is accepted.
superseded|Deprecated by ADR-9/
superseded|As of 2024-05-01 superseded by ADR-9
superseded|By ADR-9 superseded
superseded/unknown|ADR-9 has superseded this
superseded/unknown|Мы заменены ADR-9
superseded|Заменено решением ADR-9
superseded|Zastąpiona przez ADR-9
superseded|Vervangen door ADR-9
superseded|Sostituita dalla ADR-9
superseded|Substituída pela ADR-9
superseded|Sustituida por el ADR-9
superseded|Remplacée par l’ADR-9
superseded|Abgelöst durch die ADR-9
superseded|已替换为ADR-9
superseded|ADR-9に置換済み
superseded|ADR-9によって置き換えられました
rejected/unknown|The committee voted against this
rejected/unknown|The team decided not to accept this
rejected/unknown|Accepted by the team, but vetoed by security
rejected/unknown|Accepted; later rejected by the board
rejected/unknown|Angenommen, später abgelehnt
rejected/unknown|Zunächst angenommen, dann abgelehnt
rejected/unknown|Accepté puis rejeté
rejected/unknown|Aceptada, luego rechazada
rejected/unknown|Accettata, poi rifiutata
rejected/unknown|Decisione contro
rejected/unknown|Team heeft hiertegen besloten
rejected/unknown|Das Team entschied sich dagegen
rejected/unknown|Wir haben gegen diese Entscheidung entschieden
rejected/unknown|Nous avons décidé contre
rejected/unknown|先接受，后拒绝
unknown/proposed|Accepted as soon as the test passes
unknown/proposed|Accepted (if tests pass)
unknown/proposed|Accepted on condition that tests pass
unknown/proposed|Angenommen, sobald der Test besteht
unknown/proposed|Angenommen unter der Bedingung, dass der Test besteht
unknown/proposed|Approuvé sous condition de budget
unknown/proposed|Aprobada siempre que haya presupuesto
unknown/proposed|Aprovada desde que haja verba
unknown/proposed|Approvata purché ci sia budget
unknown/proposed|Goedgekeurd, mits er budget is
unknown/proposed|Zatwierdzona pod warunkiem testu
unknown/proposed|Утверждено при условии теста
unknown/proposed|已接受，前提是测试通过
unknown/proposed|若测试通过则接受
rejected|Abgelehnt zu Gunsten von ADR-9
rejected|Verworfen. Stattdessen ADR-9
rejected|Rejected, see ADR-9
rejected|Rejected in favor of [ADR-9](0009-x.md)
rejected|Declined in favour of ADR-9
rejected|Abgelehnt (zugunsten von ADR-9)
rejected|Refusé au profit de l'ADR-9
rejected|Descartada en favor de ADR-9
rejected|Scartata a favore di ADR-9
accepted|Accepted\\n\\nSuperseded by: N / A
accepted|Accepted\\n\\nSuperseded by: nobody
accepted|Accepted\\n\\nSuperseded by: (none)
accepted|Accepted\\n\\nSuperseded by: *none*
accepted|Accepted\\n\\nSuperseded by: None yet
accepted|Accepted\\n\\nSuperseded by: none so far
accepted|Accepted\\n\\nSuperseded by: not yet
accepted|Accepted\\n\\nSuperseded by: no ADR
accepted|Accepted\\n\\nSuperseded by: –
accepted|Accepted\\n\\nSuperseded by:
accepted|Accepted\\n\\n- Superseded by: n/a\\n- Supersedes: ADR-3
accepted|Akzeptiert\\n\\nErsetzt durch: —
accepted|Akzeptiert\\n\\nErsetzt durch: nichts
accepted|Akzeptiert\\n\\nAbgelöst durch: niemand
accepted|Accepted\\n\\nReplaced by: N/A\\n\\nReplaces: ADR-3
accepted|Status: Accepted\\nSuperseded-By: n/a
accepted|Принято\\n\\nЗаменено: нет
accepted|已接受\\n\\n取代者：无
accepted|Accepted. In parts superseded by ADR-9
accepted|Accepted. Partly superseded by ADR-9
accepted|Принято. Частично заменено на ADR-9
accepted|已接受，部分被ADR-9取代
accepted|承認済み。一部ADR-9に置き換え
unknown/proposed/accepted|Not yet fully accepted
unknown/proposed|Not accepted nor rejected
unknown/proposed|Niet aanvaard, niet afgewezen
unknown/proposed|Nie przyjęta, nie odrzucona
unknown/proposed|Не принято, не отклонено
unknown/proposed|未接受，未拒绝
unknown/proposed|Weder angenommen noch abgelehnt
unknown/proposed|Nem aceita nem rejeitada
unknown/proposed|Né accettata né rifiutata
unknown/accepted|Deprecation pending
unknown/accepted|Deprecation planned
unknown/accepted|Deprecation accepted
unknown/accepted|Withdrawal rejected
unknown/accepted|Aufhebung abgelehnt
unknown/accepted|Ablösung beantragt
unknown/accepted|Retrait refusé
unknown/accepted|Derogación propuesta
unknown/accepted|Замена отклонена
unknown/accepted|废弃提案
unknown/accepted|廃止を提案
unknown/accepted|Proposed for deprecation
proposed|Proposed for approval
proposed|Proposed for acceptance by the board
unknown/accepted|Proposed to be deprecated
unknown/accepted|Marked for deprecation
unknown/accepted|To be deprecated
unknown/proposed|未被接受
unknown/proposed|未承認
unknown/proposed|まだ承認されていない
unknown|却下されていない
deprecated/superseded|Deprecated; superseded by nothing
accepted|Accepted by consensus, nobody was against
accepted/unknown|Accepted; two were against
accepted|Approval: accepted
accepted|Formally accepted
accepted|Einstimmig angenommen
accepted|Fully accepted
"""

LINKS = """
supersedes:ADR-3|Akzeptiert, ersetzt ADR-3
supersedes:ADR-3|Accepté\\n\\nRemplace : ADR-3
superseded-by:ADR-9|Remplacé (ADR-9)
superseded-by:ADR-9|Remplacé : ADR-9
superseded-by:ADR-9|Ersetzt (ADR-9)
superseded-by:ADR-9|已被ADR-9取代
superseded-by:ADR-9|被ADR-9替代
supersedes:ADR-3|已接受，取代ADR-3
superseded-by:ADR-9|ADR-9に置き換えられた
supersedes:ADR-3|承認済み（ADR-3を置き換え）
superseded-by:ADR-9,superseded-by:ADR-10|Superseded by ADRs 9 and 10
superseded-by:ADR-9,superseded-by:ADR-10|Superseded by ADR 9 and 10
superseded-by:ADR-9,superseded-by:ADR-10|Ersetzt durch ADRs 9 und 10
supersedes:ADR-1,supersedes:ADR-2,supersedes:ADR-5|Accepted\\n\\nSupersedes: ADR-1, ADR-2, 5
superseded-by:ADR-9|A été remplacée par l'ADR-9
superseded-by:ADR-9|Superseded by ADR-9 on 2024-05-01
|Superseded by ADR 2024-05-01
supersedes:ADR-3|Accepted. Obsoletes ADR-3
relates-to:ADR-9|Abgelehnt zugunsten von ADR-9
relates-to:ADR-9|Rejeté au profit de l'ADR-9
supersedes:ADR-3|Accepted. ADR-3 is superseded by this.
"""
# fmt: on


def read(written: str) -> ParsedAdr:
    return parse(f"# Stamp letters\n\n## Status\n\n{written}{BODY}", path="adr/0007-stamp.md")


def rows(table: str) -> list[tuple[str, str]]:
    pairs = (row.partition("|") for row in table.strip().split("\n"))
    return [(answer, written.replace("\\n", "\n")) for answer, _, written in pairs]


def test_a_state_is_that_of_the_record_itself() -> None:
    wrong = {
        written: found for answer, written in rows(STATES) if (found := read(written).status) not in answer.split("/")
    }
    assert wrong == {}


@pytest.mark.parametrize(("answer", "written"), rows(LINKS))
def test_a_verb_has_its_direction(answer: str, written: str) -> None:
    found = sorted(f"{link.kind}:ADR-{link.number}" for link in read(written).links)
    assert found == sorted(filter(None, answer.split(",")))


INDEX = "# Entscheidungen\n\n| Nr | Titel | Status |\n|--|--|--|\n| [1](0001-a.md) | A | Akzeptiert |\n"
FOLDED = "# ADRs\n\n<details><summary>Index</summary>\n\n| ADR | Status |\n|--|--|\n| [1](0001-a.md) | Accepted |\n\n</details>\n"
ACCEPTED = f"\n\n## Status\n\nAccepted{BODY}"


@pytest.mark.parametrize(
    ("path", "text", "answer"),
    [
        ("adr/liesmich.md", INDEX, ("index", None, "unknown")),
        ("adr/liesmich.md", FOLDED, ("index", None, "unknown")),
        ("adr/目录.md", FOLDED, ("index", None, "unknown")),
        ("adr/0006-anhang-messungen.md", "# Anhang zu ADR-5: Messungen\n\nx\n", ("companion", None, "unknown")),
        ("adr/0007-appendix-benchmarks.md", "# Appendix: benchmarks\n\nx\n", ("companion", None, "unknown")),
        ("adr/0014-appendix-storage.md", f"# 14. Appendix storage in S3{ACCEPTED}", ("record", 14, "accepted")),
        ("adr/0013-notes.md", f"# 13. Notes service in Go{ACCEPTED}", ("record", 13, "accepted")),
        ("adr/0013-notes.md", "# Notes on ADR-13\n\nx\n", ("companion", None, "unknown")),
        ("adr/0001-x.md", f"# X\n\n<details><summary>Status</summary>\n\nAccepted\n\n</details>{BODY}", ("record", 1, "accepted")),
        ("adr/0001-x.md", f'{{\n "status": "accepted",\n}}\n\n# X{BODY}', ("record", 1, "accepted")),
        ("adr/0001-x.md", f';;;\n"status": "accepted",\n;;;\n\n# X{BODY}', ("record", 1, "accepted")),
        ("adr/0001-x.adoc", "= X\n\n.Status\nAccepted\n\n== Context\n\nx\n", ("record", 1, "accepted")),
    ],
)  # fmt: skip
def test_what_a_file_is(path: str, text: str, answer: tuple[str, int | None, str]) -> None:
    found = parse(text, path=path)
    assert (found.role, found.number, found.status) == answer


def test_a_title_stands_behind_the_date_of_its_number_and_heads_an_index() -> None:
    assert parse(f"# ADR 22 (2024-05-01): Use Kafka{BODY}", path="adr/0022-k.md").title == "Use Kafka"
    assert parse("# Architecture Decision Records\n", path="adr/README.md").title == "Architecture Decision Records"


def test_a_heading_that_says_another_state_is_odd() -> None:
    odd = parse(f"# [REJECTED] Use Kafka\n\nStatus: accepted{BODY}", path="adr/0022-k.md")
    assert "contradicting-status" in odd.oddities
    assert parse(f"# [ACCEPTED] Use Kafka\n\nStatus: accepted{BODY}").oddities == ()


def test_a_document_of_sphinx_is_a_file() -> None:
    text = "X\n=\n\nStatus\n------\n\nSuperseded by :doc:`0061-y`\n"
    assert [(link.kind, link.target) for link in parse(text, path="adr/0001-x.rst").links] == [
        ("superseded-by", "0061-y.rst")
    ]


def test_a_date_below_its_name_is_read() -> None:
    assert str(parse(f"# X\n\n**Date**\n2024-05-01{BODY}").date) == "2024-05-01"
