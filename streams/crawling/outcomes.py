"""What becomes of an answer for a page: a version, nothing new, another address, or a reason.

Owns the order in which an answer is looked at. Refuses requests; each function writes in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import replace

from connectors.fetching.urls import normalise
from connectors.parsers import PageFacts
from connectors.postgres.connections import Connection
from streams.crawling import frontier, page_store
from streams.crawling.asking import PageAnswer
from streams.crawling.frontier import CrawlState, FrontierUrl, UrlOutcome
from streams.crawling.page_store import KnownPage, ReadPage

NOT_RENDERED = "not-rendered"
STATUS_WORDS = {401: "it needs a login", 403: "its site forbids it", 404: "it is not there", 410: "it is gone for good"}


def record_page(connection: Connection, crawl: CrawlState, waiting: FrontierUrl, answer: PageAnswer) -> None:
    """Write what came of one page, and where it leads."""
    if answer.retry and waiting.tries + 1 < frontier.TRIES_MAX:
        outcome = _describe(answer, "waiting")
    elif answer.page is not None and answer.facts is not None:
        outcome = _take_rendered(connection, crawl, waiting, answer, answer.page, answer.facts)
    elif answer.fetched is not None and answer.fetched.status == 304:
        outcome = _leave(connection, crawl, waiting)
    elif answer.fetched is not None and answer.fetched.location:
        outcome = _redirect(connection, crawl, waiting, answer.fetched.location, answer.fetched.status)
    else:
        outcome = _describe(answer, "failed" if answer.retry else "refused")
        if answer.fetched is not None and answer.fetched.status in (404, 410):
            outcome = _miss(connection, crawl, waiting, outcome)
    frontier.note(connection, crawl, waiting.url_id, replace(outcome, rendered=answer.rendered))


def _take_rendered(
    connection: Connection,
    crawl: CrawlState,
    waiting: FrontierUrl,
    answer: PageAnswer,
    page: ReadPage,
    facts: PageFacts,
) -> UrlOutcome:
    """A page with a text, of which is told what a browser did not do for it. Where its scripts make its text and there
    was no browser, what an earlier crawl kept of it stays, and a page without a text is not one that is gone."""
    missed = answer.not_rendered
    if answer.rendered and facts.index and not page.text.strip():
        # Not one that is gone: what its scripts read may not have been there.
        return UrlOutcome("refused", "empty", f"the browser showed no text{answer.told and f': {answer.told}'}", 200)
    if missed is None:
        outcome = _take(connection, crawl, waiting, page, facts)
        told = answer.told if outcome.state in ("stored", "unchanged") else ""
        return replace(outcome, detail=told) if told else outcome
    why = f"its scripts were not run: {missed.detail}"
    known = page_store.find_known(connection, crawl.tenant_id, waiting.url) if facts.scripted else None
    if known is not None:
        page_store.touch(connection, crawl, known.page_id)
        kept = (known.page_id, known.text_hash, known.simhash)
        return UrlOutcome("unchanged", NOT_RENDERED, f"{why}; it is as an earlier crawl saw it", 200, None, *kept)
    if facts.index and not page.text.strip():
        if facts.follow:
            _follow(connection, crawl, waiting, page.links)
        return UrlOutcome("refused", NOT_RENDERED, f"it has no text, and {why}", 200)
    outcome = _take(connection, crawl, waiting, page, facts)
    return replace(outcome, code=NOT_RENDERED, detail=why) if outcome.state in ("stored", "unchanged") else outcome


def _describe(answer: PageAnswer, state: str) -> UrlOutcome:
    """Why there is no page."""
    if answer.failure is not None:
        return UrlOutcome(state, answer.failure.code, answer.failure.detail)
    assert answer.fetched is not None
    status = answer.fetched.status
    if answer.refused is not None:
        return UrlOutcome(state, answer.refused.code, answer.refused.detail, status)
    said = STATUS_WORDS.get(status, f"its site answers {status}")
    if answer.pause_s:
        said += f", and asks to come back after {answer.pause_s:.0f} s"
    return UrlOutcome(state, f"http-{status}", said, status)


def _take(
    connection: Connection, crawl: CrawlState, waiting: FrontierUrl, page: ReadPage, facts: PageFacts
) -> UrlOutcome:
    """A page with a text: it is kept unless it asks not to be, names another address, or has another page's text."""
    canonical = _find_canonical(connection, crawl, waiting, facts)
    same = None if canonical else frontier.find_same(connection, crawl, waiting.url_id, page.text_hash, page.simhash)
    if facts.follow and same is None:
        _follow(connection, crawl, waiting, page.links)
    if not facts.index:
        outcome = UrlOutcome("refused", "noindex", "the page asks not to be kept", 200)
    elif canonical:
        frontier.add(connection, crawl, [canonical], depth=waiting.depth, hops=waiting.hops + 1)
        outcome = UrlOutcome("duplicate", "canonical", "the page names its own address", 200, canonical)
    elif not page.text.strip() and facts.scripted:
        # Not one that is gone: somebody may have switched the browser off.
        return UrlOutcome("refused", "empty", "the page has no text but what its scripts make", 200)
    elif not page.text.strip():
        outcome = UrlOutcome("refused", "empty", "the page has no text", 200)
    elif same is not None:
        url, code = same
        said = "its text is that of another page" if code == "same-text" else "its text is nearly that of another page"
        outcome = UrlOutcome("duplicate", code, said, 200, url)
    else:
        page_id, changed = page_store.keep(connection, crawl, waiting.url, page)
        state = "stored" if changed else "unchanged"
        return UrlOutcome(state, status=200, page_id=page_id, text_hash=page.text_hash, simhash=page.simhash)
    return _miss(connection, crawl, waiting, outcome)


