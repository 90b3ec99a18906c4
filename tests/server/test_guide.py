"""The guide at /guide: built from the documents, searched in a real browser, and nothing outside its folder."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest
from asking import ask
from dashboard.browsing import browser, opened
from servers import Databases, serve

from ringbook.server import guide

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    """A server after `make docs`."""
    if is_stale():
        subprocess.run([sys.executable, "scripts/guide.py"], cwd=ROOT, check=True)
    with databases.fresh("sqlite") as url, serve(url, tmp_path_factory.mktemp("server")) as running:
        yield running


def is_stale() -> bool:
    """Is the guide missing, or older than a document?"""
    built = guide.SITE / "index.html"
    documents = [ROOT / "mkdocs.yml", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.*")]
    return not built.exists() or built.stat().st_mtime < max(one.stat().st_mtime for one in documents)


def test_every_document_is_a_page(server):
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        place = page.relative_to(ROOT).with_suffix("").as_posix().removesuffix("README")
        answer = ask(server, "GET", f"/guide/{place}/".replace("//", "/"))
        assert answer.status == 200, page
        assert "default-src 'none'; script-src 'self' 'sha256-" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path, status, location",
    [
        ("/guide", 307, "/guide/"),
        ("/guide/docs/api", 307, "/guide/docs/api/"),
        ("/guide/nowhere", 404, None),
        ("/guide/../front.py", 404, None),
        ("/guide/%2e%2e/front.py", 404, None),
        ("/guide//etc/passwd", 404, None),
        ("/guide/docs/openapi.json", 200, None),
    ],
)
def test_only_what_is_in_the_folder_is_served(server, path, status, location):
    answer = ask(server, "GET", path)
    assert (answer.status, answer.headers["Location"]) == (status, location)


def test_a_reader_searches_and_follows_a_result(server):
    with browser() as chromium, opened(chromium, server) as page:
        page.goto("/guide/", wait_until="networkidle")
        page.keyboard.press("Control+k")
        page.keyboard.type("permits", delay=50)
        page.get_by_text("instead of hashing").first.wait_for()
        for path in ("/guide/docs/how-it-works/", "/guide/"):
            page.goto(path)
            assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")


def test_every_page_of_the_navigation_has_a_link_in_its_list(server):
    named = re.findall(r"^ +- ([^:\n]+): +\S+\.md$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    shown = ask(server, "GET", "/guide/docs/privacy/").raw.decode()
    listed = re.findall(r'class="md-nav__link[^>]*>\s*<span class="md-ellipsis">\s*([^<]*?)\s*<', shown)
    assert len(named) > 20 and set(named) <= set(map(html.unescape, listed))


def test_where_the_guide_is_not_built_the_page_says_how(monkeypatch, tmp_path):
    monkeypatch.setattr(guide, "SITE", tmp_path)
    found = guide.response("/guide/")
    assert found and found.status_code == 404 and b"make docs" in found.body
    assert b"/dashboard" in found.body and "style-src 'sha256-" in found.headers["content-security-policy"]
