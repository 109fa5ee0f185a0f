"""A subject that is deleted from the registry is named, costs no record, and is back with one command."""

from __future__ import annotations

import signal

import httpx
import pytest

from connectors.registry import RegistryClient
from runtime.settings import Settings
from schemas import catalog
from tests.copies import Copy
from tests.crash.healing import WELL_S_MAX
from tests.system.conftest import Tenant, World, eventually

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

SUBJECT = "adriatic.app.adr_versions-value"
"""Capture writes by it, and most flows read by it."""


@pytest.mark.parametrize("permanent", [False, True], ids=["soft", "hard"])
def test_a_subject_that_was_deleted_is_named_and_nothing_dies_of_it(
    world: World, system_copy: Copy, tenant: Tenant, permanent: bool
) -> None:
    eventually("all is well before", world.is_well)
    letters, schema = world.dead_letters(), catalog.load()[SUBJECT]
    with RegistryClient(world.settings.registry) as registry:
        schema_id = registry.id_of(SUBJECT, schema)
        _delete(world.settings, permanent=permanent)
        try:
            found = eventually("it is seen", lambda: _complaint(world))
            assert SUBJECT in found, "named"
            assert "adriatic schemas register" in found, "and what to do"
            running = tenant.create("# Otter\n\n## Decision\n\nThe otter goes on.\n")["adr_id"]
            eventually("what runs goes on", lambda: running in tenant.search("otter", "words"))
            # Those that begin anew meanwhile have nothing in their memory.
            for part in ("cdc", "index"):
                system_copy.process(part).send_signal(signal.SIGKILL)
            later = tenant.create("# Otter and heron\n\n## Decision\n\nThe otter waits.\n")["adr_id"]
            eventually("capture says what it waits for", lambda: "not registered" in _detail(world, "cdc"))
        finally:
            world.run("schemas", "register")
        eventually("all is well", world.is_well, WELL_S_MAX)
        eventually("nothing is lost", lambda: {running, later} <= set(tenant.search("otter", "words")))
        assert registry.id_of(SUBJECT, schema) == schema_id, "what was written before names this id"
    assert world.dead_letters() == letters
    verified = world.run("verify", "--tenant", tenant.slug, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _delete(settings: Settings, *, permanent: bool) -> None:
    registry = settings.registry
    auth = (registry.username, registry.password.get_secret_value()) if registry.username else None
    with httpx.Client(base_url=registry.url, auth=auth, timeout=registry.timeout_s) as http:
        assert http.delete(f"/subjects/{SUBJECT}").status_code == 200
        if permanent:
            assert http.delete(f"/subjects/{SUBJECT}", params={"permanent": "true"}).status_code == 200


def _complaint(world: World) -> str:
    code, shown = world.status()
    return next((each["detail"] for each in shown["problems"] if each["what"] == "registry"), "") if code else ""


def _detail(world: World, part: str) -> str:
    _, shown = world.status()
    return next((str(row["detail"]) for row in shown["parts"] if row["name"] == part), "")