def _find_canonical(connection: Connection, crawl: CrawlState, waiting: FrontierUrl, facts: PageFacts) -> str | None:
    """The address that a page says is its own, where that is another one which is or will be kept. Two pages that
    name each other are kept once."""
    if not facts.canonical or waiting.hops >= frontier.HOPS_MAX:
        return None
    try:
        canonical = normalise(facts.canonical, waiting.url)
    except ValueError:
        return None
    if canonical == waiting.url or crawl.scope.find_reason(canonical):
        return None
    there = frontier.find_state(connection, crawl, canonical)
    return canonical if there in (None, "waiting", "stored", "unchanged") else None


def _leave(connection: Connection, crawl: CrawlState, waiting: FrontierUrl) -> UrlOutcome:
    """A page that its site says is as it was."""
    known: KnownPage | None = page_store.find_known(connection, crawl.tenant_id, waiting.url)
    if known is None:  # somebody deleted it meanwhile
        return UrlOutcome("refused", "deleted", "the page was deleted here", 304)
    page_store.touch(connection, crawl, known.page_id)
    _follow(connection, crawl, waiting, known.links)
    return UrlOutcome("unchanged", status=304, page_id=known.page_id, text_hash=known.text_hash, simhash=known.simhash)


def _redirect(
    connection: Connection, crawl: CrawlState, waiting: FrontierUrl, location: str, status: int
) -> UrlOutcome:
    """Where it leads is asked for by itself, by the rules of its own host."""
    if waiting.hops >= frontier.HOPS_MAX or location == waiting.url:
        outcome = UrlOutcome("refused", "too-many-redirects", "it leads on and on, or to itself", status, location)
    elif reason := crawl.scope.find_reason(location):
        outcome = UrlOutcome("refused", "out-of-scope", f"it leads elsewhere: {reason}", status, location)
    else:
        frontier.add(connection, crawl, [location], depth=waiting.depth, hops=waiting.hops + 1, kind=waiting.kind)
        outcome = UrlOutcome("redirected", "", "", status, location)
    return _miss(connection, crawl, waiting, outcome)


def _follow(connection: Connection, crawl: CrawlState, waiting: FrontierUrl, links: list[str]) -> None:
    if waiting.kind == "page" and waiting.depth < crawl.depth_max:
        frontier.add(connection, crawl, crawl.scope.take(links, waiting.url), depth=waiting.depth + 1)


def _miss(connection: Connection, crawl: CrawlState, waiting: FrontierUrl, outcome: UrlOutcome) -> UrlOutcome:
    """What came, or that a page of an earlier crawl is not there any more."""
    missed = page_store.miss(connection, crawl, waiting.url)
    if missed is None:
        return outcome
    said = "the page is deleted here" if missed.deleted else f"deleted here after {crawl.gone_after}"
    detail = f"{outcome.detail or 'it leads elsewhere'}: missing in {missed.gone} crawls in a row, {said}"
    return UrlOutcome("gone", outcome.code, detail, outcome.status, outcome.refers_to, missed.page_id)
