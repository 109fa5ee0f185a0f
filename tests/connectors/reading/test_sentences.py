"""Lines that mean less than their words do: "would be accepted", "a guideline extends ADR-9".

Each has the answers that a person may give who reads it; unknown is among them where it is no fault. What is read
otherwise is wrong, and nothing may be.
"""

# ruff: noqa: E501 - the forms are tables, and read worse when they are wrapped; letters are those of their writers
from __future__ import annotations

import pytest

from api.adrs.document import parse

BODY = "\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n"


def section(line: str) -> str:
    return f"# Stamp letters\n\n## Status\n\n{line}{BODY}"


# fmt: off
SAID: dict[str, str] = {
    "accepted or unknown": """
Accepted until superseded by a later decision
Accepted, to be superseded by ADR-9
Accepted, may be deprecated later
Accepted, will be replaced in 2026
Angenommen, soll durch ADR-9 ersetzt werden
Fica aprovada
Accepted; partly superseded by ADR-9
Accepted. Note that ADR-3 was rejected.
Accepted. See ADR-3 (superseded).
Accepted - this supersedes the rejected ADR-3
This ADR was accepted and replaces the deprecated ADR-3.
Accepted with reservations
Accepted in principle
Rejected on 2024-05-01, approved on appeal 2024-06-01
Re-accepted
Deprecated, then reinstated
Accepted, except section 3, which is rejected
Accepted. Section 3 is superseded by ADR-9
Accepted. The second paragraph was replaced by ADR-9.
Accepted, option 2 rejected
Option 1 accepted
Option 2 was rejected, option 1 was accepted
Adopt
Decision made
Gilt bis auf Weiteres
Angenommen mit Auflagen
Acceptée sous réserve
Aceptada con cambios
Se acepta
Aprovada com ressalvas
Approvata con riserva
Accettata, da rivedere
Goedgekeurd onder voorbehoud
Przyjęta warunkowo
Принято с оговорками
有条件通过
已接受，待实施
条件付き承認
否決されず承認
Accepted, even if it costs more
Accepted whether we like it or not
Accepted. If it fails, we would reject it.
Accepted until 2025-01-01
Accepted (by default)
De facto accepted
Tacitly accepted
Accepted long ago
Accepted, see ADR-9 (superseded) for background
Proposed: 2024-05-01, Accepted: 2024-06-01, Superseded: -
Proposed | **Accepted** | Rejected
~~Proposed~~ / Accepted / ~~Rejected~~
accepted…
Accepted by the team. Rejected by nobody.
Everyone accepted
Accepted with one vote against
Voted in
Passed
Temporarily accepted
Accepted, but deprecated parts remain
Accepted, not rejected
Published
Merged
Shipped
In force until 2026
Angenommen, wenn auch knapp
Angenommen bis 2026
Gilt noch
Unverändert gültig
Beschlossen, aber nicht umgesetzt
Abgesegnet
Reste valide
Sí, aceptada
Decisione presa
Tot nader order geaccepteerd
Geldig tot 2026
Obowiązuje do 2026
Было принято
Действует до 2026
Принято единогласно
已接受并实施
批准日期：2024年5月6日
审批通过
讨论后接受
已批准，但未实施
有效期至2026年
承認しました
採用しました
採用することに決定
承認日：2024年5月6日
""",
    "unknown or proposed": """
Accepted?
To be or not to be accepted
Könnte abgelehnt werden
Angenommen?
Serait acceptée
Pourrait être rejetée
Acceptée ?
Sería aceptada
Podría ser rechazada
¿Aceptada?
Seria aceita
Poderia ser rejeitada
Sarebbe accettata
Potrebbe essere respinta
Zou geaccepteerd worden
Kan worden afgewezen
Zostałaby przyjęta
Mogłaby zostać odrzucona
Byłaby przyjęta
Может быть отклонено
Принято?
可能被接受
是否接受？
承認されるだろう
却下されるかもしれない
承認されたら実施
採用か不採用か未定
Almost accepted
Nearly approved
Accepted (?)
Waiting to be rejected
Experimental
Trial
Assess
No decision
Please accept
Lacks approval
Fast angenommen
Presque acceptée
À rejeter
Casi aprobada
Sem aprovação
Quase aprovada
Quasi approvata
Bijna goedgekeurd
Prawie zaakceptowana
Do odrzucenia
Почти принято
几乎通过
ほぼ承認
We would like to accept this
Should this be accepted?
Accepted or rejected: open
Once accepted, this replaces ADR-3
Sollte angenommen werden
Si se acepta, sustituye a ADR-3
Aún no rechazada
Se aprovada, substitui ADR-3
Se approvata sostituisce ADR-3
Może zostać przyjęta
Если принято, заменяет ADR-3
Ещё не отклонено
接受中
如果通过则取代 ADR-3
未决
提案者：安
承認されれば採用
再提案
""",
    "proposed or unknown": """
Under ongoing discussion
Würde angenommen werden
Wird voraussichtlich angenommen
Zur Annahme vorgelegt
Sera acceptée
En cours d'acceptation
Será aceptada
Será aprovada
Sarà approvata
Zostanie przyjęta
Будет принято
承認される予定
承認されるべき
Proposed. Once accepted, ADR-3 becomes superseded.
Proposed, if accepted it replaces ADR-3
Proposed; accepted by Ann, awaiting Bob
Ready to be accepted
Ready for acceptance
Up for approval
Vote open until 2024-05-01; accepted if nobody objects
Decision pending
No decision yet
I propose to accept this
We propose that this is accepted
Recommend to reject
Recommended for approval
Approved for discussion
Accepted for review
Accepted as a proposal
Approval requested
Approval by CTO missing
Missing approval
Zum Beschluss vorgeschlagen
Beschlussvorlage
Ist nicht abgelehnt, sondern vertagt
Proposée à l'acceptation
Aún sin aprobar
Por aprobar
Por aprovar
Em votação
Da approvare
Nog goed te keuren
К принятию
拟采纳
承認前
採用候補
要承認
承認依頼中
Shall be accepted on 2024-05-01
Approved: not yet
Approved: pending
**Proposed** / Accepted / Rejected
Proposed, not rejected
Under review by Ann, accepted by Bob
Muss noch beschlossen werden
Vorgeschlagen, nicht abgelehnt
À accepter
Doit être acceptée
Reste à valider
Queda por aprobar
Fica por aprovar
Resta da approvare
Decisione rinviata
Moet nog worden goedgekeurd
Ma być przyjęta
承認見込み
承認待ちです
""",
    "unknown or accepted": """
🟢
Rejected? No, accepted.
Should be deprecated
Devrait être remplacée
Debería ser sustituida por ADR-9
Verrà sostituita da ADR-9
Должно быть заменено на ADR-9
可能会被 ADR-9 取代
Vote: 5 accepted, 2 rejected
No longer deprecated
Un-deprecated
Undeprecated
Not superseded
Not deprecated
Replacing ADR-3
Supersedes ADR-3
Section 3 is superseded by ADR-9
Closed
À remplacer
Non sostituita
Te vervangen
Niezastąpiona
Условно принято
基本接受
未被取代
尚未废弃
廃止されていない
Rejected: no
acc.
Nobody rejected it
Conditionally accepted
Nicht ersetzt
Abschnitt 3 ist durch ADR-9 ersetzt
Acceptée plus tard
Pas remplacée
Non remplacée
La section 3 est remplacée par ADR-9
La sección 3 fue sustituida por ADR-9
Não foi substituída
Aceita mais tarde
A seção 3 foi substituída por ADR-9
Niet vervangen
Deels vervangen door ADR-9
Częściowo zastąpiona przez ADR-9
Раздел 3 заменён на ADR-9
第3节被 ADR-9 取代
決定事項
廃止しない
条件付きで承認
第3章は ADR-9 に置き換えられました
""",
    "unknown": """
[ ] Accepted [ ] Rejected
Not rejected
Not unapproved
Not not accepted
Never rejected
Could have been rejected
Nicht abgelehnt
Pas rejetée
No rechazada
Não rejeitada
Non respinta
Niet afgewezen
Nieodrzucona
Nie odrzucona
Не отклонено
未拒绝
却下されていない
Half accepted
Hardly accepted
No longer rejected
Obsolete? See ADR-9
Nur teilweise angenommen
N'a pas été rejetée
Неотклонено
不拒绝
没有被拒绝
未却下
Isn't rejected
No longer proposed
No longer a draft
Draft no more
Not a draft
Rejected no more
Neither accepted nor rejected
Accepted: -
Proposed / Accepted / Rejected
Nessuna decisione
通过率低
接受度
决定权
承認者：安
""",
    "rejected or unknown": """
Failed to be accepted
Failed approval
Accepted: no
Approved by CTO on 2024-05-01, rejected by board on 2024-06-01
Непринято
不予通过
非承認
採用見送り
Until 2024 accepted, now rejected
Wasn't accepted
Silently dropped
Voted down
Didn't pass
Temporarily rejected
Reviewed, not accepted
Nie beschlossen
N'est pas acceptée
Nunca aceptada
Mai approvata
Nooit goedgekeurd
Nigdy nie przyjęta
Не будет принято
Никогда не принималось
审批未通过
承認しない
採用は見送り
""",
    "accepted": """
La decisión queda aceptada
Queda aceptada
[x] Accepted [ ] Rejected
Accepted until superseded
Accepted: yes
(Accepted)
Unanimously approved in the meeting of 2024-05-01
Offiziell in Kraft seit 1. Mai 2024
Accepted (see ADR-9)
Accepted: 2024-05-01
Accepted: Ann, Bob
Accepted*
Accepted!
ACCEPTED!!!
Accepted for now
Reviewed and accepted
Ist angenommen worden
A été acceptée
Fue aceptada
Foi aprovada
È stata accettata
Is goedgekeurd
Została przyjęta
已接受（2024年）
承認されました。
""",
    "rejected or superseded": """
Rejected in favour of ADR-9
Rejected in favor of [ADR-9](0009-x.md)
Abgelehnt zugunsten von ADR-9
Rejetée au profit d'ADR-9
Rechazada en favor de ADR-9
Afgewezen ten gunste van ADR-9
Отклонено в пользу ADR-9
Rejected, superseded by ADR-9
""",
    "superseded": """
Remplacée
Superseded-by: ADR-9
Wurde durch ADR-9 ersetzt
Diese Entscheidung wurde durch ADR-9 abgelöst
Cette décision a été remplacée par ADR-9
Esta decisión fue sustituida por ADR-9
本决策已被 ADR-9 取代
この決定は ADR-9 に置き換えられました
""",
    "rejected": """
Queda rechazada
Wurde verworfen
Rejected, not accepted
Abgelehnt, nicht angenommen
Nie została przyjęta
Не было принято
被否决
""",
    "unknown or rejected": """
❌
本应被接受
Accepted by nobody
Accepted: ✗
Nobody accepted it
Wurde nie umgesetzt
Kan niet worden goedgekeurd
""",
    "unknown or proposed or rejected": """
Would have been accepted
Will be rejected
Wäre angenommen worden
Было бы принято
将被拒绝
Without approval
Kein Beschluss
""",
    "accepted or unknown or proposed": """
Accepted, pending legal review
Accepted subject to review
Noch gültig
Acceptée si le budget suit
Aceptada si hay presupuesto
まだ有効
""",
    "unknown or accepted or proposed": """
Might be superseded by ADR-9
To be superseded by ADR-9
Soll ersetzt werden
ADR-9 に置き換えられる予定
Reviewed
""",
    "unknown or rejected or proposed": """
Aurait été acceptée
Habría sido aceptada
Teria sido aceita
Sarebbe stata accettata
Zou zijn aangenomen
""",
    "superseded or unknown": """
Wordt vervangen door ADR-9
Quietly superseded
Superseded by ADR-9 (rejected)
Superseded by ADR-9 (proposed)
Wird durch ADR-9 ersetzt
""",
    "rejected or unknown or proposed": """
Approved = false
Niezatwierdzona
暂不采纳
Approved: No
""",
    "deprecated or unknown": """
Deprecated unless renewed
Não mais aceita
Non più accettata
廃止しました
""",
    "proposed": """
Queda pendiente
Pending acceptance
Open
""",
    "deprecated": """
Gilt nicht mehr
Não está mais em vigor
Quedó obsoleta
""",
    "unknown or deprecated or rejected": """
Invalid
Not active
Not valid
""",
    "unknown or deprecated": """
Not in use
Not current
Plus acceptée
""",
    "proposed or unknown or accepted": """
On trial
Wordt goedgekeurd
""",
    "rejected or deprecated or unknown": """
Accepted (but see below: revoked on 2024-05-01)
Widerrufen
""",
    "unknown or proposed or accepted": """
Accepted ❓
Let it be accepted
""",
    "deprecated or superseded": """
Deprecated since 2024-05-01 in favour of ADR-9
Deprecated by ADR-9
""",
    "unknown or accepted or deprecated": """
Frozen
Accepted in the past
""",
    "proposed or unknown or rejected": """
Sin aprobar
Proposed: yes. Accepted: no.
""",
    "unknown or rejected or deprecated": """
Void
Gilt nicht
""",
    "proposed or unknown or draft": """
Provisional
""",
    "proposed or accepted or unknown": """
Wird angenommen
""",
    "proposed or unknown or rejected or deprecated": """
Hold
""",
    "draft or unknown or proposed": """
Accepted as draft
""",
    "rejected or unknown or deprecated": """
承認取り消し
""",
    "unknown or deprecated or accepted": """
Once accepted
""",
    "rejected or superseded or deprecated": """
Cancelled by ADR-9
""",
    "unknown or rejected or deprecated or proposed": """
Not in force
""",
    "accepted or unknown or deprecated": """
採用済みだが廃止予定
""",
}
"""Lines of a section "Status", by what a person takes them for."""

