"""Two runs of a benchmark as one: the mean of their values, and a spread that holds both."""

import json
from typing import Any

import pytest

from course.errors import CourseError
from course.scale.page import RESULTS
from course.scale.pooling import KEYS, pooled, replaced

MACHINE = {"cores": 2, "airflow": "3.3.2"}
ONCE = {"value": 4.0, "unit": "s", "target": "-"}
THRICE = ONCE | {"value": 2.0, "low": 1.0, "high": 3.0, "n": 3}


def run(*, machine: Any = MACHINE, figures: Any = None, tables: Any = None) -> dict[str, Any]:
    """The content of a results file."""
    wrapped = {name: {"rows": rows} for name, rows in (tables or {}).items()}
    return {"machine": machine, "figures": figures or {}, "tables": wrapped}


def stage(name: str, low: float, p50: float, high: float) -> dict[str, Any]:
    return {"stage": name, "p50_s": p50, "low_s": low, "high_s": high, "rounds": 10}


def test_a_figure_of_two_runs_is_their_mean_and_its_spread_holds_all_rounds() -> None:
    found = pooled(run(figures={"x": ONCE}), run(figures={"x": THRICE}))["figures"]["x"]
    assert found == ONCE | {"value": 3.0, "low": 1.0, "high": 4.0, "n": 4, "runs": 2}


def test_a_third_run_counts_no_more_than_each_of_the_first_two() -> None:
    both = pooled(run(figures={"x": ONCE}), run(figures={"x": ONCE}))
    found = pooled(both, run(figures={"x": ONCE | {"value": 10.0}}))["figures"]["x"]
    assert (found["value"], found["runs"], found["n"]) == (6.0, 3, 3)


def test_what_only_one_run_has_measured_stays_as_it_is() -> None:
    found = pooled(run(figures={"x": ONCE}), run(figures={"y": THRICE}))["figures"]
    assert found == {"x": ONCE, "y": THRICE}


def test_rows_are_pooled_by_what_they_are_of_and_not_by_their_place() -> None:
    before = [stage("train", 5, 6, 7), stage("gone", 1, 1, 1)]
    now = [stage("new", 2, 2, 2), stage("train", 4, 4, 4)]
    found = pooled(run(tables={"event_to_model": before}), run(tables={"event_to_model": now}))[
        "tables"
    ]["event_to_model"]["rows"]
    train = {"stage": "train", "p50_s": 5.0, "low_s": 4, "high_s": 7, "rounds": 20, "runs": 2}
    assert found == [now[0], train, before[1]]


def test_a_table_without_keys_is_that_of_the_later_run() -> None:
    before, now = run(tables={"soak_disk": [{"x": 1}]}), run(tables={"soak_disk": [{"x": 2}]})
    assert pooled(before, now)["tables"]["soak_disk"]["rows"] == [{"x": 2}]


def test_a_figure_that_follows_from_others_is_that_of_the_later_run() -> None:
    later = {"simulation_workers_2m": ONCE}
    assert (
        pooled(run(figures={"simulation_workers_2m": THRICE}), run(figures=later))["figures"]
        == later
    )


def test_runs_of_two_machines_are_not_pooled() -> None:
    with pytest.raises(CourseError, match="of another machine"):
        pooled(run(), run(machine=MACHINE | {"cores": 4}))


def test_what_stays_from_another_machine_names_it_and_is_never_pooled() -> None:
    here = MACHINE | {"cores": 4}
    before = run(figures={"x": ONCE, "y": ONCE}, tables={"soak_disk": []})
    found = replaced(before, run(machine=here, figures={"x": THRICE}))
    assert found["machine"] == here
    assert found["figures"] == {"x": THRICE, "y": {"machine": MACHINE} | ONCE}
    assert found["tables"]["soak_disk"]["machine"] == MACHINE
    again = pooled(found, run(machine=here, figures={"y": THRICE}))
    assert again["figures"]["y"] == THRICE


def test_what_stays_from_the_same_machine_names_none() -> None:
    found = replaced(run(figures={"x": ONCE}), run(figures={"y": THRICE}))
    assert found["figures"] == {"x": ONCE, "y": THRICE}


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_name_every_row_of_the_measured_table(name: str) -> None:
    rows = json.loads(RESULTS.read_text("utf-8"))["tables"][name]["rows"]
    assert len({tuple(row[key] for key in KEYS[name]) for row in rows}) == len(rows)
