"""What the Markdown pages say is true: targets, paths, links, versions, the table of pipelines."""

import re
from pathlib import Path

import pytest

from course.config import REPOSITORY
from course.pages import pages

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"\bmake ([a-z][a-z0-9-]*)")
VERSION = re.compile(r"Airflow (\d+\.\d+\.\d+)")


PAGES = pages()
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*##", (REPOSITORY / "Makefile").read_text("utf-8"), re.M))
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)


def code(page: Path) -> str:
    """What stands between backticks or in fenced blocks."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```.*?^```", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return "\n".join(blocks + re.findall(r"`([^`]+)`", rest))


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md"} <= {page.name for page in PAGES}


@each_page
def test_every_make_command_exists(page: Path) -> None:
    used = set(MAKE.findall(code(page)))
    assert used <= TARGETS, f"{page.name} names {sorted(used - TARGETS)}"


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        path = (page.parent / target.split("#")[0]).resolve()
        assert path.exists(), f"{page.name} links to {target}"
        assert path.is_relative_to(REPOSITORY), f"{page.name} links outside: {target}"


@each_page
def test_every_path_in_code_exists(page: Path) -> None:
    folders = {entry.name for entry in REPOSITORY.iterdir() if entry.is_dir()} - {".course"}
    for word in re.findall(r"[\w.<>*-]+(?:/[\w.<>*-]*)+", code(page)):
        first = word.split("/")[0]
        # Made by a command, or standing for a name that the reader chooses.
        if first not in folders or first in (".venv",) or "<" in word:
            continue
        assert list(REPOSITORY.glob(word.rstrip("/"))), f"{page.name} names {word}"


@each_page
def test_every_airflow_version_is_the_locked_one(page: Path) -> None:
    requirements = (REPOSITORY / "requirements.in").read_text("utf-8")
    (locked,) = re.findall(r"^apache-airflow\[statsd\]==(\S+)$", requirements, re.M)
    assert set(VERSION.findall(page.read_text("utf-8"))) <= {locked}
    assert f"\napache-airflow=={locked} " in (REPOSITORY / "requirements.txt").read_text("utf-8")


def test_the_pipelines_table_is_complete() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    shown = (REPOSITORY / "dags/README.md").read_text("utf-8")
    # The one file that defines no DAG shows what is wrong with the list of another.
    names = {path.stem for path in (REPOSITORY / "dags").glob("*.py")} - {"market_models_check"}
    assert len(names) >= 15
    for name in names:
        (row,) = re.findall(rf"^\| \[`{name}`\]\(dags/{name}\.py\) \|.*$", text, re.M)
        assert f"DAG={name}`" in row or name == "train_delay_model"
        assert f"(dags/README.md#{name})" in row
        assert f"## {name}\n\n[`{name}.py`]({name}.py)" in shown
        assert f"(../images/dags/{name}.png)" in shown
