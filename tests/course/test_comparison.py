"""Figures beside earlier ones: the same within their spread, or not, or of a single round."""

from typing import Any

import pytest
from typer.testing import CliRunner

from course.cli import app
from course.errors import CourseError
from course.scale.comparison import committed, compared


def entry(*rounds: float) -> dict[str, Any]:
    """A figure as the benchmarks keep it."""
    value = sorted(rounds)[len(rounds) // 2]
    found = {"value": value, "unit": "s", "target": "-"}
    if len(rounds) > 1:
        found |= {"low": min(rounds), "high": max(rounds), "n": len(rounds)}
    return found


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ((1, 2, 3), (3, 4, 5), "within the spread"),
        ((1, 2, 3), (3.1, 4, 5), "higher"),
        ((3, 4, 5), (1, 2, 2.9), "lower"),
        ((1,), (1, 2, 3), "one round"),
    ],
)
def test_two_ranges_that_meet_say_the_same(
    before: tuple[float, ...], now: tuple[float, ...], verdict: str
) -> None:
    (found,) = compared({"x": entry(*before)}, {"x": entry(*now)})
    assert found.verdict == verdict


def test_only_what_both_have_and_was_measured_anew_is_compared() -> None:
    same, before, now = entry(1, 2, 3), entry(4), entry(8)
    found = compared({"a": same, "b": before, "gone": same}, {"a": same, "b": now, "new": same})
    assert [(each.name, each.ratio) for each in found] == [("b", 2)]


def test_what_is_kept_from_another_machine_was_not_measured_anew() -> None:
    kept = {"machine": {"cores": 2}} | entry(1, 2, 3)
    assert compared({"x": entry(1, 2, 3)}, {"x": kept}) == []


def test_a_ratio_to_nothing_is_none() -> None:
    (found,) = compared({"lost": entry(0)}, {"lost": entry(3)})
    assert found.ratio is None


def test_a_revision_that_git_has_not_is_named() -> None:
    with pytest.raises(CourseError, match="at 'no-such-revision'"):
        committed("no-such-revision")


def test_a_revision_is_no_option_of_git() -> None:
    with pytest.raises(CourseError, match="git has no"):
        committed("--output=/dev/null")


def test_the_command_says_how_many_figures_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    there = committed("HEAD")
    name, figure = next(pair for pair in there["figures"].items() if pair[1].get("n", 1) > 1)
    higher = figure | dict.fromkeys(("value", "low", "high"), figure["high"] * 3)
    here = there | {"figures": there["figures"] | {name: higher}}
    monkeypatch.setattr("course.scale.page.results", lambda: here)
    result = CliRunner().invoke(app, ["bench-compare"])
    assert result.exit_code == 0, result.output
    assert "1 higher." in result.output


def test_the_command_says_if_nothing_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("course.scale.page.results", lambda: committed("HEAD"))
    assert "Nothing was measured since" in CliRunner().invoke(app, ["bench-compare"]).output
