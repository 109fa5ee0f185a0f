"""`adriatic feed`: feeds, their keys, and a producer's first steps.

Owns how feeds look in a terminal, and the packing of a file of items. What it sends goes over the API like anybody's;
`encode` sends nothing: it writes what a Kafka client then produces.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from adriatic.cli import output
from adriatic.cli.output import json_option
from adriatic.cli.where import Where, where_options
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import InvalidInput
from runtime.settings import load

if TYPE_CHECKING:
    from api.feeds.service import Feed, FeedDetail, NewItem, ShownKey
    from schemas.codec import Encoder
    from schemas.feeds import ProducerKey

F = TypeVar("F", bound=Callable[..., Any])

BATCH_ITEMS_MAX = 500
"""The API takes this many at once."""
BATCH_BYTES_MAX = 4_194_304
"""Half of what the API takes, so that a batch is closed before it is too large."""
BAD_LINES_SHOWN_MAX = 20
FILES_MAX = 10_000
"""Most files of one `encode`: two an item; more of them is work for a program."""


def key_option(*, required: bool = False) -> Callable[[F], F]:
    """`--key-file`, given to the command as `key_file`, open."""
    meaning = "The feed's key; `-` reads it from standard input."
    return click.option("--key-file", type=click.File(), metavar="FILE", required=required, help=meaning)


@click.group()
def feed() -> None:
    """Feeds: documents of outside producers, over Kafka or HTTP.

    \b
    adriatic feed create wiki > wiki.key               a feed; its key is shown this once
    adriatic feed send wiki pages.jsonl                one item a line: {"id": "p1", "version": 1, "text": "…"}
    adriatic feed show wiki                            what became of them
    """


@feed.command()
@click.argument("slug")
@click.option("--name", default="", help="What people call it.  [default: the slug]")
@click.option("--items-per-day", type=int, help="Quota of a day (UTC).")
@click.option("--bytes-per-day", type=int, help="Quota of a day (UTC).")
@where_options
@json_option()
def create(
    slug: str,
    name: str,
    items_per_day: int | None,
    bytes_per_day: int | None,
    where: Where,
    as_json: bool,
) -> None:
    """Make a feed. Its key goes to standard output: keep it, nobody can show it again."""
    from api.feeds.service import MadeFeed

    wanted = {"slug": slug, "name": name, "items_per_day": items_per_day, "bytes_per_day": bytes_per_day}
    body = {field: value for field, value in wanted.items() if value not in (None, "")}
    with where.connect() as remote:
        made = remote.request("POST", "/v1/feeds", MadeFeed, body=body)
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    click.echo(f"feed {made.feed.slug} of tenant {made.feed.tenant_id}", err=True)
    _show_key(made.key)


@feed.command("list")
@where_options
@json_option()
def list_(where: Where, as_json: bool) -> None:
    """The feeds of a tenant, and what became of their items."""
    from api.feeds.service import FeedList

    with where.connect() as remote:
        found = remote.request("GET", "/v1/feeds", FeedList)
    lines = (f"{each.slug:20} {_counts(each)}{'  paused' if each.paused else ''}" for each in found.items)
    none = "" if found.items else "no feeds yet: `adriatic feed create wiki` makes one"
    output.show(as_json, msgspec.json.encode(found), lines, none, _behind(found.as_of.age_s))


@feed.command()
@click.argument("slug")
@where_options
@json_option()
def show(slug: str, where: Where, as_json: bool) -> None:
    """One feed: counts, quota, keys, and the newest records that were refused."""
    from api.feeds.service import FeedDetail

    with where.connect() as remote:
        found = remote.request("GET", f"/v1/feeds/{slug}", FeedDetail)
    output.show(as_json, msgspec.json.encode(found), _lines(found), _behind(found.as_of.age_s))


@feed.command("set")
@click.argument("slug")
@click.option("--name")
@click.option("--items-per-day", type=int, help="Quota of a day (UTC).")
@click.option("--bytes-per-day", type=int, help="Quota of a day (UTC).")
@click.option("--items-per-minute", type=int, help="Over HTTP.")
@click.option("--paused/--resumed", default=None, help="Refuse everything, or take it again.")
@where_options
def set_(slug: str, where: Where, **changes: Any) -> None:
    """Change a feed. What was refused for its quota, or while paused, can be redriven: `adriatic dlq redrive`."""
    from api.feeds.service import FeedDetail

    body = {field: value for field, value in changes.items() if value is not None}
    with where.connect() as remote:
        found = remote.request("PATCH", f"/v1/feeds/{slug}", FeedDetail, body=body)
    for line in _lines(found):
        click.echo(line)


@feed.command()
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Do it. Without, nothing happens.")
@where_options
def delete(slug: str, yes: bool, where: Where) -> None:
    """Delete a feed: its keys are revoked, its documents stay."""
    if not yes:
        click.echo(f"would delete the feed {slug}; say --yes", err=True)
        sys.exit(1)
    with where.connect() as remote:
        remote.send("DELETE", f"/v1/feeds/{slug}")
    click.echo(f"deleted {slug}")


@feed.command()
@click.argument("slug")
@click.argument("file", type=click.File("rb"))
@key_option()
@where_options
@json_option()
def send(
    slug: str,
    file: IO[bytes],
    key_file: IO[str] | None,
    where: Where,
    as_json: bool,
) -> None:
    """Send items over HTTP: FILE has one JSON object a line, `-` is standard input.

    \b
    {"id": "page-12", "version": 7, "title": "Deploying", "text": "# Deploying …", "uri": "https://…"}
    {"id": "page-13", "version": 2, "deleted": true}

    Safe to stop and to repeat. Lines that are no items are named and left out; the command then ends with 1.
    """
    from api.feeds.service import Received

    items = _Items(file)
    sent = 0
    with where.connect(key=key_file.readline().strip() if key_file else None) as remote:
        for batch in _batches(items):
            body = b'{"items":[' + b",".join(batch) + b"]}"
            sent += remote.request("POST", f"/v1/feeds/{slug}", Received, body=body).received
    click.echo(msgspec.json.encode({"sent": sent, "bad_lines": items.bad}) if as_json else f"sent {sent} items")
    _report(items.bad)


@feed.command()
@click.argument("slug")
@click.argument("file", type=click.File("rb"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@key_option(required=True)
def encode(slug: str, file: IO[bytes], folder: Path, key_file: IO[str]) -> None:
    """Write the signed records of FILE's items into FOLDER, for kcat or any other Kafka client.

    Of each item NUMBER.avro, the value, and NUMBER.headers, its headers as options of kcat. Sends nothing.
    """
    from connectors.registry import RegistryClient
    from schemas.codec import Encoder
    from schemas.feeds import TOPIC, ProducerKey

    try:
        key = ProducerKey.parse(key_file.readline())
    except ValueError:
        raise InvalidInput("that is no feed key", hint="it begins with adf_") from None
    folder.mkdir(parents=True, exist_ok=True)
    items = _Items(file)
    written = 0
    with RegistryClient(load().registry) as registry:
        encoder = Encoder(registry, f"{TOPIC}-value")
        for item in items:
            written += 1
            if written > FILES_MAX:
                raise InvalidInput(f"more than {FILES_MAX} items", hint="split the file, or use `adriatic feed send`")
            value = _encode(encoder, key, slug, item)
            (folder / f"{written:06}.avro").write_bytes(value)
            headers = " ".join(f"-H {name}={text}" for name, text in key.headers(value).items())
            (folder / f"{written:06}.headers").write_text(headers + "\n")
    click.echo(f"wrote {written} records to {folder}")
    _report(items.bad)


@feed.group()
def key() -> None:
    """Keys of a feed: make one, revoke one."""


@key.command("create")
@click.argument("slug")
@click.option("--name", default="", help="Who gets it.")
@where_options
def create_key(slug: str, name: str, where: Where) -> None:
    """Make a key. It goes to standard output: keep it, nobody can show it again."""
    from api.feeds.service import ShownKey

    with where.connect() as remote:
        _show_key(remote.request("POST", f"/v1/feeds/{slug}/keys", ShownKey, body={"name": name}))


@key.command("revoke")
@click.argument("slug")
@click.argument("key_id")
@where_options
def revoke_key(slug: str, key_id: str, where: Where) -> None:
    """Revoke a key. Records that it signed and that are not processed yet are refused."""
    with where.connect() as remote:
        remote.send("DELETE", f"/v1/feeds/{slug}/keys/{key_id}")
    click.echo(f"revoked {key_id}")


# --- inside ---------------------------------------------------------------------------------------------------------


class _Items:
    """The items of a file, in order. What is none is kept in `bad`, by line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bad: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[NewItem]:
        from api.feeds.service import NewItem

        decoder = msgspec.json.Decoder(NewItem)
        for number, line in enumerate(self._file, 1):
            if not line.strip():
                continue
            try:
                item = decoder.decode(line)
                if (fault := _fault(item)) is not None:
                    raise msgspec.ValidationError(fault)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self.bad.append((number, str(error)))
                continue
            yield item


