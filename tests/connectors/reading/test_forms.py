"""Forms that people write, made with the right answer by construction: none is read as the opposite, few as unknown.

The words here are chosen by who knows the languages, and not taken from the reader's own list. A form that the reader
does not know counts as unknown; an answer other than the right one counts as wrong, and none may be.
"""

# ruff: noqa: E501 - the forms are tables, and read worse when they are wrapped
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from api.adrs.document import ParsedAdr, parse

UNKNOWN_SHARE_MAX = 0.05
Form = tuple[str, str, str, Any]
"""What the form is called, the text, its path, and the right answer."""


def record(status: str, *, title: str = "# 7. Weigh parcels") -> str:
    return f"{title}\n\n## Status\n\n{status}\n\n## Context\n\nA text.\n\n## Decision\n\nSo it is done.\n"


# ------------------------------------------------------------------------------------------------------------- status

PLAIN = {
    "accepted": ["Accepted", "Approved", "Adopted", "Ratified", "In effect", "Implemented", "Active", "Agreed"],
    "rejected": ["Rejected", "Declined", "Withdrawn", "Cancelled", "Abandoned", "Refused"],
    "proposed": ["Proposed", "Pending", "Under review", "In discussion", "Awaiting approval", "On hold", "Deferred"],
    "deprecated": ["Deprecated", "Obsolete", "Retired", "Outdated"],
    "superseded": ["Superseded by ADR-9", "Superceded by ADR-9", "Replaced by ADR-9", "Superseded"],
    "draft": ["Draft", "WIP", "Work in progress"],
}
ABROAD = {
    "accepted": [
        *("Akzeptiert", "Angenommen", "Beschlossen", "Acceptée", "Approuvé", "Adoptée", "Aceptada", "Aprobado"),
        *("Aceita", "Aprovado", "Accettata", "Approvato", "Geaccepteerd", "Goedgekeurd", "Zaakceptowana", "Przyjęta"),
        *("Принято", "Утверждено", "Одобрена", "已接受", "已批准", "已采纳", "承認済み", "採用", "受理"),
    ],
    "rejected": [
        *(
            "Abgelehnt",
            "Verworfen",
            "Rejetée",
            "Refusé",
            "Rechazada",
            "Rejeitado",
            "Rifiutata",
            "Respinta",
            "Afgewezen",
        ),
        *("Odrzucona", "Отклонено", "已拒绝", "已否决", "却下", "不採用"),
    ],
    "proposed": [
        *(
            "Vorgeschlagen",
            "In Prüfung",
            "Proposée",
            "En discussion",
            "Propuesta",
            "Pendiente",
            "Proposta",
            "Em análise",
        ),
        *("In discussione", "Voorgesteld", "Zaproponowana", "Предложено", "На рассмотрении", "提议", "待批准"),
        *("提案中", "検討中", "レビュー中"),
    ],
    "deprecated": [
        *("Veraltet", "Überholt", "Obsolète", "Obsoleta", "Obsoleto", "Deprecata", "Verouderd", "Przestarzała"),
        *("Устарело", "已废弃", "已弃用", "廃止", "非推奨"),
    ],
    "superseded": [
        *("Ersetzt durch ADR-9", "Abgelöst durch ADR-9", "Remplacée par ADR-9", "Sustituida por ADR-9"),
        *("Reemplazado por ADR-9", "Substituída por ADR-9", "Sostituita da ADR-9", "Vervangen door ADR-9"),
        *("Zastąpiona przez ADR-9", "Заменено на ADR-9", "已被取代", "被 ADR-9 取代", "ADR-9 に置き換えられた"),
    ],
}
DRESSED = [
    *(
        "{}",
        "**{}**",
        "_{}_",
        "*{}*",
        "`{}`",
        "✅ {}",
        "{}.",
        "{}!",
        "<b>{}</b>",
        "> {}",
        "- {}",
        "* **{}**",
        "{}  ",
        "[{}](#history)",
    ),
    *("Status: {}", "**Status:** {}", "{} on 2024-05-01", "{} (2024-05-01)", "2024-05-01: {}", "2024-05-01 - {}"),
    *("{}\n\n_The text below was written by hand, and replaced\nby another later._", "~~Draft~~ {}", "{} &nbsp;"),
]
NEGATED = [
    *(("Not {}", "rejected"), ("Not yet {}", "proposed"), ("To be {}", "proposed"), ("No longer {}", "deprecated")),
    *(
        ("Never {}", "rejected"),
        ("Not {} yet", "proposed"),
        ("Not {} any more", "deprecated"),
        ("Yet to be {}", "proposed"),
    ),
    *(("Has not been {}", "rejected"), ("This decision is not yet {}", "proposed"), ("Will be {}", "proposed")),
    *(("Isn't {}", "rejected"), ("Needs to be {}", "proposed"), ("Is no longer {}.", "deprecated")),
]
NEGATED_ABROAD = [
    *(("Nicht angenommen", "rejected"), ("Noch nicht beschlossen", "proposed"), ("Nicht mehr gültig", "deprecated")),
    *(("Non acceptée", "rejected"), ("Pas encore approuvée", "proposed"), ("N'est plus en vigueur", "deprecated")),
    *(("No aprobada", "rejected"), ("Todavía no aceptada", "proposed"), ("Ya no está vigente", "deprecated")),
    *(("Não aprovada", "rejected"), ("Ainda não aprovada", "proposed"), ("Já não está em vigor", "deprecated")),
    *(("Non approvata", "rejected"), ("Non ancora approvata", "proposed"), ("Non più in vigore", "deprecated")),
    *(("Niet goedgekeurd", "rejected"), ("Nog niet goedgekeurd", "proposed"), ("Niet meer van kracht", "deprecated")),
    *(("Nie zaakceptowana", "rejected"), ("Jeszcze nie przyjęta", "proposed"), ("Już nie obowiązuje", "deprecated")),
    *(("Не утверждено", "rejected"), ("Пока не утверждено", "proposed"), ("Больше не действует", "deprecated")),
    *(("未通过", "rejected"), ("尚未批准", "proposed"), ("不再有效", "deprecated")),
    *(("承認されませんでした", "rejected"), ("まだ承認されていません", "proposed")),
]
CHAINS = [
    *(
        ("Proposed → Accepted", "accepted"),
        ("Proposed -> Rejected", "rejected"),
        ("Draft => Proposed => Accepted", "accepted"),
    ),
    *(
        ("Proposed 2024-01-02, accepted 2024-02-03", "accepted"),
        ("Accepted (2024-02-03), Proposed (2024-01-02)", "accepted"),
    ),
    *(("- 2024-01-02 Proposed\n- 2024-02-03 Accepted\n- 2024-09-01 Deprecated", "deprecated"),),
    *(("Proposed\n\nAccepted", "accepted"), ("Accepted\n\nSuperseded by ADR-9", "superseded")),
    *(("Accepted on 2020-01-01, superseded by ADR-9", "superseded"), ("Was: accepted. Now: rejected.", "rejected")),
    *(("Previously proposed, now accepted", "accepted"), ("Accepted (was: proposed)", "accepted")),
    *(("| Status | Date |\n|---|---|\n| Proposed | 2024-01-02 |\n| Accepted | 2024-02-03 |", "accepted"),),
    *(
        ("Vorgeschlagen, dann angenommen", "accepted"),
        ("Proposée, puis rejetée", "rejected"),
        ("提案 → 承認済み", "accepted"),
    ),
    *(("Superseded 2024-05-01 by ADR-9", "superseded"), ("Accepted, not superseded", "accepted")),
    *(("Supersedes [2. Not accepted](0002-not-accepted.md)\n\nAccepted", "accepted"),),
    *(("Accepted\n\nAmends [3. Rejected parcels](0003-rejected-parcels.md)", "accepted"),),
]
BOXES = [
    *(
        ("- [ ] {0}\n- [x] {1}\n- [ ] {2}", 1),
        ("- [x] {0}\n- [ ] {1}\n- [ ] {2}", 0),
        ("* [ ] {0}\n* [ ] {1}\n* [X] {2}", 2),
    ),
    *(
        ("☐ {0} ☑ {1} ☐ {2}", 1),
        ("[ ] {0} [x] {1} [ ] {2}", 1),
        ("⬜ {0}\n⬜ {1}\n✅ {2}", 2),
        ("( ) {0}\n(x) {1}\n( ) {2}", 1),
    ),
    *(("1. [ ] {0}\n2. [x] {1}\n3. [ ] {2}", 1), ("{0} | **{1}** | {2}", 1), ("~~{0}~~ | {1} | ~~{2}~~", 1)),
]
DOUBTFUL = [
    *(
        "Not rejected",
        "Accepted?",
        "Accepted or rejected",
        "proposed | accepted | rejected",
        "Nobody knows",
        "- [ ] Accepted",
    ),
    *(
        "Partially superseded by ADR-9",
        "See [accepted proposals](0004-accepted.md)",
        "Formerly accepted",
        "Rejected, accepted",
    ),
]


