"""What the Markdown pages say is true: commands, paths, links, versions, figures, pictures."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "tests/bench/results.json"
FIGURE = re.compile(r"<!-- figure:(\w+) -->([^|\n]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
VERSION = re.compile(r"Airflow (\d+\.\d+\.\d+)")


def pages() -> list[Path]:
    """Every Markdown page that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [REPOSITORY / name for name in listed.stdout.split()]


PAGES = pages()
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (REPOSITORY / "Makefile").read_text("utf-8"), re.M))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def spelt(entry: dict[str, Any]) -> str:
    """A figure as a page writes it."""
    value = entry["value"]
    if entry["unit"] == "s":
        if value < 10:
            return f"{value:.1f} s"
        return f"{value:.0f} s" if value < 100 else f"{value // 60:.0f} min {value % 60:.0f} s"
    if entry["unit"] == "ms":
        return f"{value:.1f} ms"
    if entry["unit"] == "MB":
        return f"{value / 1024:.1f} GB"
    return f"{value:.2f}"


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


@each_page
def test_every_figure_is_the_measured_one(page: Path) -> None:
    figures = json.loads(RESULTS.read_text("utf-8"))["figures"]
    for name, written in FIGURE.findall(page.read_text("utf-8")):
        assert name in figures, f"{page.name}: no benchmark measures {name}"
        assert written.strip() == spelt(figures[name]), f"{page.name}: figure {name}"


def test_the_pipelines_table_is_complete() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    # The one file that defines no DAG shows what is wrong with the list of another.
    names = {path.stem for path in (REPOSITORY / "dags").glob("*.py")} - {"market_models_check"}
    assert len(names) >= 15
    for name in names:
        (row,) = re.findall(rf"^\| \[`{name}`\]\(dags/{name}\.py\) \|.*$", text, re.M)
        assert f"DAG={name}`" in row or name == "train_delay_model"
        assert f"(images/dags/{name}.png)" in row
        assert f"<code>{name}</code>: what you will see" in text


def test_a_figure_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("| x | <!-- figure:setup --> 0 s |\n", "utf-8")
    with pytest.raises(AssertionError, match="figure setup"):
        test_every_figure_is_the_measured_one(page)
