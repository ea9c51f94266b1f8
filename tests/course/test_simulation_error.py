"""The calibration of the simulation against costs that are known, and the command."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import CliRunner

from course import pages
from course.cli import app
from course.errors import CourseError
from course.scale import calibration
from course.scale.calibration import calibrate, errors, mean_error
from course.scale.costs import COMPONENTS
from course.scale.simulation import burst, throughput

from .model import MACHINE, TRUE

TASKS = 100


def row(parallelism: int, seconds: int, settings: str = "course") -> dict[str, Any]:
    """What the benchmark would measure on a machine that is like the model."""
    there = replace(MACHINE, slots_per_worker=parallelism)
    done = [burst(TRUE, there, TASKS, seconds, seed) for seed in (10, 11, 12)]
    rate = fmean(map(throughput, done))
    shown = {name: getattr(TRUE, name) for name in COMPONENTS}
    shown["other"] += TRUE.background / rate
    shown["api_server"] += TRUE.heartbeat * seconds
    return {
        "executor": "LocalExecutor",
        "settings": settings,
        "task_seconds": seconds,
        "parallelism": parallelism,
        "tasks": TASKS,
        "rate": rate,
        "start_to_end": fmean(task.ended - task.started for task in done[0]),
        **{f"cpu_{name}": value for name, value in shown.items()},
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the numbers of the calibration do not matter."""
    monkeypatch.setattr(calibration, "ROUNDS", 1)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    rows = [row(parallelism, 0) for parallelism in (1, 4, 16)]
    rows += [row(parallelism, 1) for parallelism in (4, 16)]
    return {"machine": {"cores": 2}, "tables": {"throughput": {"rows": rows}}}


def test_the_calibration_finds_the_costs(results: dict[str, Any]) -> None:
    costs, platform, fitted = calibrate(results)
    assert [(r["parallelism"], r["task_seconds"]) for r in fitted] == [(1, 0), (16, 0), (16, 1)]
    for name in (*COMPONENTS, "heartbeat"):
        assert getattr(costs, name) == pytest.approx(getattr(TRUE, name), abs=0.002)
    assert costs.background == pytest.approx(TRUE.background, rel=0.01)
    assert costs.latency == pytest.approx(TRUE.latency, rel=0.1)
    assert costs.inside == pytest.approx(TRUE.inside, abs=0.1)
    assert platform.shared_cores == pytest.approx(MACHINE.shared_cores, rel=0.05)
    assert costs.critical == 0.5
    profiled = results | {"figures": {"scheduler_critical_share": {"value": 0.3}}}
    assert calibrate(profiled)[0].critical == 0.3


def test_the_error_is_told_apart_for_points_that_were_held_out(results: dict[str, Any]) -> None:
    rows = errors(results)
    assert [r["fitted"] for r in rows] == [True, False, True, False, True]
    assert mean_error(rows, fitted=True) < 3
    assert mean_error(rows, fitted=False) < 5


@pytest.mark.usefixtures("quick")
def test_settings_without_points_of_their_own_are_predicted(results: dict[str, Any]) -> None:
    rows = results["tables"]["throughput"]["rows"]
    stock = {**rows[1], "settings": "stock", "rate": rows[1]["rate"] * 2}
    found = errors(results | {"tables": {"throughput": {"rows": [*rows, stock]}}})
    assert found[-1]["settings"] == "stock"
    assert not found[-1]["fitted"]
    assert found[-1]["error"] == pytest.approx(-50, abs=5)


def test_what_was_not_measured_is_named() -> None:
    with pytest.raises(CourseError, match="throughput, which is not in the results"):
        errors({"tables": {}})


@pytest.mark.usefixtures("quick")
def test_the_command(
    results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results), "utf-8")
    monkeypatch.setattr(pages, "RESULTS", path)
    command = ["simulate", "--tasks-per-day", "20000", "--workers", "2", "--task-seconds", "5"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "It keeps up: 95 % of the tasks wait no more than" in done.output
    done = CliRunner().invoke(app, [*command, "--profile", "noon"])
    assert done.exit_code == 1
    assert "no profile 'noon'" in done.output