def statuses() -> Iterator[Form]:
    for words in (PLAIN, ABROAD):
        for right, written in words.items():
            for at, word in enumerate(written):
                for dress in DRESSED if words is PLAIN else DRESSED[at % 5 :: 5]:
                    if "{}" in dress:
                        yield f"{dress} of {word}", record(dress.format(word)), "", right
    for form, right in NEGATED:
        for word in ("accepted", "approved", "adopted", "in effect"):
            yield form, record(form.format(word)), "", right
    for form, right in (*NEGATED_ABROAD, *CHAINS):
        yield form, record(form), "", right
    for form, chosen in BOXES:
        for states in (
            ("Proposed", "Accepted", "Deprecated"),
            ("Draft", "Rejected", "Accepted"),
            ("WIP", "Approved", "Retired"),
        ):
            right = next(key for key, written in PLAIN.items() if states[chosen] in written)
            yield form, record(form.format(*states)), "", right


# -------------------------------------------------------------------------------------------------------------- links

DIRECTIONS = {
    "superseded-by": [
        *("Superseded by {}", "Superseded 2024-05-01 by {}", "Superseded on May 1st, 2024 by {}", "Superceded by {}", "Replaced by {}"),
        *("Superseded, for reasons of cost, by {}", "This decision has been superseded by {}", "{} supersedes this decision"),
        *("Superseded in favor of {}", "Obsoleted by {}", "**Superseded:** 2024-05-01 by {}", "Superseded by: {}", "{} replaces this ADR"),
        *("Ersetzt durch {}", "Wurde durch {} ersetzt", "Remplacé par {}", "Sustituida por {}", "Substituído por {}", "Sostituita da {}"),
        *("Vervangen door {}", "Zastąpiona przez {}", "Заменено на {}", "被 {} 取代", "由 {} 取代", "{} に置き換えられた", "Abgelöst durch {}"),
        *("Partly superseded by {}", "| Superseded by | {} |\n|---|---|\n| Date | 2024-05-01 |", "Superseded\nby {}"),
    ],
    "supersedes": [
        *("Supersedes {}", "Supercedes {}", "Replaces {}", "This decision supersedes {}", "Supersedes: {}", "**Supersedes** {}"),
        *("Obsoletes {}", "{} is superseded by this decision", "Superseding {}", "It replaces {}", "- Supersedes {}"),
        *("Ersetzt {}", "Remplace {}", "Sustituye a {}", "Substitui {}", "Sostituisce {}", "Vervangt {}", "Zastępuje {}", "Заменяет {}"),
        *("取代 {}", "{} を置き換える", "Supersedes:\n\n- {}"),
    ],
    "amends": ["Amends {}", "Extends {}", "Ergänzt {}", "Modifie {}", "Amplía {}", "Amends: {}", "修订 {}"],
    "amended-by": ["Amended by {}", "Extended by {}", "Ergänzt durch {}", "Modifié par {}", "Updated 2024-05-01 by {}"],
    "depends-on": ["Depends on {}", "Builds on {}", "Basiert auf {}", "Dépend de {}", "依赖 {}"],
    "relates-to": [
        *("See {}", "Does not supersede {}", "Not superseded by {}", "Never superseded by {}", "{} was superseded by another rule", "Related: {}"),
        *("Unlike {}, this is cheap", "It was decided after {}", "Ersetzt nicht {}", "No longer supersedes {}", "Ne remplace pas {}"),
        *("The words of {} supersede nothing", "没有取代 {}"),
    ],
}  # fmt: skip
TARGETS = [
    ("ADR-9", "ADR-9"),
    ("[9. Carry by van](0009-carry.md)", "0009-carry.md"),
    ("ADR-9.2", "ADR-9.2"),
    ("[the new one][n]", "0009-n.md"),
]


