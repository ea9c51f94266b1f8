"""Names, figures and spelling on the pages; and how far each page is from the README."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from course.config import REPOSITORY
from course.fences import Fence, fences
from course.pages import FIGURE, pages, tracked

PAGES = pages()
LECTURES = [page for page in PAGES if page.parent.name == "lecture-notes"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)[^)]*\)")
# A measured quantity; what is set, not measured, stands in code.
QUANTITY = re.compile(
    r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?\s?(?:ms|s|GB|MB|kB|%|tasks/s|per cent|seconds?)(?!\w)"
    r"|(?<![\w.])0\.\d{2,3}(?![\w.])"
)
AMERICAN = re.compile(
    r"\b(behavior|color|favor|honor|labor|center|meter|catalog|gray|defense|license[sd]"
    r"|(?:optim|serial|deserial|normal|organ|recogn|real|summar|visual|minim|maxim)iz\w+"
    r"|analyz\w+|cancel(?:ed|ing)|label(?:ed|ing)|model(?:ed|ing)|travel(?:ed|ing)|fulfill?s?)\b",
    re.I,
)
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
each_lecture = pytest.mark.parametrize("page", LECTURES, ids=lambda page: page.name)


def words_of(text: str) -> str:
    """A text without what is quoted: fenced blocks, code, comments, addresses."""
    text = re.sub(r"^[ >]*```.*?^[ >]*```", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`]*`|<!--.*?-->|\]\([^)]*\)|https?://\S+", " ", text, flags=re.S)


@cache
def own_source() -> str:
    """All that git tracks here but for the pages, and the names of all files."""
    listed = tracked()
    kinds = {".py", ".toml", ".yaml", ".yml", ".sql", ".json", ".in", ".txt", ".sh", ""}
    paths = [REPOSITORY / name for name in listed if Path(name).suffix in kinds]
    texts = [path.read_text("utf-8") for path in paths]
    return "\n".join([*listed, *(path.stem for path in paths), *texts])


@cache
def installed(word: str) -> bool:
    """Whether the word stands in what is installed of Airflow, Feast, MLflow or its neighbours."""
    import airflow

    site = Path(airflow.__file__).parents[1]
    packages = ["airflow", "feast", "mlflow", "optuna", "great_expectations", "xgboost", "dask"]
    found = subprocess.run(
        ["grep", "-rqFw", "--include=*.py", "--include=*.yaml", "--include=*.yml", "-e", word]
        + [str(site / name) for name in packages],
        check=False,
    )
    return found.returncode == 0


@each_page
def test_every_name_in_code_exists(page: Path) -> None:
    if page.name == "migration.md":
        return  # It is about names that are gone; each of its rows is run.
    text = re.sub(r"^[ >]*```.*?^[ >]*```", "", page.read_text("utf-8"), flags=re.M | re.S)
    names = {
        name
        for span in re.findall(r"`([^`\n]+)`", text)
        for name in re.findall(r"(?<![\w/.-])(?!my_)[a-z]+(?:_[a-z0-9]+)+(?![\w/-])", span)
    }
    unknown = [
        name
        for name in sorted(names)
        if not re.search(rf"\b{name}\b", own_source()) and not installed(name)
    ]
    assert unknown == [], f"{page.name} names what exists nowhere"


@each_lecture
def test_every_quantity_has_a_source(page: Path) -> None:
    """A figure of ours, or a link to where it comes from, in the same paragraph or row."""
    text = re.sub(r"^[ >]*```.*?^[ >]*```", "", page.read_text("utf-8"), flags=re.M | re.S)
    for paragraph in re.split(r"\n\s*\n|\n(?=[-|]|\d+\. )", text):
        if LINK.search(paragraph):
            continue
        rest = words_of(FIGURE.sub("", paragraph))
        found = [match[0] for match in QUANTITY.finditer(rest)]
        assert found == [], f"{page.name}: where does {found} come from? {paragraph.strip()[:120]}"


@each_page
def test_the_spelling_is_british(page: Path) -> None:
    found = [match[0] for match in AMERICAN.finditer(words_of(page.read_text("utf-8")))]
    assert found == []


def test_every_page_is_two_clicks_from_the_readme() -> None:
    reached = {REPOSITORY / "README.md"}
    for _ in range(2):
        reached |= {
            (page.parent / target).resolve()
            for page in reached
            if page.suffix == ".md"
            for target in LINK.findall(page.read_text("utf-8"))
            if not re.match(r"[a-z]+:", target)
        }
        folders = {path / "README.md" for path in reached if path.is_dir()}
        reached |= {path for path in folders if path.exists()}
    far = [str(page.relative_to(REPOSITORY)) for page in PAGES if page not in reached]
    assert far == []


@each_page
def test_no_line_begins_with_the_mark_of_a_figure(page: Path) -> None:
    """The site would take it for HTML, and break the paragraph in two."""
    assert re.findall(r"^<!-- figure:\w+", page.read_text("utf-8"), re.M) == []


@each_lecture
def test_every_lecture_has_its_parts(page: Path) -> None:
    if not re.match(r"\d\d-", page.name):
        return
    text = page.read_text("utf-8")
    assert re.search(rf"^# Lecture {int(page.name[:2])} · ", text)
    assert "By the end you can" in text
    (summary,) = re.findall(r"^## In three lines\n+((?:\d\. .*\n(?:[^\n#]+\n)*)+)", text, re.M)
    assert len(re.findall(r"^\d\. ", summary, re.M)) == 3
    (links,) = re.findall(r"^## Now do it\n(.*)", text, re.M | re.S)
    assert "https://" in links
    for folder in ("../dags/", "../exercises/", "../labs/"):
        assert folder in links, f"no link into {folder}"
    assert any(fence.kind == "diagram" for fence in fences(page))
    minutes = re.search(r"^(\d+) minutes to read", text, re.M)
    assert minutes
    # 150 words a minute, and half a minute to look at a block.
    takes = len(words_of(text).split()) / 150 + len(fences(page)) / 2
    assert abs(int(minutes[1]) - takes) <= 3, f"{page.name} takes about {takes:.0f} minutes"


def test_the_lectures_take_about_two_hours() -> None:
    numbered = [page for page in LECTURES if re.match(r"\d\d-", page.name)]
    assert len(numbered) == 10
    said = [
        re.search(r"^(\d+) minutes to read", page.read_text("utf-8"), re.M) for page in numbered
    ]
    assert 90 <= sum(int(found[1]) for found in said if found) <= 150


@pytest.mark.parametrize(
    ("test", "text"),
    [
        (test_every_name_in_code_exists, "Use `no_such" + "_name_anywhere`.\n"),
        (test_every_quantity_has_a_source, "It takes 12 s.\n"),
        (test_every_quantity_has_a_source, "| a | b |\n|---|---|\n| AUC | 0.81 |\n"),
        (test_the_spelling_is_british, "Mind its behavior.\n"),
    ],
)
def test_a_page_that_is_wrong_is_found(test: object, text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(AssertionError):
        test(page)  # type: ignore[operator]


def test_a_block_knows_its_place() -> None:
    page = REPOSITORY / "README.md"
    assert Fence(page, 3, "bash", "", "").place == "README.md:3"
