"""The verdict as a page and as JSON."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightdelays import evaluation, report
from flightdelays.runs import Window
from flightdelays.settings import Settings

WINDOW = Window("2013-01", "2013-08", "2013-09")
CANDIDATE = {"model": "lightgbm", "run_id": "abc123", "seconds": 14.2}
GOOD = {"auc": 0.7612, "pr_auc": 0.4321, "log_loss": 0.3456}
EVALUATED = {
    "metrics": GOOD,
    "champion": None,
    "monthly_auc": {"2013-08": 0.85, "2013-09": 0.7612},
    "train_rows": 217_000,
    "validation_rows": 27_000,
}
DEPLOYED = {"version": 3, "aliases": ["staging", "champion"]}
QUALITY_PAGE = "data_docs/validations/training_set/__none__/2013/lake-training_set.html"
RUN = "manual__2013-10-01T00:00:00+00:00"


class Page(HTMLParser):
    """The tags of a page, their attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


Write = Callable[..., tuple[dict[str, Any], Page]]


@pytest.fixture(scope="module")
def plots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with the plots of a model, drawn once."""

    @cache
    def draw(model: str) -> Path:
        folder = tmp_path_factory.mktemp("plots")
        curves = {model: ([0, 1] * 50, np.linspace(0, 1, 100))}
        evaluation.plot(curves, EVALUATED["monthly_auc"], "2013-09", Settings(), folder)
        return folder

    return draw


@pytest.fixture
def write(
    tmp_path: Path, make_settings: Callable[..., Settings], plots: Callable[[str], Path]
) -> Write:
    """Draw, write and read back: the JSON as strict JSON, the page as a browser would."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    def act(
        evaluated: dict[str, Any] | None = None,
        deployed: dict[str, Any] | None = None,
        model: str = "lightgbm",
        run: str = RUN,
        **changes: Any,
    ) -> tuple[dict[str, Any], Page]:
        settings = make_settings(tmp_path, **changes)
        shutil.copytree(plots(model), report.report_folder(run, settings), dirs_exist_ok=True)
        path = Path(
            report.write(
                WINDOW,
                CANDIDATE | {"model": model},
                EVALUATED | (evaluated or {}),
                deployed,
                QUALITY_PAGE,
                run,
                settings,
            )
        )
        verdict = json.loads(path.read_text("utf-8"), parse_constant=refuse)
        return verdict, Page(path.with_name("index.html").read_text("utf-8"))

    return act


def test_a_deployed_model_is_called_deployed(write: Write) -> None:
    verdict, page = write(deployed=DEPLOYED)
    assert verdict["deployed"] is True
    assert (verdict["version"], verdict["aliases"]) == (3, ["staging", "champion"])
    assert verdict["reasons"] == []
    assert "Deployed as version 3, alias staging and champion." in " ".join(page.text.split())
    assert "Not deployed" not in page.text


def test_a_model_that_is_kept_out_is_told_why(write: Write) -> None:
    verdict, page = write({"metrics": GOOD | {"auc": 0.7001, "pr_auc": 0.3002}})
    assert verdict["deployed"] is False
    assert (verdict["version"], verdict["aliases"]) == (None, [])
    assert len(verdict["reasons"]) == 2
    assert "Not deployed." in page.text
    for reason in verdict["reasons"]:
        assert reason in page.text


def test_a_champion_stands_beside_the_candidate(write: Write) -> None:
    champion = {"version": 2} | GOOD | {"pr_auc": 0.4444}
    verdict, page = write({"champion": champion})
    assert verdict["champion"] == champion
    assert "champion v2" in page.text
    assert "0.4444" in page.text
    assert "no better than the champion" in page.text


def test_the_page_shows_metrics_months_and_plots(write: Write) -> None:
    _, page = write(deployed=DEPLOYED)
    for text in ("0.7612", "0.4321", "0.3456", "217,000", "27,000", "2013-01", "2013-09", RUN):
        assert text in page.text
    assert "none so far" in page.text
    assert page.tags.count("svg") == page.tags.count("figure") == 4


def test_the_verdict_says_all_that_a_program_asks(write: Write) -> None:
    verdict, _ = write(deployed=DEPLOYED)
    assert verdict["run_id"] == RUN
    assert verdict["mlflow_run_id"] == "abc123"
    assert verdict["metrics"] == GOOD
    assert verdict["gate"] == {"auc": 0.74, "pr_auc": 0.40}
    assert verdict["validation_month"] == "2013-09"
    assert verdict["monthly_auc"] == EVALUATED["monthly_auc"]


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.mark.parametrize("what", ["run", "model"])
def test_names_from_outside_are_text_and_no_markup(what: str, write: Write) -> None:
    verdict, page = write(**{what: HOSTILE})
    assert verdict["run_id" if what == "run" else "model"] == HOSTILE
    assert HOSTILE in page.text
    assert {"script", "img"}.isdisjoint(page.tags)
    assert "onerror" not in page.attributes


@pytest.mark.parametrize("run", ["../../outside", "..", "a/b", HOSTILE])
def test_a_report_stays_in_its_folder(run: str, write: Write, tmp_path: Path) -> None:
    write(run=run)
    (verdict,) = tmp_path.rglob("verdict.json")
    assert verdict.parent.parent == tmp_path / "site" / report.FOLDER


def test_addresses_are_those_of_the_server_or_of_the_file(write: Write, tmp_path: Path) -> None:
    verdict, page = write(site_url="http://localhost:8090")
    assert verdict["report_url"] == (
        "http://localhost:8090/train_delay_model/manual__2013-10-01T00_00_00_00_00/index.html"
    )
    assert page.attributes["href"] == f"http://localhost:8090/{QUALITY_PAGE}"
    local, _ = write()
    assert local["report_url"].startswith(f"file://{tmp_path}/site/")
    assert Path(local["report_url"].removeprefix("file://")).is_file()


def test_a_site_may_be_named_from_here(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verdict, _ = write(site="pages")
    assert verdict["report_url"].startswith(f"file://{tmp_path}/pages/")


def test_writing_again_replaces_the_report(write: Write, tmp_path: Path) -> None:
    write()
    before = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    verdict, _ = write(deployed=DEPLOYED)
    assert verdict["deployed"] is True
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == before