def links() -> Iterator[Form]:
    for kind, forms in DIRECTIONS.items():
        for form in forms:
            for written, target in TARGETS:
                text = record("Accepted").replace("A text.", f"A text.\n\n{form.format(written)}")
                yield form, text + "\n[n]: 0009-n.md\n", "adr/0007-weigh.md", (kind, target)


# ----------------------------------------------------------------------------------------------------------- metadata

PLACES = [
    *(
        "---\nstatus: {s}\ndate: {d}\n---\n\n# Weigh parcels\n",
        '---\n"status": "{s}"\ndate: "{d}"\n---\n# Weigh parcels\n',
    ),
    *(
        '+++\nstatus = "{s}"\ndate = {d}\n+++\n# Weigh parcels\n',
        '{{"status": "{s}", "date": "{d}"}}\n\n# Weigh parcels\n',
    ),
    *(
        "---\nstatus: >-\n  {s}\ndate: {d} # first\n---\n# Weigh parcels\n",
        "---\nStatus: '{s}'\nDate: {d}\n---\n# Weigh parcels\n",
    ),
    *(
        "# Weigh parcels\n\nStatus: {s}\nDate: {d}\n",
        "# Weigh parcels\n\n**Status:** {s}\n**Date:** {d}\n",
        "# Weigh parcels\n\n**Status**: {s}  \n**Date**: {d}\n",
    ),
    *(
        "# Weigh parcels\n\n- Status: {s}\n- Date: {d}\n",
        "# Weigh parcels\n\n* **Status**: {s}\n* **Date**: {d}\n",
        "# Weigh parcels\n\n> Status: {s}\n> Date: {d}\n",
    ),
    *(
        "# Weigh parcels\n\n| Status | Date |\n|---|---|\n| {s} | {d} |\n",
        "# Weigh parcels\n\n| | |\n|---|---|\n| Status | {s} |\n| Date | {d} |\n",
    ),
    *(
        "# Weigh parcels\n\n| **Status** | {s} |\n|---|---|\n| **Date** | {d} |\n",
        "| Status   | Date       |\n|:---------|-----------:|\n| {s} | {d} |\n\n# Weigh parcels\n",
    ),
    *("# Weigh parcels\n\n<table><tr><td>Status</td><td>{s}</td></tr>\n<tr><td>Date</td><td>{d}</td></tr></table>\n",),
    *(
        "# Weigh parcels\n\n<table>\n  <tr><th>Status</th><td>{s}</td></tr>\n  <tr><th>Date</th><td>{d}</td></tr>\n</table>\n",
    ),
    *(
        "# Weigh parcels\n\n## 1. Status\n\n{s}\n\n## 2. Date\n\n{d}\n",
        "# Weigh parcels\n\n## Current Status\n\n{s}\n\n## Date\n\n{d}\n",
    ),
    *(
        "# Weigh parcels\n\n## Status - {s}\n\n## Date\n\n{d}\n",
        "# Weigh parcels\n\n## Status: {s}\n\nDate: {d}\n",
        "# Weigh parcels\n\n## 🚦 Status\n\n{s}\n\nDate: {d}\n",
    ),
    *(
        "# Weigh parcels\n\nDate: {d}\n\n## **Status**\n\n{s}\n",
        "# Weigh parcels\n\nstate: {s}\ndate: {d}\n",
        "# Weigh parcels\n\n状态：{s}\n日期：{d}\n",
    ),
    *(
        "# Weigh parcels\n\nStatut : {s}\nDate : {d}\n",
        "# Weigh parcels\n\nEstado: {s}\nFecha: {d}\n",
        "# Weigh parcels\n\nStato: {s}\nData: {d}\n",
    ),
    *(
        "# Weigh parcels\n\nステータス: {s}\n日付: {d}\n",
        "# Weigh parcels\n\nСтатус: {s}\nДата: {d}\n",
        "# Weigh parcels\n\nStatus: {s}\nDatum: {d}\n",
    ),
    *(
        "# Weigh parcels\n\n**Status:** {s} | **Date:** {d}\n",
        "# Weigh parcels\n\n## Metadata\n\n- Status: {s}\n- Date: {d}\n\n## Context\n\nx\n",
    ),
    *("# Weigh parcels\n\n## Status\n\n{s} {d}\n", "# Weigh parcels\n\n<b>Status:</b> {s}<br>\n<b>Date:</b> {d}\n"),
]
ADOC = [
    "= Weigh parcels\n:status: {s}\n:date: {d}\n",
    "= Weigh parcels\n\nDate: {d}\n\n== Status\n\n{s}\n",
    "= Weigh parcels\n\n|===\n|Status |{s}\n|Date |{d}\n|===\n",
    "= Weigh parcels\n\n* *Status:* {s}\n* *Date:* {d}\n",
]
RST = [
    "Weigh parcels\n=============\n\n:Status: {s}\n:Date: {d}\n",
    "Weigh parcels\n=============\n\nStatus\n------\n\n**{s}** *{d}*\n",
    "=============\nWeigh parcels\n=============\n\nDate: {d}\n\nStatus\n======\n\n{s}\n",
    "Weigh parcels\n#############\n\n- **Status**: {s}\n- **Date**: {d}\n",
]


