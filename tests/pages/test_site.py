"""The site, built strictly and looked at in a real browser: every entry is clicked."""

import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from course.config import BIN, REPOSITORY
from course.fences import fences
from course.mermaid import fetch
from course.pages import pages
from course.site import PROGRAM

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1300, "height": 900}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the site without a line for each request."""

    def log_message(self, *_: Any) -> None:
        pass


DATA = REPOSITORY / ".course" / "data"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: with what draws the diagrams, if npm is there to get it."""
    fetch(DATA)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [BIN / "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"COURSE_HOME": str(DATA.parent), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    """Address of the site."""
    if not (built / PROGRAM).exists():
        pytest.skip("npm is not here to get mermaid: the site is built, but not looked at")
    handler = functools.partial(Quiet, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium: the one in ``CHROMIUM``, an installed one, or Playwright's own."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no browser (playwright install chromium): {error.message[:80]}")
        yield started
        started.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A reader who comes back: what was loaded once is kept."""
    with browser.new_context(color_scheme="light") as opened:
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong: no error in a script, no request that fails."""
    opened = context.new_page()
    opened.set_viewport_size(DESK)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    opened.on(
        "response",
        lambda answer: (
            wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None
        ),
    )
    yield opened
    opened.close()
    assert wrong == []


def entries() -> list[str]:
    """The pages of the navigation, as it is written down."""

    class Loader(yaml.SafeLoader):
        """Reads the file without making what its Python tags name."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    text = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    return list(flat(yaml.load(text, Loader)["nav"]))  # noqa: S506 - ignores what it does not know


def flat(part: Any) -> Iterator[str]:
    """The strings in lists and mappings, in order."""
    if isinstance(part, str):
        yield part
    else:
        for each in part.values() if isinstance(part, dict) else part:
            yield from flat(each)


def address(name: str) -> str:
    """Where a page lies on the site."""
    return name.removesuffix("README.md") if name.endswith("README.md") else f"{name[:-3]}/"


def test_every_page_is_built(built: Path) -> None:
    for name in entries():
        assert (built / address(name) / "index.html").stat().st_size > 5_000
    assert (built / "search" / "search_index.json").exists()


def test_the_navigation_has_every_page() -> None:
    known = {str(page.relative_to(REPOSITORY)) for page in pages() if page.name != "hints.md"}
    assert set(entries()) == known
    assert len(entries()) == len(known)


def test_every_entry_of_the_navigation_can_be_clicked(site: str, page: Page) -> None:
    page.goto(site)
    clicked = set()
    for tab in range(page.locator(".md-tabs__link").count()):
        with page.expect_navigation():
            page.locator(".md-tabs__link").nth(tab).click()
        links = page.locator(".md-sidebar--primary a.md-nav__link[href]")
        for target in links.evaluate_all("all => all.map(each => each.href)"):
            if "#" in target or target in clicked:
                continue
            link = links.evaluate_all(
                "(all, target) => all.findIndex(each => each.href === target)", target
            )
            with page.expect_navigation():
                links.nth(link).evaluate("link => link.click()")
            assert page.url == target
            assert page.locator("article h1").first.inner_text().strip()
            clicked.add(target)
    assert {site + address(name) for name in entries()} <= clicked


@pytest.mark.parametrize("name", entries())
def test_a_page_is_whole(site: str, page: Page, name: str) -> None:
    """All that GitHub shows is there: items, tables, blocks, pictures, diagrams; on a phone too."""
    page.goto(site + address(name))
    article = page.locator("article")
    source = MarkdownIt("commonmark").enable("table").render((REPOSITORY / name).read_text("utf-8"))
    for tag in ("li", "table", "h2"):
        assert article.locator(tag).count() == source.count(f"<{tag}>"), f"{name}: <{tag}>"
    diagrams = [each for each in fences(REPOSITORY / name) if each.language == "mermaid"]
    blocks = len(fences(REPOSITORY / name)) - len(diagrams)
    assert article.locator("div.highlight").count() == blocks
    for diagram in diagrams:
        page.evaluate("text => mermaid.parse(text)", diagram.text)
    page.wait_for_function(
        "count => [...document.querySelectorAll('div.mermaid')]"
        ".filter(each => each.offsetHeight > 40).length === count",
        arg=len(diagrams),
    )
    pictures = article.locator("img").evaluate_all("all => all.map(each => each.naturalWidth)")
    assert all(width > 100 for width in pictures)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"] + 1, name


def test_search_finds(site: str, page: Page) -> None:
    page.goto(site)
    page.click("input.md-search__input")
    page.fill("input.md-search__input", "trigger rule")
    page.wait_for_selector(".md-search-result__item a")
    assert page.locator(".md-search-result__item").count() >= 3


def test_it_is_dark_where_the_reader_likes_it_dark(site: str, browser: Browser) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(site)
    page.wait_for_function("document.body.dataset.mdColorScheme === 'slate'")
    page.close()


def test_nothing_is_loaded_from_elsewhere(site: str, browser: Browser) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site, wait_until="networkidle")
    page.close()
    assert [url for url in asked if not url.startswith((site, "data:", "blob:"))] == []
