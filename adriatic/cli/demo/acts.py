"""The acts of `adriatic demo`, in their order: what a day at a company with decision records does to the system.

Each act is a function of the stage that says in a few numbers what happened. What the system should have done otherwise
is noted at the stage, and the day goes on. Only `/v1` is used, as any client may.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from adriatic.cli.demo import story, works
from adriatic.cli.demo.stage import Facts, Stage
from adriatic.cli.remote import connect, error_in
from adriatic.cli.sending import IntoLog, send
from connectors.history import Fault, FileChange, SourceKind
from connectors.llm.sse import ServerEvent
from runtime.errors import AdriaticError, CallerError, Gone, NotFound

FEED_BATCH = 40
"""Notices in one request: a few requests, so that its status can be seen to move."""
EDITED = 4
"""Records that get a review."""
NEAREST = 5
"""How many of the related records are looked at."""
CUT_AFTER = 3
"""Events of an answer until its reader is cut: how it begins, its sources, and the first words."""
PAGE = 100

Act = Callable[[Stage], Facts]


@dataclass
class StorySource:
    """The story's history as a source, see `connectors.history.model.HistorySource`."""

    name: str = story.NAME
    kind: SourceKind = "git"
    snapshot: bool = False

    def count(self) -> int:
        return len(story.history())

    def changes(self) -> Iterator[FileChange | Fault]:
        for each in story.history():
            yield FileChange(
                ref=each.ref,
                committed_at=each.at,
                author=each.author,
                subject=each.subject,
                change=each.change,
                path=each.path,
                old_path=each.old_path,
                content=None if each.text is None else each.text.encode(),
            )

    def notes(self) -> list[str]:
        return []


def bring_in(stage: Stage) -> Facts:
    """The history of the log, with its dates and authors."""
    limit = stage.settings.api.import_bytes_max
    sent = send(stage.remote, StorySource(), IntoLog("main"), stage.clock, lambda _: None, bytes_max=limit)
    assert sent.finished is not None
    report, totals = sent.finished.report, sent.finished.totals
    if report.refused:
        stage.faults.append(f"changes were refused: {', '.join(report.refused)}")
    stage.facts["since"] = sent.started.started_at.isoformat()
    return {
        "changes": report.events,
        "adrs": totals.live,
        "versions": totals.versions,
        "links": totals.links,
        "links_resolved": totals.links_resolved,
    }


def upload(stage: Stage) -> Facts:
    """Documents of several types, one of them broken, and one that is sent twice."""
    made: dict[str, str] = {}
    for document in (*stage.day.document, stage.day.document[0]):
        read = partial(io.BytesIO, document.text.lstrip("\n").encode())
        answer, _ = stage.remote.upload("/v1/documents", document.name, read, dict[str, Any])
        if made.setdefault(document.name, answer["id"]) != answer["id"]:
            stage.faults.append(f"{document.name} was stored twice")
    stage.facts["document_ids"] = made
    return {"sent": len(stage.day.document) + 1, "stored": len(set(made.values()))}


def produce(stage: Stage) -> Facts:
    """A producer with a key of its own sends notices: some twice, some in the wrong order, one broken."""
    feed = stage.day.feed
    made = stage.ask("POST", "/v1/feeds", {"slug": feed.slug, "name": feed.name})
    items = list(story.notices(feed))
    refused = "none"
    with connect(stage.url, made["key"]["key"]) as producer:
        for start in range(0, len(items), FEED_BATCH):
            body = {"items": items[start : start + FEED_BATCH]}
            producer.request("POST", f"/v1/feeds/{feed.slug}", dict[str, Any], body=body)
        try:
            body = {"items": [story.BROKEN_NOTICE]}
            producer.request("POST", f"/v1/feeds/{feed.slug}", dict[str, Any], body=body)
            stage.faults.append("a notice without an id was taken")
        except CallerError as error:
            refused = error.code
    stage.facts["feed_items"] = len(items)
    return {"items": len(items), "refused": {refused: 1}}


