"""The story holds together: every edit fits, every link leads to a record, the feed has all that a feed can have."""

from __future__ import annotations

from collections import Counter

from adriatic.cli.demo import story
from api.adrs.document import parse


def final() -> dict[str, str]:
    """The records as they are at the end, by file name."""
    texts: dict[str, str] = {}
    for written in story.history():
        texts.pop(written.old_path or written.path, None)
        if written.text is not None:
            texts[written.path] = written.text
    return {path.removeprefix("adr/"): text for path, text in texts.items()}


def test_the_history_has_edits_a_rename_and_a_deletion_in_the_order_of_time() -> None:
    history = story.history()
    assert [each.at for each in history] == sorted(each.at for each in history)
    assert len({each.ref for each in history}) == len(history)
    kinds = Counter(each.change for each in history)
    assert kinds["A"] >= 25
    assert kinds["M"] >= 7
    assert (kinds["R"], kinds["D"]) == (1, 1)


def test_every_link_leads_to_a_record_of_the_history() -> None:
    records = final()
    earlier = {each.path.removeprefix("adr/") for each in story.history()}
    links = [(name, link) for name, text in records.items() for link in parse(text).links]
    assert len(links) >= 15
    assert {link.kind for _, link in links} >= {"supersedes", "superseded-by", "amends", "depends-on", "relates-to"}
    assert [(name, link.target) for name, link in links if link.target not in earlier] == []


def test_every_record_has_a_title_a_status_and_a_decision() -> None:
    for name, text in final().items():
        document = parse(text)
        assert document.title, name
        assert document.status != "unknown", name
        assert "## Decision" in text, name


def test_somebody_supersedes_a_record_that_is_there() -> None:
    (link,) = parse(story.SUCCESSOR).links
    assert (link.kind, link.target) == ("supersedes", "ADR-20")
    assert any(name.startswith("0020-") for name in final())


def test_a_broken_story_is_refused() -> None:
    import pytest

    step = story.history()[0]
    bad = story.StoryStep(step.at, "", "", "adr/x.md", edits=(("a", "b"),))
    with pytest.raises(ValueError, match="before it is written"):
        story._write({}, 0, bad)
    with pytest.raises(ValueError, match="does not say"):
        story._write({"adr/x.md": "c"}, 0, bad)


def test_the_notices_come_twice_in_disorder_deleted_and_broken() -> None:
    feed = story.day().feed
    items = list(story.notices(feed))
    assert list(story.notices(feed)) == items
    seen = Counter((item["id"], item["version"]) for item in items)
    assert sum(count > 1 for count in seen.values()) == feed.duplicates
    assert sum(bool(item.get("deleted")) for item in items) == feed.deleted
    newest: dict[str, int] = {}
    superseded = 0
    for item in items:
        superseded += item["version"] < newest.get(item["id"], 0)
        newest[item["id"]] = max(newest.get(item["id"], 0), item["version"])
    assert superseded > 0
    assert not story.BROKEN_NOTICE["id"]


def test_the_documents_are_of_several_types_and_one_is_broken() -> None:
    documents = story.day().document
    assert len({document.media_type for document in documents}) == len(documents) >= 4
    assert [document.name for document in documents if document.refused] == ["lanes-of-the-marram.pdf"]
