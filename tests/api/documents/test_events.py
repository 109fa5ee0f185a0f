"""What is said of documents fits its contracts: change capture could not go on with an event that does not."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.objects import Objects
from connectors.parsers import Amount, Gap, Parsed, Refused
from connectors.postgres.connections import connect
from connectors.postgres.jobs import ClaimedJob
from connectors.registry import RegistryClient
from runtime.settings import Settings
from schemas import catalog
from schemas.codec import Encoder
from streams.documents import ParseDocument
from tests.api.world import running
from tests.dataflows import world as flows

pytestmark = pytest.mark.stack


def encoded(registry: RegistryClient, messages: list[dict[str, Any]]) -> list[str]:
    """The topics of the events, each of which its contract takes, key and value."""
    for message in messages:
        for part in ("key", "value"):
            subject = catalog.subject_of(message["topic"], part)
            registry.register(subject, catalog.schema(subject))
            assert Encoder(registry, subject).encode_json(message[part])
    return [message["topic"] for message in messages]


class Answers:
    """In the place of the parser processes."""

    def __init__(self, *answers: Parsed | Refused) -> None:
        self._left = list(answers)

    def parse(self, *_: Any) -> Parsed | Refused:
        return self._left.pop(0)


async def test_every_event_of_a_document_fits_its_contract(fresh_database: Settings) -> None:
    with flows.made(fresh_database) as world:
        outbox = flows.Outbox(world)
        async with running(fresh_database) as api:
            tenant = await api.tenant()
            sent = {"file": ("Übersicht.md", b"# Text\n")}
            made = (await tenant.request("POST", "/v1/documents", files=sent)).json()
            uploaded = encoded(world.registry, outbox.messages())
            assert sorted(uploaded) == ["agent.task.submitted", "document.uploaded", "job.progress"]
            part = Parsed(
                "application/pdf", "t", "text", 3, {"text": Amount(4, 4)}, (Gap("picture", "one", ((2, 3),)),)
            )
            # What is partial is read again when somebody asks.
            for answer in (Refused("no-text", "pictures"), part, Parsed("text/plain", "t", "text")):
                kind = ParseDocument(Objects(fresh_database), Answers(answer))  # type: ignore[arg-type]
                params = {"document_id": made["id"]}
                for position in ({}, {"stage": "parsing"}):
                    job = ClaimedJob(tenant.tenant_id, made["job_id"], kind.name, params, position, 0, None, 0, "o")
                    with connect(fresh_database.postgres, name="t") as connection:
                        kind.apply(connection, job, kind.prepare(connection, job))
                        connection.commit()
                assert encoded(world.registry, outbox.messages()) == ["document.processed"]
                shown = (await tenant.get(f"/v1/documents/{made['id']}")).json()
                state = "partial" if answer is part else "refused" if isinstance(answer, Refused) else "processed"
                assert shown["state"] == state
                assert bool(shown["reason"]) == (shown["state"] != "processed")
                assert [gap["pages"] for gap in shown["gaps"]] == ([[[2, 3]]] if answer is part else [])
            await tenant.delete(f"/v1/documents/{made['id']}")
            assert set(encoded(world.registry, outbox.messages())) == {"agent.task.submitted", "job.progress"}
