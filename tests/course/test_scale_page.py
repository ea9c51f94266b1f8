"""The page of the scale lab: tables and pictures come from the results, and say so if they lack."""

import json
import re
from pathlib import Path

import pytest

from course.config import REPOSITORY
from course.errors import CourseError
from course.pages import RESULTS, spelt, stale_pictures
from course.scale import page
from course.scale.plots import draw, is_drawn, measured


def test_the_same_numbers_give_the_same_pictures() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    names = measured(results)
    assert names
    for name in names:
        assert draw(results, name) == draw(results, name)


def test_a_picture_of_other_numbers_is_stale_and_drawn_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("course.pages.REPOSITORY", tmp_path)
    monkeypatch.setattr("course.pages.PICTURES", tmp_path)
    joins = json.loads(RESULTS.read_text("utf-8"))["tables"]["joins"]
    results = {"tables": {"joins": joins}}
    assert stale_pictures(results, mend=True) == ["joins.svg"]
    assert stale_pictures(results, mend=False) == []
    joins["rows"][0]["seconds_high"] += 1
    assert stale_pictures(results, mend=False) == ["joins.svg"]
    assert stale_pictures(results, mend=True) == ["joins.svg"]
    assert is_drawn(results, "joins", tmp_path / "joins.svg")


def test_every_picture_and_every_table_is_on_the_page() -> None:
    text = (REPOSITORY / "labs/scale/README.md").read_text("utf-8")
    results = json.loads(RESULTS.read_text("utf-8"))
    named = set(re.findall(r"images/scale/([\w-]+)\.svg", text))
    assert named == set(measured(results))
    tables = set(results["tables"])
    shown = {name for name in tables if f"scale.{name}()" in text}
    # One is columns of another's; of two only the picture is shown.
    assert tables - shown <= {"throughput_celery", "task_time", "soak_series"}


def test_a_table_that_nobody_measured_is_an_error() -> None:
    with pytest.raises(CourseError, match="'nonsense'"):
        page.rows_of("nonsense")


def test_a_value_comes_with_its_spread() -> None:
    row = {"rate": 8.25, "rate_low": 8.0, "rate_high": 1234.56}
    assert page.spread(row, "rate") == "8.2 (8.0 – 1,234.6)"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(12.4, "%", "12 %"), (553, "workers", "553 workers"), (1234, "reads/s", "1,234 reads/s")],
)
def test_units_are_spelt(value: float, unit: str, text: str) -> None:
    assert spelt({"value": value, "unit": unit}) == text