def metadata() -> Iterator[Form]:
    for form in PLACES:
        for word, right in (("Accepted", "accepted"), ("Rejected", "rejected"), ("Proposed", "proposed")):
            yield form, form.format(s=word, d="2026-01-05"), "", (right, "2026-01-05")
    for ending, forms in (("adoc", ADOC), ("rst", RST)):
        for form in forms:
            yield form, form.format(s="Accepted", d="2026-01-05"), f"x.{ending}", ("accepted", "2026-01-05")
    for written in DATES:
        yield written, f"# Weigh parcels\n\nStatus: Accepted\nDate: {written}\n", "", ("accepted", "2024-05-06")


DATES = [
    *(
        "2024-05-06",
        "2024/05/06",
        "2024.05.06",
        "06.05.2024",
        "6. Mai 2024",
        "6 mai 2024",
        "6 de mayo de 2024",
        "6 de maio de 2024",
    ),
    *(
        "6 maggio 2024",
        "6 mei 2024",
        "6 maja 2024",
        "6 мая 2024 г.",
        "2024年5月6日",
        "May 6, 2024",
        "6th of May 2024",
        "6 May 2024",
    ),
]

# ------------------------------------------------------------------------------------------------------------ numbers

NUMBERS = [
    *(("0012-weigh.md", 12, "12"), ("adr-12-weigh.md", 12, "12"), ("ADR_012_weigh.md", 12, "12"), ("ADR-012.md", 12, "12"), ("12.md", 12, "12")),
    *(("0012_weigh.md", 12, "12"), ("ADR0012-weigh.md", 12, "12"), ("0012. Weigh.md", 12, "12"), ("ship-adr-012-weigh.md", 12, "12")),
    *(("0012-weigh/README.md", 12, "12"), ("adr-012/index.md", 12, "12"), ("ADR-012 Weigh.md", 12, "12"), ("0012-weigh.adoc", 12, "12")),
    *(("0012-weigh.rst", 12, "12"), ("rfc-0012-weigh.md", 12, "12"), ("decision-12-weigh.md", 12, "12"), ("0100-weigh.md", 100, "100")),
    *(("ADR-051.1-weigh.md", None, "51.1"), ("ADR-51.2.3-weigh.md", None, "51.2.3"), ("0012a-weigh.md", None, "12a")),
    *(("ADR-2025-001-weigh.md", 1, "2025-1"), ("2025-014-weigh.md", 14, "2025-14"), ("2025-weigh.md", None, ""), ("adr-2025-weigh.md", None, "")),
    *(("2025-09-11-weigh.md", None, ""), ("adr-2025-09-11-weigh.md", None, ""), ("20250911-weigh.md", None, ""), ("11-09-2025-weigh.md", None, "")),
    *(("2025_09_11_weigh.md", None, ""), ("weigh-12-parcels.md", None, ""), ("3rd-party.md", None, ""), ("http2-only.md", None, "")),
    *(("ADR-012-IMPLEMENTATION-PLAN.md", None, ""), ("0012-notes.md", None, ""), ("0012-appendix-a.md", None, ""), ("0000-template.md", None, "")),
    *(("template.md", None, ""), ("2025-09-11-weigh/README.md", None, ""), ("1-weigh.md", 1, "1"), ("0099-year-2000.md", 99, "99")),
]  # fmt: skip
HEADINGS = [
    *(("# ADR-012: Weigh", 12), ("# 12. Weigh", 12), ("# ADR 12 - Weigh", 12), ("# [ADR-12] Weigh", 12), ("# Decision 12: Weigh", 12)),
    *(("# 0012 – Weigh", 12), ("# Entscheidung 12: Weigh", 12), ("# 12 factor apps", None), ("# 2025: a year", None), ("# ADR-12.3: Weigh", None)),
    *(("# 决策 12：Weigh", 12), ("# ADR-0012 Weigh", 12), ("# 2025-09-11 Weigh", None), ("# ADR-2025-012: Weigh", 12)),
]  # fmt: skip


