"""`/v1/feeds`: make feeds and keys, send items, see what became of them.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller
from litestar.params import PathParameter

from api.auth.middleware import FEED_KEY
from api.auth.roles import NEEDS_ADMIN, NEEDS_INGEST
from api.db import tenant_transaction
from api.edge import traceparent
from api.feeds import service
from api.routes import By, Db, body, delete, get, patch, post

_TENANT = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"
_KEY_ID = "0199f0c2a1b27c3d8e4f5a6b7c8d9e0f.mfrggzdfmztwq2lk"
_AS_OF = {"state": "fresh", "lsn": "0/1A2B3C4", "time": "2026-01-15T09:00:04Z", "age_s": 0.8}
_FEED: dict[str, Any] = {
    "slug": "wiki",
    "name": "The wiki",
    "tenant_id": _TENANT,
    "paused": False,
    "items_per_day": 1000000,
    "bytes_per_day": 10737418240,
    "items_per_minute": 30000,
    "created_at": "2026-01-15T09:00:00Z",
    "received": 1204,
    "accepted": 1190,
    "deleted": 7,
    "duplicates": 9,
    "superseded": 2,
    "rejected": {"invalid": 2, "bad_signature": 1},
    "redriven": 0,
    "not_kept": 0,
    "items_today": 1202,
    "bytes_today": 2240119,
    "last_item_at": "2026-01-15T09:00:03Z",
    "last_accepted_at": "2026-01-15T09:00:03Z",
    "behind_s": 0.8,
}
_KEY = {"key_id": _KEY_ID, "name": "", "created_at": "2026-01-15T09:00:00Z", "revoked_at": None}
_SHOWN = {"key_id": _KEY_ID, "key": f"adf_{_KEY_ID}_{'5f' * 32}"}
_REJECTION = {
    "reason": "invalid",
    "detail": "an item that is not deleted has a text",
    "hint": "see docs/how-to/produce-to-a-feed.md for what each field may be",
    "received_at": "2026-01-15T09:00:02Z",
    "topic": "feed.documents",
    "partition": 3,
    "offset": 8812,
    "key_id": _KEY_ID,
    "id": None,
    "version": None,
}
_DETAIL = {"feed": _FEED, "keys": [_KEY], "rejections": [_REJECTION], "as_of": _AS_OF}
_ITEM = {"id": "page-12", "version": 7, "title": "Deploying", "text": "# Deploying\n\nOn Fridays we do not.\n"}

Slug = Annotated[str, PathParameter(description="The feed's slug.")]


class FeedController(Controller):
    """A feed is a stream of documents of one outside producer, over Kafka or HTTP."""

    path = "/v1/feeds"
    tags = ("feeds",)

    @post(
        "/",
        "Make a feed",
        {"feed": _FEED, "key": _SHOWN},
        "The feed and its first key, which is shown this once.",
        status=201,
        errors=(409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def create_feed(
        self,
        database: Db,
        principal: By,
        data: Annotated[service.NewFeed, body("New feed", {"slug": "wiki", "name": "The wiki"})],
    ) -> service.MadeFeed:
        """One that was deleted is there again, with its documents and its counts; its old keys stay revoked."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.create(connection, principal.tenant_id, data)

    @get("/", "List feeds", {"items": [_FEED], "as_of": _AS_OF}, "Feeds, by slug.")
    async def list_feeds(self, database: Db, principal: By) -> service.FeedList:
        """Every feed of the tenant with what became of its items. `as_of` says how far the counts are."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.list_all(connection, principal.tenant_id)

    @get("/{feed:str}", "Read a feed", _DETAIL, "Counts, keys, and the newest rejections.", errors=(404,))
    async def get_feed(self, database: Db, principal: By, feed: Slug) -> service.FeedDetail:
        """The newest 50 rejections with their reasons. The counts are also on the topic `adriatic.mv.feed_status`."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id, feed)

    @patch("/{feed:str}", "Change a feed", _DETAIL, "The feed as it is now.", errors=(404, 413, 415), opt=NEEDS_ADMIN)
    async def update_feed(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        data: Annotated[service.FeedChange, body("Pause", {"paused": True})],
    ) -> service.FeedDetail:
        """Quotas, name, paused. A larger quota holds from the next item on; what was refused before can be redriven."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.change(connection, principal.tenant_id, feed, data)

    @delete(
        "/{feed:str}",
        "Delete a feed",
        None,
        "Deleted; its keys are revoked.",
        status=204,
        errors=(404,),
        opt=NEEDS_ADMIN,
    )
    async def delete_feed(self, database: Db, principal: By, feed: Slug) -> None:
        """Nothing is taken for it any more. Its documents stay."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.delete(connection, principal.tenant_id, feed)

    @post(
        "/{feed:str}/keys",
        "Make a key of a feed",
        _SHOWN,
        "The key, shown this once.",
        status=201,
        errors=(404, 409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def create_feed_key(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        data: Annotated[service.NewKey, body("New key", {"name": "the wiki's exporter"})],
    ) -> service.ShownKey:
        """Make a key. To rotate, make a second one, give it to the producer, and revoke the first."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.create_key(connection, principal.tenant_id, feed, data.name)

    @delete(
        "/{feed:str}/keys/{key_id:str}",
        "Revoke a key of a feed",
        None,
        "Revoked.",
        status=204,
        errors=(404,),
        opt=NEEDS_ADMIN,
    )
    async def revoke_feed_key(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        key_id: Annotated[str, PathParameter(description="The key's id.")],
    ) -> None:
        """Records that it signed and that are not processed yet are rejected with `revoked_key`."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.revoke_key(connection, principal.tenant_id, feed, key_id)

    @post(
        "/{feed:str}",
        "Send items to a feed",
        {"received": 1},
        "Taken.",
        status=202,
        errors=(404, 409, 413, 415, 429),
        opt={**FEED_KEY, **NEEDS_INGEST},
        request_max_body_size=service.BODY_BYTES_MAX,
    )
    async def send_feed_items(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        data: Annotated[service.NewItems, body("One item", {"items": [_ITEM]})],
    ) -> service.Received:
        """Send at most 500 items at once, all or none. A version that was sent before changes nothing, and an older
        one never replaces a newer one, so a request can be repeated safely. Takes a token, or the feed's key in its
        place."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.receive(connection, principal, feed, data.items, trace)
