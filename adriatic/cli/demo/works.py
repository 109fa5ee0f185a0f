"""Acts of `adriatic demo` that are work of its own: a scan is read, a question is looked into, an agent has a task.

Each begins something at `/v1`, waits until it is over, and holds what came of it against what was promised: the page
that could not be read is named, a citation is opened and stands there, what the records do not hold is said to be so.
The acts of the day are in `acts`; a crawl, which needs a site, is in `adriatic/drill/crawling.py`.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from adriatic.cli.demo.stage import Facts, Stage

SCAN_SIZE = (1_100, 420)
"""Pixels of the page that can be read: a notice of a few lines."""
LETTERS = 26
TOO_LARGE = (10_100, 10_000)
"""Pixels of the page that cannot: above what is ever unpacked, and white, so that it takes no room in the file."""
STEPS_MAX = 12
"""Steps of the agent's task. By quoting it takes three for each sentence."""
TASK_S_MAX = 60
OVER = frozenset(("succeeded", "failed", "cancelled"))
SETTLED = frozenset(("processed", "partial", "refused"))


def scan(stage: Stage) -> Facts:
    """Somebody scans a notice of two pages; nobody could unpack the second."""
    content = draw_scan(stage.day.scan.lines)
    answer, _ = stage.remote.upload("/v1/documents", stage.day.scan.name, partial(io.BytesIO, content), dict[str, Any])
    stage.facts["scan_id"] = answer["id"]
    return {"pages": 2, "bytes": len(content)}


def draw_scan(lines: tuple[str, ...]) -> bytes:
    """A TIFF of two pages: the lines, and a page that has too many pixels."""
    page = Image.new("1", SCAN_SIZE, 1)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(LETTERS)
    for number, line in enumerate(lines):
        draw.text((60, 50 + 46 * number), line, font=font, fill=0)
    out = io.BytesIO()
    page.save(out, "TIFF", compression="group4", save_all=True, append_images=[Image.new("1", TOO_LARGE, 1)])
    return out.getvalue()


def await_scan(stage: Stage) -> Facts:
    """What can be read of it is found on its page; what cannot is named, and a retry reads that alone."""
    path = f"/v1/documents/{stage.facts['scan_id']}"
    found = stage.get_when(lambda each: each["state"] in SETTLED, "the scan is read", path)
    gaps = [gap["pages"] for gap in found["gaps"]]
    if (found["state"], gaps) != ("partial", [[[2, 2]]]):
        stage.faults.append(f"the scan is {found['state']} without {gaps}, and should be partial without page 2")
        return {"state": found["state"]}

    def stands_there(answer: Facts) -> bool:
        pages = [hit["chunk"]["pages"] for hit in answer["hits"] if hit["source_id"] == stage.facts["scan_id"]]
        return [1, 1] in pages

    what = "a sentence of the scan is found on its page"
    stage.get_when(stands_there, what, "/v1/search", q=stage.day.scan.sought, kind="document")
    again = stage.ask("POST", f"{path}/retry")
    job = stage.get_when(lambda each: each["state"] in OVER, "the retry is over", f"/v1/jobs/{again['job_id']}")
    if job["total"] != 1:
        stage.faults.append(f"the retry read {job['total']} pages, and should read the one that failed")
    return {
        "state": found["state"],
        "read": found["recognised"]["pages"],
        "sure": found["recognised"]["confidence"],
        "without": f"page 2 ({found['gaps'][0]['code']})",
        "retried_pages": job["total"],
    }


def look_into(stage: Stage) -> Facts:
    """A question is taken apart and answered with quotes, each of which is opened; another one has no answer."""
    found = _research(stage, stage.day.research)
    result = found.get("result") or {"answered": False, "parts": [], "sources": [], "passes": []}
    claims = [claim for each in result["parts"] for claim in each["claims"]]
    sources = {source["number"]: source for source in result["sources"]}
    held = sum(_stands(stage, sources[claim["source"]], claim) for claim in claims)
    if not result["answered"] or not claims or len(result["parts"]) < 2:
        stage.faults.append(f"the question {stage.day.research!r} is {found['state']}, and was not answered in parts")
    if held != len(claims):
        stage.faults.append(f"{len(claims) - held} of {len(claims)} quotes do not stand where they are said to")
    unknown = (_research(stage, stage.day.unanswerable).get("result") or {"answered": True})["answered"]
    if unknown:
        stage.faults.append("a question that the records do not hold was answered")
    return {
        "parts": len(result["parts"]),
        "sources": len(sources),
        "quotes": len(claims),
        "opened_and_there": held,
        "of_another": "answered" if unknown else "the sources do not say",
    }


def _research(stage: Stage, question: str) -> Facts:
    made = stage.ask("POST", "/v1/research", {"question": question})
    path = f"/v1/research/{made['research_id']}"
    return stage.get_when(lambda each: each["finished_at"] is not None, "a question is looked into", path)


def _stands(stage: Stage, source: Facts, claim: Facts) -> bool:
    """Whether a quote is what its version says at that place. What is no decision has no versions to be read."""
    if source["kind"] != "adr":
        return True
    body = stage.get(f"{source['path']}/versions/{source['version']}")["body"]
    return _plain(claim["text"]) in _plain(body[claim["char_start"] : claim["char_end"]])


def _plain(text: str) -> str:
    """The letters and digits alone: a quote is a sentence, and its place may have white space and marks in it."""
    return "".join(character for character in text if character.isalnum())


def give_task(stage: Stage) -> Facts:
    """An agent does a task in steps, each of which is there to be read, and another one is cancelled."""
    task = _task(stage)
    path = f"/v1/agents/tasks/{task['task_id']}"
    found = stage.get_when(lambda each: each["finished_at"] is not None, "the task is over", path)
    steps = stage.get(f"{path}/steps", limit=100)["items"]
    done = [step for step in steps if step["state"] == "done"]
    consulted = (found["result"] or {"consulted": []})["consulted"]
    if found["state"] != "succeeded":
        stage.faults.append(f"the task {found['state']}: {found['last_error']}")
    elif not consulted or len(done) != len(steps) or found["steps"] != len(steps):
        stage.faults.append(f"the task read {consulted}, with {len(done)} of {len(steps)} steps done")
    stage.facts["attempts"] += sum(step["kind"] == "model" for step in done)
    other = stage.ask("POST", f"/v1/agents/tasks/{_task(stage)['task_id']}/cancel")
    ended = stage.get_when(
        lambda each: each["finished_at"] is not None, "a task is cancelled", f"/v1/agents/tasks/{other['task_id']}"
    )
    return {
        "steps": len(done),
        "tools": sum(step["kind"] == "tool" for step in done),
        "read": len(consulted),
        "plan": task["plan"],
        "another": ended["state"],
    }


def _task(stage: Stage) -> Facts:
    bounds = {"steps": STEPS_MAX, "seconds": TASK_S_MAX}
    made: Facts = stage.ask("POST", "/v1/agents/tasks", {"goal": stage.day.goal, **bounds})
    return made