MORE_STATUS: list[tuple[str, str, str]] = [
    ('# Stamp letters\n\n![ADR](https://img.shields.io/badge/ADR-accepted-green)\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\n![ADR](https://img.shields.io/badge/ADR-rejected-red?style=flat-square)\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'rejected'),
    ('# Stamp letters\n\n![ADR 12](https://img.shields.io/badge/ADR%2012-proposed-yellow.svg)\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'proposed or unknown'),
    ('# Stamp letters\n\n![build](https://img.shields.io/badge/build-accepted-green)\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'unknown'),
    ('# Stamp letters\n\nStatus: ~~Proposed~~ Accepted\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\nStatus: <!-- Proposed | Accepted | Rejected --> Accepted\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\nStatus: Accepted <!-- | Rejected -->\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\n## Status\n\n- [x] Accepted\n- Proposed\n- Rejected\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown'),
    ('# Stamp letters\n\n## Status\n\n- Proposed\n- [x] Rejected\n- Accepted\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'rejected or unknown'),
    ('PEP: 12\nTitle: Stamp letters\nStatus: Final\nType: Standards Track\nCreated: 01-May-2024\n\nAbstract\n========\n\nText.\n', 'pep-0012.rst', 'accepted or unknown'),
    ('PEP: 12\nTitle: Stamp letters\nStatus: Rejected\nType: Process\n\nAbstract\n========\n\nText.\n', 'pep-0012.rst', 'rejected'),
    ('PEP: 12\nTitle: Stamp letters\nStatus: Withdrawn\nSuperseded-By: 20\n\n## Abstract\n\nText.\n', 'pep-0012.md', 'rejected or superseded'),
    ('---\ntitle: Stamp letters\nkep-number: 12\nstatus: implementable\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown or proposed'),
    ('---\nstatus: provisional\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'proposed or draft or unknown'),
    ('---\nstatus: implemented\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('---\nstatus: withheld\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'rejected or unknown'),
    ('---\nstatus: replaced\nreplaced-by: ADR-9\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'superseded'),
    ('---\nstatus: ongoing\ncreation-date: "2024-05-01"\nauthors: [ "@ann" ]\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'unknown or accepted or proposed or draft'),
    ('- Feature Name: stamp_letters\n- Start Date: 2024-05-01\n- RFC PR: #12\n- Status: accepted\n\n# Summary\n\nText.\n', '0012-stamp.md', 'accepted'),
    ('#+TITLE: Stamp letters\n#+STATUS: Accepted\n#+DATE: 2024-05-01\n\n* Context\n\nText\n', 'stamp.md', 'accepted or unknown'),
    ('---\nlayout: adr\ntitle: Stamp letters\nstatus: accepted\nnav_order: 3\n---\n\n## Context\n\nT\n', '', 'accepted'),
    ('---\nsidebar_label: 12\nsidebar_position: 12\ntags: [accepted]\n---\n# Stamp letters\n\n## Context\n\nT\n', '', 'unknown or accepted'),
    ("+++\ntitle = 'Stamp letters'\ndraft = true\n+++\n\n## Status\n\nAccepted\n", '', 'accepted'),
    ("+++\ntitle = 'Stamp letters'\n[params]\nstatus = 'accepted'\n+++\n\n## Context\n\nT\n", '', 'accepted or unknown'),
    ('# Stamp letters\n\n- Status: accepted\n- Deciders: Ann\n- Date: 2024-05-01\n- Tags: letters, rejected\n\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\n* Status: [proposed | rejected | accepted | deprecated | … | superseded by [ADR-0005](0005-example.md)]\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'unknown'),
    ('# Stamp letters\n\n* Status: {proposed | rejected | accepted | deprecated}\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'unknown'),
    ('# Stamp letters\n\n* Status: accepted <!-- optional -->\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\n|**Status**|**Accepted**|\n|---|---|\n|**Impact**|high|\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('# Stamp letters\n\n| Status | ==Accepted== |\n|---|---|\n| Owner | Ann |\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown'),
    ('# Stamp letters\n\nStatus\n\nDECIDED\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown'),
    ('# Stamp letters\n\nStatus: Done\nDate: May 1, 2024\nOwner: Ann\nCreated time: April 28, 2024 9:12 AM\n\n## Context\n\nT\n', '', 'accepted or unknown'),
    ('# Stamp letters\n\nStatus: In progress\nDate: May 1, 2024\n\n## Context\n\nT\n', '', 'draft or proposed or unknown'),
    ('# Stamp letters\n\n{status:colour=Green|title=ACCEPTED}\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown'),
    ('# Stamp letters\n\n<table><tr><th>Status</th><td><ac:structured-macro ac:name="status">ACCEPTED</ac:structured-macro></td></tr></table>\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown'),
    ('# Stamp letters\n\nStatus: In the context of letters, facing heaps, we decided for stamps and against signing\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'unknown or accepted'),
    ('---\nstatus: [proposed, accepted]\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'unknown or accepted'),
    ('---\nstatus: accepted, 2024-05-01\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted'),
    ('---\nstatus: Superseded by [ADR-9](0009-x.md)\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'superseded'),
    ("---\nstatus: '{{ accepted }}'\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n", '', 'accepted or unknown'),
    ('---\nstatus: <% accepted %>\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'accepted or unknown'),
    ('---\nstate: closed\nstatus: rejected\n---\n# Stamp letters\n\n## Context\n\nLetters come in.\n\n## Decision\n\nWe stamp them.\n', '', 'rejected'),
    ('= Stamp letters\n:adr-status: Accepted\n:revdate: 2024-05-01\n\nStatus: {adr-status}\n\n== Context\n\nText.\n', 's.adoc', 'accepted'),
    ('= Stamp letters\n:adr-status: Rejected\n\n== Status\n\n{adr-status}\n\n== Context\n\nT\n', 's.adoc', 'rejected'),
    ('= Stamp letters\n\n== Status\n\n{adr-status}\n\n== Context\n\nT\n', 's.adoc', 'unknown'),
    ('= Stamp letters\n:state: Superseded\n\n|===\n|Status |{state}\n|===\n\n== Context\n\nT\n', 's.adoc', 'superseded'),
    ('= Stamp letters\n:status: proposed \\\n\n\n== Context\n\nText.\n', 's.adoc', 'proposed or unknown'),
    ('= Stamp letters\n:!status:\n\n== Context\n\nText.\n', 's.adoc', 'unknown'),
    ('= Stamp letters\n:status-accepted: Accepted\n:status-rejected: Rejected\n\n== Status\n\n{status-rejected}\n\n== Context\n\nT\n', 's.adoc', 'rejected'),
    ('= Stamp letters\n\n.Status\n****\nAccepted\n****\n\n== Context\n\nT\n', 's.adoc', 'accepted or unknown'),
    ('Stamp letters\n=============\n\n:Status: Not accepted\n\nContext\n-------\n\nText.\n', 's.rst', 'rejected'),
    ('Stamp letters\n=============\n\n.. |status| replace:: Accepted\n\nStatus: |status|\n\nContext\n-------\n\nText.\n', 's.rst', 'accepted or unknown'),
    ('Stamp letters\n=============\n\nStatus\n------\n\n|accepted|\n\nContext\n-------\n\nText.\n', 's.rst', 'accepted or unknown'),
    ('Stamp letters\n=============\n\nStatus\n------\n\n*Rejected* -- see `ADR-9 <0009-x.rst>`_\n\nContext\n-------\n\nText.\n', 's.rst', 'rejected or superseded'),
]
# fmt: on


@pytest.mark.parametrize("wanted", SAID)
def test_a_line_says_what_a_person_takes_it_for(wanted: str) -> None:
    read = {line: str(parse(section(line)).status) for line in SAID[wanted].strip().split("\n")}
    assert {line: status for line, status in read.items() if status not in wanted.split(" or ")} == {}


@pytest.mark.parametrize(("text", "path", "wanted"), MORE_STATUS)
def test_a_text_says_what_a_person_takes_it_for(text: str, path: str, wanted: str) -> None:
    assert parse(text, path=path).status in wanted.split(" or ")