def edit(stage: Stage) -> Facts:
    """People change decisions: reviews, one rolled back, one deleted and restored, one that supersedes another."""
    adrs = stage.get("/v1/adrs", limit=PAGE, sort="created")["items"]
    for summary in adrs[:EDITED]:
        adr = stage.get(f"/v1/adrs/{summary['adr_id']}")
        body = f"{adr['body'].rstrip()}\n\n## Review\n\nLooked at again this morning. It holds.\n"
        change = {"body": body, "expected_version": adr["version"], "message": "Reviewed"}
        stage.ask("PATCH", f"/v1/adrs/{adr['adr_id']}", change)
    first = stage.get(f"/v1/adrs/{adrs[0]['adr_id']}")
    back = {"to_version": first["version"] - 1, "expected_version": first["version"], "message": "Too early"}
    stage.ask("POST", f"/v1/adrs/{first['adr_id']}/rollback", back)
    last = stage.get(f"/v1/adrs/{adrs[-1]['adr_id']}")
    stage.ask("DELETE", f"/v1/adrs/{last['adr_id']}", expected_version=last["version"])
    restore = {"expected_version": last["version"] + 1, "message": "By mistake"}
    stage.ask("POST", f"/v1/adrs/{last['adr_id']}/restore", restore)
    stage.ask("POST", "/v1/adrs", {"body": story.SUCCESSOR})
    return {"versions": len(adrs[:EDITED]) + 4}


def start_job(stage: Stage) -> Facts:
    """A job: look whether any record lacks its vectors."""
    job = stage.ask("POST", "/v1/jobs", {"kind": "reindex"})
    stage.facts["job_id"] = job["job_id"]
    return {"asked": job["kind"]}


def ask(stage: Stage) -> Facts:
    """Questions, answered from the records; the last one is stopped in the middle."""
    answered = cited = stopped = 0
    for number, question in enumerate(stage.day.questions):
        leave = number == len(stage.day.questions) - 1
        ended, citations = _answer(stage, question, leave=leave)
        answered += ended == "done"
        stopped += ended == "left"
        cited += citations
    if not cited:
        stage.faults.append("no answer cited a source")
    stage.facts["attempts"] = answered + stopped
    return {"answered": answered, "stopped": stopped, "cited": cited}


def _answer(stage: Stage, question: str, *, leave: bool) -> tuple[str, int]:
    """How the answer ended, and how many sources it cited."""
    cited = 0
    with stage.remote.events("/v1/chat/stream", {"question": question}) as events:
        for event in events:
            if event.name == "delta" and leave:
                return "left", cited
            if event.name == "citations":
                cited = len(msgspec.json.decode(event.data)["cited"])
            if event.name == "error":
                raise error_in(event)
            if event.name == "done":
                return "done", cited
    return "broke off", cited


def go_on(stage: Stage) -> Facts:
    """A reader is cut in the middle of an answer, and goes on where it was."""
    question = {"question": stage.day.questions[0], "on_disconnect": "keep"}
    heard: list[ServerEvent] = []
    with stage.remote.events("/v1/chat/stream", question) as events:
        heard += islice(events, CUT_AFTER)
    answer_id = heard[-1].id.rpartition(".")[0]
    with stage.remote.follow(f"/v1/chat/answers/{answer_id}/stream", heard[-1].id) as events:
        heard += events
    numbers = [int(event.id.rpartition(".")[2]) for event in heard]
    if numbers != list(range(len(heard))) or heard[-1].name != "done":
        stage.faults.append(f"an answer that was cut went on with the events {numbers}, the last {heard[-1].name}")
    stage.facts["attempts"] += 1
    return {"events": len(heard), "before_the_cut": CUT_AFTER, "each_once": len(set(numbers)) == len(numbers)}


