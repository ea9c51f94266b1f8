"""What the simulation predicts from the measured throughput, and how far it is from what it knows.

Collected after the throughput, which it reads: this run's, or the one that the results have kept.
"""

from typing import Any

import pytest

from course.scale.calibration import calibrate, errors, mean_error, throughput_rows
from course.scale.costs import Work
from course.scale.day import Load
from course.scale.sizing import least, predictions

from ..conftest import Record, Results, Table

SEEDS = 3
"""Simulations of everything, so that a figure has a spread: that of chance, not of the costs."""


@pytest.fixture(scope="module")
def measured(results: Results) -> dict[str, Any]:
    """The results as they stand now."""
    found = results.content()
    if "throughput" not in found["tables"]:
        pytest.skip("the throughput table has not been measured: it is what the model is fitted to")
    return found


def test_error(figure: Record, table: Table, measured: dict[str, Any]) -> None:
    """Predicted against measured tasks a second; the points that fitted the model apart."""
    rounds = [errors(measured, seed) for seed in range(SEEDS)]
    assert len(rounds[0]) == len(throughput_rows(measured))
    table("simulation_error", rounds[0])
    for name, fitted in (("held_out", False), ("fitted", True)):
        found = [mean_error(rows, fitted=fitted) for rows in rounds]
        figure(f"simulation_error_{name}", found, "%", "-")


def test_predictions(table: Table, measured: dict[str, Any]) -> None:
    """The least platforms for 200,000 and 2,000,000 tasks a day, and smaller and larger ones."""
    rows = predictions(measured)
    assert all(row["kept_up"] and row["wait_p95_s"] < 60 for row in rows if row["least"])
    table("simulation", rows)


@pytest.mark.parametrize(("name", "tasks"), [("200k", 200_000), ("2m", 2_000_000)])
def test_workers(figure: Record, measured: dict[str, Any], name: str, tasks: int) -> None:
    """Workers of 16 slots for tasks of a minute, half of them between midnight and two."""
    load = Load(tasks, "midnight", Work(60))
    sizes = [least(calibrate(measured, seed=n)[0], load, seed=n) for n in range(SEEDS)]
    figure(f"simulation_workers_{name}", [size.workers for size in sizes], "workers", "-")
    figure(f"simulation_airflows_{name}", [size.deployments for size in sizes], "Airflows", "-")