def counted() -> Iterator[Form]:
    for path, number, label in NUMBERS:
        yield path, record("Accepted", title="# Weigh parcels"), f"adr/{path}", (number, label)
    for heading, number in HEADINGS:
        yield heading, record("Accepted", title=heading), "", number


# -------------------------------------------------------------------------------------------------------------- shares


def answer(kind: str, document: ParsedAdr, right: Any) -> str:
    """Right, wrong, or unknown."""
    said: object
    nothing: object
    if kind == "status":
        said, nothing = document.status, "unknown"
    elif kind == "links":
        found = [link.kind for link in document.links if link.target == right[1]]
        said, right, nothing = (found[0] if found else "none"), right[0], "relates-to"
        nothing = "none" if not found else nothing
    elif kind == "metadata":
        parts = {
            answer("status", document, right[0]),
            "right" if str(document.date) == right[1] else "unknown" if document.date is None else "wrong",
        }
        return "wrong" if "wrong" in parts else "unknown" if "unknown" in parts else "right"
    else:
        said = (document.number, document.label) if isinstance(right, tuple) else document.number
        nothing = (None, "") if isinstance(right, tuple) else None
    return "right" if said == right else "unknown" if said == nothing else "wrong"


KINDS = {"status": statuses, "links": links, "metadata": metadata, "numbers": counted}


def share(kind: str) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    missed: list[str] = []
    for name, text, path, right in KINDS[kind]():
        document = parse(text, path=path)
        outcome = answer(kind, document, right)
        counts[outcome] += 1
        if outcome != "right":
            missed.append(
                f"{outcome}: {name!r} is {right}, read as {document.status} {document.date} {document.label} {document.links}"
            )
    return counts, missed


@pytest.mark.parametrize("kind", KINDS)
def test_no_form_is_read_as_the_opposite_and_few_as_unknown(kind: str) -> None:
    counts, missed = share(kind)
    print(f"{kind}: {dict(counts)} of {counts.total()} forms")
    assert [each for each in missed if each.startswith("wrong")] == []
    assert counts["unknown"] <= UNKNOWN_SHARE_MAX * counts.total(), missed


@pytest.mark.parametrize("written", DOUBTFUL)
def test_what_is_doubtful_is_unknown_and_said_with_its_line(written: str) -> None:
    document = parse(record(written))
    assert document.status == "unknown"
    assert [place.line for place in document.places] == [5]
