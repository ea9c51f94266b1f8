"""The page and the JSON file that every pipeline ends with."""

import json
from pathlib import Path
from typing import Any

import pytest

from flightdelays import pages
from flightdelays.settings import Settings

RUN = "manual__2013-10-01T00:00:00+00:00"
SVG = '<?xml version="1.0"?>\n<svg viewBox="0 0 1 1"><text>AUC by month</text></svg>'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(site=str(tmp_path / "site"))


def written(settings: Settings, **values: Any) -> tuple[dict[str, Any], str]:
    path = Path(pages.write("monitor_drift", RUN, **values, settings=settings))
    return json.loads(path.read_text("utf-8")), (path.parent / "index.html").read_text("utf-8")


def test_programs_and_people_find_the_same(settings: Settings, tmp_path: Path) -> None:
    plot = tmp_path / "auc.svg"
    plot.write_text(SVG)
    verdict, html = written(
        settings,
        headline="all is well",
        facts=["AUC 0.75 in 2013-09"],
        tables={"Months": pages.Table(["month", "AUC", "flights"], [["2013-09", 0.75, 27010]])},
        plots={"AUC": plot},
        data={"drifted": False},
    )
    assert verdict["headline"] == "all is well"
    assert verdict["data"] == {"drifted": False}
    assert verdict["tables"]["Months"]["rows"] == [["2013-09", 0.75, 27010]]
    assert Path(verdict["report_url"].removeprefix("file://")).name == "index.html"
    for part in ("all is well", "AUC 0.75 in 2013-09", ">0.7500<", ">27,010<", "<svg viewBox"):
        assert part in html
    assert "<?xml" not in html


def test_names_from_outside_cannot_become_markup(settings: Settings) -> None:
    text = "<script>alert(1)</script>"
    _, html = written(
        settings, headline=text, facts=[text], tables={text: pages.Table([text], [[text]])}
    )
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 5


def test_the_same_run_again_replaces_its_page(settings: Settings) -> None:
    first, _ = written(settings, headline="the earlier one")
    second, html = written(settings, headline="the later one")
    assert first["report_url"] == second["report_url"]
    assert "the later one" in html
    assert "the earlier one" not in html
    assert len(list(Path(settings.site).rglob("verdict.json"))) == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.12345, "0.1235"), (1234, "1,234"), ("x", "x")]
)
def test_how_a_value_is_shown(value: pages.Cell, shown: str) -> None:
    assert pages.show(value) == shown
