"""No fenced block on any page can rot: each is an excerpt, is run, is parsed, or says why not."""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from course.config import REPOSITORY
from course.errors import CourseError
from course.fences import Fence, fences
from course.pages import RESULTS, excerpt, pages, stale, stale_pages

PAGES = pages()
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)


def test_excerpts_and_figures_are_those_of_the_files() -> None:
    assert stale(mend=False) == [], "run `make lectures-sync`"


@each_page
def test_every_block_is_proven_or_says_why_not(page: Path) -> None:
    bare = [fence.place for fence in fences(page) if fence.kind == "nothing"]
    assert bare == [], "an excerpt, or `<!-- illustration: the reason -->` on the line above"


@each_page
def test_every_illustration_gives_a_reason(
    page: Path, record_property: Callable[[str, object], None]
) -> None:
    for fence in fences(page):
        if fence.kind == "illustration":
            assert len(fence.reason) > 15, f"{fence.place}: why is it only an illustration?"
            record_property("illustration", f"{page.relative_to(REPOSITORY)}: {fence.reason}")


@each_page
def test_every_illustration_can_be_read(page: Path) -> None:
    for fence in fences(page):
        if fence.kind == "illustration":
            parsed(fence)


def parsed(fence: Fence) -> None:
    """Fail unless the text is what its language says."""
    if fence.language == "python":
        ast.parse(fence.text)
    elif fence.language == "json":
        json.loads(fence.text)
    elif fence.language in {"yaml", "yml"}:
        list(yaml.safe_load_all(fence.text))


@pytest.fixture
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks name files from the root, as a reader's shell does; other tests work elsewhere."""
    monkeypatch.chdir(REPOSITORY)


@each_page
@pytest.mark.usefixtures("_in_the_repository")
def test_every_python_block_runs(page: Path) -> None:
    if not any(fence.kind == "executed" for fence in fences(page)):
        return
    document = Document.parse(str(page), PythonCodeBlockParser())
    starts = {fence.line: fence.kind for fence in fences(page)}
    ran = 0
    for example in document.examples():
        if starts.get(example.line) == "executed":
            example.evaluate()
            ran += 1
    assert ran == list(starts.values()).count("executed")


def test_a_block_without_proof_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("1. x\n\n    ```yaml\n    a: 1\n    ```\n", "utf-8")
    with pytest.raises(AssertionError, match="illustration"):
        test_every_block_is_proven_or_says_why_not(page)


def test_a_python_block_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nassert 1 == 2\n```\n", "utf-8")
    with pytest.raises(AssertionError):
        test_every_python_block_runs(page)


def test_an_excerpt_and_a_figure_that_are_stale_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("course.pages.REPOSITORY", tmp_path)
    (tmp_path / "code.py").write_text("# [START x]\nnew = 1\n# [END x]\n", "utf-8")
    excerpt, figure = tmp_path / "excerpt.md", tmp_path / "figure.md"
    excerpt.write_text(
        '<!-- [[[cog excerpt("code.py", "x") ]]] -->\nold\n<!-- [[[end]]] -->\n', "utf-8"
    )
    figure.write_text("in <!-- figure:setup --> 0 s<!-- end --> and\n", "utf-8")
    monkeypatch.setattr("course.pages.pages", lambda: [excerpt, figure])
    results = json.loads(RESULTS.read_text("utf-8"))
    assert stale_pages(results, mend=False) == ["excerpt.md", "figure.md"]
    assert stale_pages(results, mend=True) == ["excerpt.md", "figure.md"]
    assert "```python\nnew = 1\n```" in excerpt.read_text("utf-8")
    assert stale_pages(results, mend=False) == []


def test_an_excerpt_of_a_part_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CourseError, match="no part 'nowhere'"):
        excerpt("dags/ingest_flights.py", "nowhere")
