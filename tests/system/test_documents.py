"""Documents on the running system: handed in from the command line, parsed by the jobs, found by the search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.connectors.parsers import drawn, samples
from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack


def test_what_is_uploaded_is_found_or_refused_with_its_reason(world: World, tenant: Tenant, tmp_path: Path) -> None:
    made = {
        "pump.md": b"# The pump\n\nRestart the pump with the red lever.",
        "valve.html": samples.page("The valve", ["Restart the valve with the blue lever."]),
        "notes.txt": b"Restart the fan with the green lever.",
        "letter.docx": samples.word("The motor", ["Restart the motor with the brown lever."]),
        "manual.pdf": samples.pdf(["Restart the boiler with the white lever."], title="The boiler"),
        "secret.pdf": samples.pdf(["x"], encrypted=True),
        "empty.md": b"",
    }
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    done = world.run("upload", str(tmp_path), "--tenant", tenant.slug, "--json", check=False)
    assert done.returncode == 1, done.stderr
    outcomes = {Path(outcome["file"]).name: outcome for outcome in json.loads(done.stdout)}
    assert {name: (outcome["state"], outcome["code"]) for name, outcome in outcomes.items()} == {
        "pump.md": ("processed", ""),
        "valve.html": ("processed", ""),
        "notes.txt": ("processed", ""),
        "letter.docx": ("processed", ""),
        "manual.pdf": ("processed", ""),
        "secret.pdf": ("refused", "encrypted"),
        "empty.md": ("refused", "empty"),
    }

    def found(colour: str) -> list[str]:
        answer = tenant.http.get("/v1/search", params={"q": f"{colour} lever", "kind": "document"})
        hits = answer.json()["hits"]
        return [hit["source_id"] for hit in hits if colour in hit["snippet"]["text"]]

    colours = {
        "pump.md": "red",
        "valve.html": "blue",
        "notes.txt": "green",
        "letter.docx": "brown",
        "manual.pdf": "white",
    }
    expected = {colour: [outcomes[name]["id"]] for name, colour in colours.items()}
    eventually("each is found", lambda: {colour: found(colour) for colour in expected} == expected)
    again = world.run("upload", str(tmp_path / "manual.pdf"), "--tenant", tenant.slug)
    assert again.stdout == f"{tmp_path / 'manual.pdf'}: processed (it was here already)\n"
    address = f"/v1/documents/{outcomes['manual.pdf']['id']}"
    assert tenant.http.get(f"{address}/original").content == made["manual.pdf"]
    assert tenant.http.delete(address).status_code == 200
    assert found("white") == []
    verified = world.run("verify", "--tenant", tenant.slug, "--json")
    (report,) = json.loads(verified.stdout)["tenants"]
    assert (report["sources"], report["deleted"], report["differences"]) == ({"document": 4}, 1, 0)
    assert world.dead_letters() == 0


def test_what_a_scanner_made_is_found_on_its_page(world: World, tenant: Tenant, tmp_path: Path) -> None:
    content, known = drawn.ten_scans(lines=3)
    (tmp_path / "scan.pdf").write_bytes(content)
    done = world.run("upload", str(tmp_path / "scan.pdf"), "--tenant", tenant.slug, "--json")
    (outcome,) = json.loads(done.stdout)
    assert outcome["state"] == "processed", outcome
    document = tenant.http.get(f"/v1/documents/{outcome['id']}").json()
    assert (document["recognised"]["pages"], document["recognised"]["scripts"]) == (10, ["Latin"])
    job = tenant.http.get(f"/v1/jobs/{document['job_id']}").json()
    assert (job["phase"], job["done"], job["total"], job["unit"]) == ("indexing", 10, 10, "pages")

    def find(sentence: str) -> list[int] | None:
        answer = tenant.http.get("/v1/search", params={"q": sentence.split(" says ")[1], "kind": "document"}).json()
        return answer["hits"][0]["chunk"]["pages"] if answer["hits"] else None

    expected = [[number, number] for number in range(1, 11)]
    eventually("each sentence is found on its page", lambda: [find(each) for each in known] == expected)
