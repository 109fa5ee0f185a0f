"""What the page is made of: whole, ours or named as somebody else's, and without what its policy would refuse."""

from __future__ import annotations

import gzip
import hashlib
import re
import tomllib
from importlib import resources

import pytest

from api.page.assets import Assets
from tests.docs.markdown import ROOT, tracked

STATIC = ROOT / "api/page/static"
PATHS = {"/v1/adrs", "/v1/jobs"}
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:|hx-on|hx-vals", re.IGNORECASE)
"""What the policy refuses, or what htmx would have to compile."""
SINKS = re.compile(
    r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(|Function\("
)


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets.load(PATHS)


def vendored() -> list[dict[str, object]]:
    packages: list[dict[str, object]] = tomllib.loads((ROOT / "api/page/vendor.toml").read_text())["package"]
    return packages


def test_every_vendored_file_is_listed_with_its_sum_and_nothing_else_is() -> None:
    listed: dict[str, object] = {}
    for package in vendored():
        sums = package["sha256"]
        assert isinstance(sums, dict)
        assert any(name.endswith("/LICENSE") for name in sums), package["name"]
        assert package["licence"] in ("0BSD", "MIT")
        assert re.fullmatch(r"\d+\.\d+\.\d+", str(package["version"]))
        listed |= sums
    there = {
        str(file.relative_to(STATIC / "vendor")): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (STATIC / "vendor").rglob("*")
        if file.is_file()
    }
    assert there == listed


def test_every_file_that_the_page_names_is_there(assets: Assets) -> None:
    named = re.findall(rf'(?:src|href)="/assets/{assets.digest}/([^"]+)"', assets.document.body.decode())
    assert len(named) >= 7
    assert set(named) <= set(assets.files)
    for name, asset in assets.files.items():
        if name.endswith(".js") and not name.startswith("vendor/"):
            for imported in re.findall(r'from "\./([^"]+)"', asset.body.decode()):
                assert imported in assets.files, f"{name} imports {imported}"


def test_the_address_changes_with_any_file_and_not_by_itself(assets: Assets) -> None:
    assert Assets.load(PATHS).digest == assets.digest
    assert re.fullmatch(r"[0-9a-f]{16}", assets.digest)
    for asset in assets.files.values():
        assert asset.packed is None or gzip.decompress(asset.packed) == asset.body


def test_nothing_in_the_document_would_be_refused_by_its_policy(assets: Assets) -> None:
    assert INLINE.findall(assets.document.body.decode()) == []
    assert INLINE.search('<p onclick="x">')
    assert INLINE.search("<script>x")
    assert not INLINE.search('<script src="x">')


@pytest.mark.parametrize("name", [name for name in tracked("api/page/static/*.js") if "/vendor/" not in name])
def test_no_script_of_ours_makes_markup_of_text(name: str) -> None:
    assert SINKS.findall((ROOT / name).read_text()) == []


def test_a_panel_is_there_for_what_can_be_asked_and_for_nothing_else(assets: Assets) -> None:
    page = assets.document.body.decode()
    assert 'hx-get="/v1/jobs?limit=5"' in page
    assert "/v1/feeds" not in page
    assert 'hx-get="/v1/feeds"' in Assets.load({"/v1/feeds"}).document.body.decode()


def test_the_files_belong_to_the_package() -> None:
    package = resources.files("api.page")
    assert (package / "templates" / "page.html").is_file()
    assert (package / "static" / "vendor" / "htmx" / "LICENSE").is_file()