def _fault(item: NewItem) -> str | None:
    from schemas.feeds import fault

    return fault(_by_contract(item))


def _batches(items: Iterable[NewItem]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for item in items:
        line = msgspec.json.encode(item)
        if batch and (len(batch) == BATCH_ITEMS_MAX or size + len(line) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch


def _encode(encoder: Encoder, key: ProducerKey, slug: str, item: NewItem) -> bytes:
    from schemas.keys import tenant_of

    source = {"tenant_id": tenant_of(key.key_id), "feed": slug, "occurred_at": SYSTEM_CLOCK.now()}
    return encoder.encode({**source, **_by_contract(item)})


def _by_contract(item: NewItem) -> dict[str, Any]:
    """What an item says, by the names of the contract."""
    said = msgspec.structs.asdict(item)
    return {"document_id": said.pop("id"), "source_version": said.pop("version"), **said}


def _report(bad: list[tuple[int, str]]) -> None:
    """Name the lines that were left out, and end with 1 when there are some."""
    for number, why in bad[:BAD_LINES_SHOWN_MAX]:
        click.echo(f"line {number}: {why}", err=True)
    if bad:
        click.echo(f"{len(bad)} line(s) were left out", err=True)
        sys.exit(1)


def _show_key(made: ShownKey) -> None:
    click.echo("its key, shown this once:", err=True)
    click.echo(made.key)


def _counts(each: Feed) -> str:
    refused = sum(each.rejected.values())
    return (
        f"received {each.received}, accepted {each.accepted} (of these {each.deleted} deleted), "
        f"duplicates {each.duplicates}, superseded {each.superseded}, rejected {refused}"
    )


def _lines(found: FeedDetail) -> Iterator[str]:
    each = found.feed
    yield click.style(f"{each.slug}  {each.name}", bold=True) + ("  paused" if each.paused else "")
    yield f"  {_counts(each)}"
    for reason, count in sorted(each.rejected.items()):
        yield f"    {reason}: {count}"
    yield (
        f"  today {each.items_today} of {each.items_per_day} items, {each.bytes_today} of {each.bytes_per_day} bytes; "
        f"at most {each.items_per_minute} items a minute over HTTP"
    )
    for one in found.keys:
        state = f"revoked {one.revoked_at:%Y-%m-%d %H:%M}" if one.revoked_at else "good"
        yield f"  key {one.key_id}  {one.name or 'no name'}  {state}"
    for refused in found.rejections[:BAD_LINES_SHOWN_MAX]:
        yield (
            f"  refused {refused.received_at:%Y-%m-%d %H:%M:%S}  {refused.reason}  {refused.detail}  "
            f"{refused.topic}/{refused.partition}/{refused.offset}"
        )


def _behind(age_s: float | None) -> str:
    return "behind: unknown (does `adriatic status` show the flow feeds?)" if age_s is None else f"behind {age_s:.1f} s"