def settle(stage: Stage) -> Facts:
    """Everything that was written arrives everywhere."""

    def findable(found: Facts) -> bool:
        return not found["words"]["waiting"] and not found["meaning"]["waiting"]

    what = "every record is findable by words and by meaning"
    freshness = stage.get_when(findable, what, "/v1/freshness", since=stage.facts["since"])
    return {
        **{f"{arm}_{name}": freshness[arm][name] for arm in ("words", "meaning") for name in ("p50_s", "p95_s")},
        "embeddings_avoided": freshness["embeddings"]["avoided"],
        "embedded": freshness["embeddings"]["embedded"],
    }


def await_uploads(stage: Stage) -> Facts:
    """Each document is processed, or refused with its reason."""
    states: dict[str, Facts] = {}

    def over() -> bool:
        for name, document_id in stage.facts["document_ids"].items():
            if states.get(name, {}).get("state") not in works.SETTLED:
                states[name] = stage.get(f"/v1/documents/{document_id}")
        return all(each["state"] in works.SETTLED for each in states.values())

    stage.until("every document is processed or refused", over)
    for document in stage.day.document:
        state, expected = states[document.name]["state"], "refused" if document.refused else "processed"
        if state != expected:
            stage.faults.append(f"{document.name} is {state}, and should be {expected}")
    refused = Counter(each["reason"]["code"] for each in states.values() if each["state"] == "refused")
    return {"processed": sum(each["state"] == "processed" for each in states.values()), "refused": dict(refused)}


def await_notices(stage: Stage) -> Facts:
    """Every notice is counted as what it was."""

    def are_counted(found: Facts) -> bool:
        feed = found["feed"]
        done = feed["accepted"] + feed["duplicates"] + feed["superseded"] + sum(feed["rejected"].values())
        return bool(done >= stage.facts["feed_items"])

    feed = stage.get_when(are_counted, "every notice is counted", f"/v1/feeds/{stage.day.feed.slug}")["feed"]
    if feed["rejected"]:
        stage.faults.append(f"notices were rejected: {feed['rejected']}")
    return {name: feed[name] for name in ("received", "accepted", "deleted", "duplicates", "superseded", "rejected")}


def await_jobs(stage: Stage) -> Facts:
    """The jobs are over."""
    path = f"/v1/jobs/{stage.facts['job_id']}"
    job = stage.get_when(lambda found: found["state"] in works.OVER, "the job is over", path)
    if job["state"] != "succeeded":
        stage.faults.append(f"the job {job['state']}: {job['last_error']}")
    return {"state": job["state"], "done": job["done"], "unit": job["unit"]}


def relate(stage: Stage) -> Facts:
    """What is near what: each record has its nearest others, and what it links to is among the first of them."""
    adrs = [adr["adr_id"] for adr in stage.get("/v1/adrs", limit=PAGE)["items"]]
    links = {adr: _targets(stage, adr) for adr in adrs}
    near: dict[str, list[Facts]] = {}

    def complete() -> bool:
        for adr in adrs:
            if not near.get(adr) or not links[adr] <= _ids(near[adr]):
                near[adr] = stage.get(f"/v1/adrs/{adr}/related")["related"][:NEAREST]
        return all(near[adr] and links[adr] <= _ids(near[adr]) for adr in adrs)

    stage.until("every record has related ones, and those that it links to first", complete)
    reasons = Counter(reason["kind"] for each in near.values() for related in each for reason in related["reasons"])
    return {
        "records": len(adrs),
        "links": sum(map(len, links.values())),
        f"links_in_first_{NEAREST}": sum(len(links[adr] & _ids(near[adr])) for adr in adrs),
        "reasons": dict(reasons),
    }


def _targets(stage: Stage, adr: str) -> set[str]:
    outgoing = stage.get(f"/v1/adrs/{adr}/links")["outgoing"]
    return {link["target_id"] for link in outgoing if link["target_id"]}


def _ids(related: list[Facts]) -> set[str]:
    return {each["id"] for each in related}


