"""`/v1/feeds`: make feeds and keys, send items, see what became of them.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, PathParameter

from api.auth.middleware import FEED_KEY
from api.auth.users import Principal
from api.db import Database, tenant_transaction
from api.edge import traceparent
from api.feeds import service
from api.feeds.service import (
    FeedChange,
    FeedDetail,
    FeedList,
    MadeFeed,
    NewFeed,
    NewItems,
    NewKey,
    Received,
    ShownKey,
)
from api.openapi import answers

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

Db = NamedDependency[Database]
By = NamedDependency[Principal]
Slug = Annotated[str, PathParameter(description="The feed's slug.")]


class FeedController(Controller):
    """A feed is a stream of documents of one outside producer, over Kafka or HTTP."""

    path = "/v1/feeds"
    tags = ("feeds",)

    @post(
        operation_id="createFeed",
        summary="Make a feed",
        responses=answers(
            MadeFeed,
            {"feed": _FEED, "key": _SHOWN},
            status=201,
            description="The feed and its first key, which is shown this once.",
            errors=(409, 413, 415),
        ),
    )
    async def create_feed(
        self,
        database: Db,
        principal: By,
        data: Annotated[NewFeed, Body(examples=[Example("New feed", value={"slug": "wiki", "name": "The wiki"})])],
    ) -> MadeFeed:
        """One that was deleted is there again, with its documents and its counts; its old keys stay revoked."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.create(connection, principal.tenant_id, data)

    @get(
        operation_id="listFeeds",
        summary="List feeds",
        responses=answers(FeedList, {"items": [_FEED], "as_of": _AS_OF}, description="Feeds, by slug."),
    )
    async def list_feeds(self, database: Db, principal: By) -> FeedList:
        """Every feed of the tenant with what became of its items. `as_of` says how far the counts are."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.list_all(connection, principal.tenant_id)

    @get(
        "/{feed:str}",
        operation_id="getFeed",
        summary="Read a feed",
        responses=answers(FeedDetail, _DETAIL, description="Counts, keys, and the newest rejections.", errors=(404,)),
    )
    async def get_feed(self, database: Db, principal: By, feed: Slug) -> FeedDetail:
        """The newest 50 rejections with their reasons. The counts are also on the topic `adriatic.mv.feed_status`."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id, feed)

    @patch(
        "/{feed:str}",
        operation_id="updateFeed",
        summary="Change a feed",
        responses=answers(FeedDetail, _DETAIL, description="The feed as it is now.", errors=(404, 413, 415)),
    )
    async def update_feed(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        data: Annotated[FeedChange, Body(examples=[Example("Pause", value={"paused": True})])],
    ) -> FeedDetail:
        """Quotas, name, paused. A larger quota holds from the next item on; what was refused before can be redriven."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.change(connection, principal.tenant_id, feed, data)

    @delete(
        "/{feed:str}",
        status_code=204,
        operation_id="deleteFeed",
        summary="Delete a feed",
        responses=answers(None, None, status=204, description="Deleted; its keys are revoked.", errors=(404,)),
    )
    async def delete_feed(self, database: Db, principal: By, feed: Slug) -> None:
        """Nothing is taken for it any more. Its documents stay."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.delete(connection, principal.tenant_id, feed)

    @post(
        "/{feed:str}/keys",
        operation_id="createFeedKey",
        summary="Make a key of a feed",
        responses=answers(
            ShownKey, _SHOWN, status=201, description="The key, shown this once.", errors=(404, 409, 413, 415)
        ),
    )
    async def create_feed_key(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        data: Annotated[NewKey, Body(examples=[Example("New key", value={"name": "the wiki's exporter"})])],
    ) -> ShownKey:
        """Make a key. To rotate, make a second one, give it to the producer, and revoke the first."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.create_key(connection, principal.tenant_id, feed, data.name)

    @delete(
        "/{feed:str}/keys/{key_id:str}",
        status_code=204,
        operation_id="revokeFeedKey",
        summary="Revoke a key of a feed",
        responses=answers(None, None, status=204, description="Revoked.", errors=(404,)),
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
        status_code=202,
        opt=FEED_KEY,
        request_max_body_size=service.BODY_BYTES_MAX,
        operation_id="sendFeedItems",
        summary="Send items to a feed",
        responses=answers(
            Received, {"received": 1}, status=202, description="Taken.", errors=(404, 409, 413, 415, 429)
        ),
    )
    async def send_items(
        self,
        database: Db,
        principal: By,
        feed: Slug,
        data: Annotated[NewItems, Body(examples=[Example("One item", value={"items": [_ITEM]})])],
    ) -> Received:
        """Send at most 500 items at once, all or none. A version that was sent before changes nothing, and an older
        one never replaces a newer one, so a request can be repeated safely. Takes a token, or the feed's key in its
        place."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.receive(connection, principal, feed, data.items, trace)
