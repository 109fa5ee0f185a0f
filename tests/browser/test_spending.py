"""Spending on the page, as an admin meets it: budgets, the kill-switch, overrides, API keys, charts, on the real API;
and that others do not see it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Route, expect

from api.auth.issuer import LocalIssuer
from runtime.settings import CallerRole
from tests.browser.conftest import DESKTOP, MOBILE, House, Site, Visit
from tests.browser.test_page import HOSTILE, WIDTHS, accessible

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PHONE = {"width": 390, "height": 844}
FRESH = {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:00Z", "age_s": 0.8}
TOKENS = {"input_uncached": 4210, "cache_read": 18000, "output_visible": 2100}


def token_of(site: Site, house: House, role: CallerRole) -> str:
    issuer = LocalIssuer.open(house.settings.home, house.settings.auth)
    return issuer.mint(site.tenant_id, subject=f"a-{role}", ttl_s=600, role=role).text


def call(site: Site, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {site.token}"}
    answer = httpx.request(method, f"{site.server.url}{path}", json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def limit(site: Site, dollars: float, **more: Any) -> dict[str, Any]:
    wanted = {"level": "org", "period": "month", "limit_micro_usd": round(dollars * 1e6)} | more
    made: dict[str, Any] = call(site, "PUT", "/v1/budgets", wanted)
    return made


def enter(site: Site, **context: Any) -> Visit:
    visit = site.open("/?view=spend", **context)
    visit.page.wait_for_selector("#spend:not([hidden])")
    expect(visit.page.locator("#budgets")).to_have_attribute("aria-busy", "false")
    return visit


def agree(visit: Visit, **fields: str) -> None:
    """Fill in the open dialog, and say yes."""
    expect(visit.page.locator("#confirm")).to_be_visible()
    for name, value in fields.items():
        visit.page.fill(f"#confirm-{name}", value)
    visit.page.click("#confirm-yes")
    expect(visit.page.locator("#confirm")).to_be_hidden()


def test_a_budget_is_set_changed_raised_and_deleted(site: Site) -> None:
    visit = enter(site)
    expect(visit.page.locator("#budgets")).to_contain_text("No budget")
    visit.page.fill("#budget-form input[name=dollars]", "12.5")
    visit.page.click("#budget-form button")
    expect(visit.page.locator(".budget")).to_contain_text("$0.00 of $12.50 spent")
    expect(visit.page.locator(".budget")).to_contain_text("until")
    visit.page.click("[data-action=change]")
    expect(visit.page.locator("#budget-form input[name=dollars]")).to_have_value("12.50")
    visit.page.fill("#budget-form input[name=dollars]", "20")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".budget")).to_contain_text("of $20.00 spent")

    visit.page.click("[data-action=raise]")
    agree(visit, amount="5", hours="2", reason="The release is tonight")
    expect(visit.page.locator(".budget")).to_contain_text("raised by $5.00")
    expect(visit.page.locator("#overrides")).to_contain_text("The release is tonight")
    (override,) = call(site, "GET", "/v1/spend/overrides")["items"]
    assert (override["amount_micro_usd"], override["in_force"]) == (5_000_000, True)
    visit.page.click("[data-action=end]")
    agree(visit)
    expect(visit.page.locator("#overrides .chip")).to_have_text("ended")

    visit.page.select_option("#budget-form select[name=level]", "key")
    visit.page.fill("#budget-form input[name=subject]", "batch")
    visit.page.fill("#budget-form input[name=dollars]", "0.000001")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".budget")).to_have_count(2)
    set_now = {(each["level"], each["subject"], each["limit_micro_usd"]) for each in budgets(site)}
    assert set_now == {("org", "", 20_000_000), ("key", "batch", 1)}

    visit.page.locator(".budget", has_text="batch").locator("[data-action=remove]").click()
    visit.page.keyboard.press("Escape")
    assert len(budgets(site)) == 2, "Esc is no"
    visit.page.locator(".budget", has_text="batch").locator("[data-action=remove]").click()
    agree(visit)
    expect(visit.page.locator(".budget")).to_have_count(1)
    assert [each["level"] for each in budgets(site)] == ["org"]
    visit.clean()


def budgets(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(site, "GET", "/v1/budgets")["budgets"]
    return found


def test_what_the_api_refuses_is_said_beside_the_form(site: Site) -> None:
    visit = enter(site)
    visit.page.select_option("#budget-form select[name=level]", "user")
    visit.page.fill("#budget-form input[name=subject]", str(uuid4()))
    visit.page.fill("#budget-form input[name=dollars]", "1")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#budget-problem .problem")).to_be_visible()
    assert budgets(site) == []


def test_everything_is_stopped_and_resumed_with_a_reason(site: Site) -> None:
    visit = enter(site)
    expect(visit.page.locator("#switch")).to_have_attribute("data-state", "running")
    visit.page.click("#stop-all")
    visit.page.click("#confirm button[value=cancel]")
    assert call(site, "GET", "/v1/spend/switch")["state"] == "running", "no is no"
    visit.page.click("#stop-all")
    visit.page.click("#confirm-yes")
    expect(visit.page.locator("#confirm")).to_be_visible()  # not without a reason
    agree(visit, reason="It runs in a circle")
    expect(visit.page.locator("#switch")).to_have_attribute("data-state", "stopped")
    expect(visit.page.locator("#stops")).to_contain_text("It runs in a circle")
    visit.shot("stopped")
    assert accessible(visit) == []
    (stop,) = call(site, "GET", "/v1/spend/switch")["stops"]
    assert stop["reason"] == "It runs in a circle"
    visit.page.click("#resume-all")
    agree(visit, reason="It was mended")
    expect(visit.page.locator("#switch")).to_have_attribute("data-state", "running")
    expect(visit.page.locator("#stop-all")).to_be_visible()
    assert call(site, "GET", "/v1/spend/switch")["ended"][0]["resume_reason"] == "It was mended"
    visit.clean()


def test_an_api_key_is_shown_once_works_and_is_revoked(site: Site) -> None:
    visit = enter(site)
    visit.page.fill("#api-key-form input[name=name]", HOSTILE[:60])
    visit.page.click("#api-key-form button")
    secret = visit.text("#api-key-shown .secret")
    headers = {"authorization": f"Bearer {secret}"}
    me = httpx.get(f"{site.server.url}/v1/me", headers=headers, timeout=30)
    assert me.json()["scopes"] == ["read", "chat"], me.text
    expect(visit.page.locator("#api-keys .name")).to_have_text(HOSTILE[:60])
    visit.page.get_by_role("button", name="I have it").click()
    assert secret not in visit.page.content()
    visit.page.click("[data-action=revoke]")
    agree(visit)
    expect(visit.page.locator("#api-keys .chip")).to_have_text("revoked")
    assert httpx.get(f"{site.server.url}/v1/me", headers=headers, timeout=30).status_code == 401
    assert secret not in visit.page.content()
    visit.clean()


def test_a_secret_does_not_outlive_the_panel(site: Site) -> None:
    visit = enter(site)
    visit.page.fill("#api-key-form input[name=name]", "web-app")
    visit.page.click("#api-key-form button")
    secret = visit.text("#api-key-shown .secret")
    visit.page.click("#spend-back")
    expect(visit.page.locator("#spend")).to_be_hidden()
    assert secret not in visit.page.content()
    visit.clean()


@pytest.mark.parametrize("role", ["member", "service"])
def test_who_is_no_admin_does_not_see_it(site: Site, house: House, role: CallerRole) -> None:
    visit = site.visit()
    with visit.page.expect_response("**/v1/me") as answered:
        visit.page.goto(f"{site.server.url}/?view=spend#token={token_of(site, house, role)}")
    assert "admin" not in answered.value.json()["scopes"]
    expect(visit.page.locator("#question")).to_be_visible()
    expect(visit.page.locator("#open-spend")).to_be_hidden()
    expect(visit.page.locator("#spend")).to_be_hidden()
    visit.page.focus(".brand")
    visit.page.keyboard.press("s")
    expect(visit.page.locator("#spend")).to_be_hidden()
    assert not [url for url in visit.asked if "/v1/keys" in url or "/v1/budgets" in url]
    visit.clean()


# --- charts, in the shapes of the contract --------------------------------------------------------------------------


def spent(cost: int | None, attempts: int = 12, unpriced: int = 0) -> dict[str, Any]:
    return {"attempts": attempts, "tokens": TOKENS, "cost_micro_usd": cost, "unpriced": unpriced}


def usage_of(by: str) -> dict[str, Any]:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    blank = {"begins": None, "provider": None, "model": None, "user_id": None, "user": None, "key_id": None}
    rows = {
        "day": [
            blank | {"begins": (today - timedelta(days=ago)).isoformat(), "spent": spent(1_000_000 * (ago % 7 + 1))}
            for ago in range(0, 28, 1)
        ],
        "model": [
            blank | {"provider": "openai", "model": "gpt-5.2", "spent": spent(58_210_000)},
            blank | {"provider": "own", "model": "no-price", "spent": spent(None, 3, 3)},
        ],
        "user": [blank | {"user_id": str(uuid4()), "user": HOSTILE, "spent": spent(7)}],
        "key": [blank | {"key_id": "web-app", "spent": spent(1_234_567)}],
    }[by]
    return {"by": by, "rows": rows, "more": False, "totals": spent(58_210_000, 15, 3), "as_of": FRESH}


def script(site: Site, visit: Visit) -> None:
    def answer(route: Route) -> None:
        by = route.request.url.partition("by=")[2].partition("&")[0] or "day"
        route.fulfill(status=200, content_type="application/json", body=json.dumps(usage_of(by)))

    visit.context.route("**/v1/usage?*", answer)


def alert(percent: int, state: str) -> dict[str, Any]:
    delivered = {"channel": "slack", "state": state, "tries": 1, "last_error": "", "delivered_at": None}
    return {
        "alert_id": str(uuid4()),
        "budget_id": str(uuid4()),
        "level": "org",
        "subject": "",
        "period": "month",
        "begins": "2026-01-01T00:00:00Z",
        "percent": percent,
        "limit_micro_usd": 10**8,
        "spent_micro_usd": percent * 10**6,
        "raised_at": "2026-01-15T09:00:04Z",
        "deliveries": [delivered],
    }


@pytest.mark.parametrize(("viewport", "scheme"), [*WIDTHS, (PHONE, "light"), (PHONE, "dark")])
def test_spending_can_be_read_by_everybody(site: Site, viewport: dict[str, int], scheme: str) -> None:
    limit(site, 100)
    limit(site, 1.5, level="key", period="day", subject="web-app")
    call(site, "POST", "/v1/keys", {"name": "web-app", "scopes": ["read", "chat"]})
    visit = site.visit(viewport=viewport, color_scheme=scheme)
    script(site, visit)
    alerts = {"items": [alert(85, "failed"), alert(70, "delivered")], "next_cursor": None}
    visit.context.route(
        "**/v1/spend/alerts?*",
        lambda route: route.fulfill(status=200, content_type="application/json", body=json.dumps(alerts)),
    )
    visit.page.goto(f"{site.server.url}/?view=spend#token={site.token}")
    expect(visit.page.locator("#spent .column")).to_have_count(30)
    expect(visit.page.locator("#spent-total")).to_contain_text("$58.21 for 15 attempts")
    expect(visit.page.locator("#spent-total")).to_contain_text("3 of unknown price")
    expect(visit.page.locator("#alerts")).to_contain_text("not delivered by slack")
    heights = "[...document.querySelectorAll('.column')].filter((each) => each.offsetHeight > 0).length"
    assert visit.page.evaluate(heights) == 28
    size = {MOBILE["width"]: "mobile", DESKTOP["width"]: "desktop"}.get(viewport["width"], "phone")
    visit.page.screenshot(path=visit.pictures / f"spend-{size}-{scheme}.png", full_page=True)
    assert accessible(visit) == []
    for by, says in (("model", "not known"), ("key", "$1.23"), ("user", "$0.000007")):
        visit.page.locator("#spent-by label", has_text=by.capitalize()).click()
        expect(visit.page.locator("#spent")).to_contain_text(says)
    expect(visit.page.locator("#spent .name")).to_have_text(HOSTILE)
    assert accessible(visit) == []
    visit.page.click("#stop-all")
    visit.shot(f"confirm-{size}-{scheme}")
    assert accessible(visit) == []
    visit.clean()


def test_it_is_reached_and_left_with_keys(site: Site) -> None:
    visit = site.open()
    expect(visit.page.locator("#open-spend")).to_be_visible()
    visit.page.focus(".brand")
    visit.page.keyboard.press("s")
    expect(visit.page.locator("#spend-title")).to_be_focused()
    assert "view=spend" in visit.page.url
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#spend")).to_be_hidden()
    expect(visit.page.locator("#q")).to_be_focused()
    visit.page.go_back()
    expect(visit.page.locator("#spend")).to_be_visible()
    visit.clean()