def bill(stage: Stage) -> Facts:
    """What the day's answers used, from the ledger."""

    def complete(found: Facts) -> bool:
        return bool(found["totals"]["attempts"] >= stage.facts["attempts"])

    totals = stage.get_when(complete, "every answer is in the usage", "/v1/usage", by="model")["totals"]
    return {
        "attempts": totals["attempts"],
        "tokens": sum(totals["tokens"].values()),
        "cost_micro_usd": totals["cost_micro_usd"],
        "unpriced": totals["unpriced"],
    }


def watch(stage: Stage) -> Facts:
    """What the live views show is what a plain read says."""
    live = len(stage.get("/v1/adrs", limit=PAGE)["items"])

    def same() -> bool:
        counts = stage.rows("entity_counts")
        return int(sum(row["count"] for row in counts if row["kind"] == "adrs")) == live

    stage.until("the live counts are those of the log", same)
    for reader in stage.readers.values():
        stage.faults.extend(reader.faults)
        if not reader.picture.complete:
            stage.faults.append(f"the live view {reader.view} has no snapshot")
    return {
        view: {"rows": len(reader.picture.rows), "changes": reader.picture.changes}
        for view, reader in stage.readers.items()
    }


def clear_up(stage: Stage) -> None:
    """Delete what the day made. What is gone already is not missed."""
    for adr in stage.get("/v1/adrs", limit=PAGE)["items"]:
        stage.ask("DELETE", f"/v1/adrs/{adr['adr_id']}", expected_version=adr["version"])
    scans = [stage.facts["scan_id"]] if "scan_id" in stage.facts else []
    for document_id in {*stage.facts.get("document_ids", {}).values(), *scans}:
        _quietly(stage, f"/v1/documents/{document_id}")
    if "feed_items" in stage.facts:
        _take_back(stage)
        _quietly(stage, f"/v1/feeds/{stage.day.feed.slug}")


def _take_back(stage: Stage) -> None:
    """Deleting a feed leaves what it brought, so every notice is deleted first, and counted before the feed is gone."""
    path = f"/v1/feeds/{stage.day.feed.slug}"
    before = stage.get(path)["feed"]["received"]
    stage.ask("POST", path, {"items": list(story.withdrawals(stage.day.feed))})
    counted = before + stage.day.feed.items
    stage.until("every notice is taken back", lambda: stage.get(path)["feed"]["received"] >= counted)


def _quietly(stage: Stage, path: str) -> None:
    try:
        stage.ask("DELETE", path)
    except (Gone, NotFound):
        pass
    except AdriaticError as error:
        stage.faults.append(f"{path} could not be deleted: {error.detail}")


PLAN: tuple[tuple[str, str, Act], ...] = (
    ("import", "the log of decisions is brought in", bring_in),
    ("uploads", "people upload documents", upload),
    ("scan", "somebody scans a notice", works.scan),
    ("feed", "a producer sends notices", produce),
    ("edits", "decisions are reviewed, rolled back, superseded", edit),
    ("job", "a job is asked for", start_job),
    ("chats", "people ask", ask),
    ("cut", "a reader is cut, and goes on", go_on),
    ("freshness", "everything becomes findable", settle),
    ("documents", "documents are processed or refused", await_uploads),
    ("notices", "every notice is accounted for", await_notices),
    ("scanned", "a scan is read, a page is named as lost", works.await_scan),
    ("research", "a question is looked into", works.look_into),
    ("task", "an agent does a task, step by step", works.give_task),
    ("jobs", "the job is over", await_jobs),
    ("related", "what is near what", relate),
    ("usage", "what the answers used", bill),
    ("live", "the live views agree", watch),
)
"""Name in the summary, what it is to people, and the act."""
VIEWS = ("activity", "entity_counts", "job_status", "usage_by_model", "related", "feed_status")
"""Live views that the screen shows while the acts play."""
