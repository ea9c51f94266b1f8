"""The demos: one for each pipeline, refused early, shown whole."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from course.cli import app
from course.config import REPOSITORY, Config
from course.console import console, show_addresses
from course.errors import CourseError
from course.recipes import RECIPES, request
from course.state import State
from course.verdict import Page
from flightdelays import pages
from flightdelays.requests import parse
from flightdelays.settings import Settings


def test_every_pipeline_has_a_demo() -> None:
    files = {path.stem for path in (REPOSITORY / "dags").glob("*.py")}
    assert set(RECIPES) == files - {"market_models_check"}


def test_a_model_that_does_not_exist_is_named_before_anything_starts(config: Config) -> None:
    result = CliRunner().invoke(app, ["demo", "--model", "crystal_ball"])
    assert result.exit_code == 1
    assert "no model 'crystal_ball'" in result.output
    assert "hist_gradient" in result.output
    assert not config.root.exists()


def test_a_pipeline_that_does_not_exist_is_named_before_anything_starts(config: Config) -> None:
    result = CliRunner().invoke(app, ["demo", "train_delay_models"])
    assert result.exit_code == 1
    assert "no demo of 'train_delay_models'" in result.output
    assert "train_delay_model," in result.output
    assert not config.root.exists()


def test_an_answer_that_is_neither_yes_nor_no_is_refused(config: Config) -> None:
    result = CliRunner().invoke(app, ["demo", "promote_model", "--answer", "perhaps"])
    assert result.exit_code == 1
    assert "perhaps" in result.output
    assert not config.root.exists()


def test_the_addresses_are_never_cut() -> None:
    state = State(ports={"airflow": 1, "mlflow": 2, "site": 3})
    url = "http://127.0.0.1:8090/" + "long/" * 60
    with console.capture() as capture:
        show_addresses(state, {"Report": url})
    assert url in capture.get()
    assert state.password.get_secret_value() in capture.get()


def test_the_request_of_the_demo_is_one() -> None:
    first, second = parse(request()), parse(request(month="2013-10", priority="high"))
    assert first.event_id != second.event_id
    assert (second.month, second.priority) == ("2013-10", "high")


def test_a_page_is_shown_with_its_tables_and_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pages.write(
        "model_tournament",
        "manual__1",
        headline="[xgboost] wins",
        facts=["five competed"],
        tables={
            "Standings": pages.Table(
                ["model", "PR-AUC", "rows"], [["xgboost", 0.44519, 27010], ["broken", None, 0]]
            )
        },
        settings=Settings(site=str(tmp_path)),
    )
    page = Page.read(path)
    page.show()
    text = capsys.readouterr().out
    for part in ("[xgboost] wins", "five competed", "Standings", "0.4452", "27,010", "–"):
        assert part in text
    assert page.addresses == {"Report": json.loads(Path(path).read_text())["report_url"]}


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="cannot be read"):
        Page.read(str(tmp_path / "verdict.json"))
