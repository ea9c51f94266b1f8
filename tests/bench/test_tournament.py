"""Four models compete on the same rows: one at a time, and as many as the pool has slots."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from course.api import FINISHED
from flightdelays import features, source, store
from flightdelays.settings import Settings

TOURNAMENT = "model_tournament"
CONF = {
    "models": ["hist_gradient", "random_forest", "xgboost", "lightgbm"],
    "train_from": "2013-01",
    "validation_month": "2013-09",
}
MONTHS = [f"2013-{number:02d}" for number in range(1, 10)]
SLOTS = {"sequential": 1, "parallel": 2}
TIMES = 2


def span(entries: list[dict[str, Any]]) -> float:
    """Seconds from the first start to the last end."""
    starts, ends = (
        [datetime.fromisoformat(entry[key]) for entry in entries]
        for key in ("start_date", "end_date")
    )
    return (max(ends) - min(starts)).total_seconds()


@pytest.fixture(scope="module")
def settings(stack: Any) -> Settings:
    """The settings of the tasks; nine months are landed and built, Feast knows them."""
    found: Settings = stack.settings
    for month in MONTHS:
        source.land(month, found)
    for view, months in features.stale(found).items():
        for month in months:
            features.build(view, month, found)
    store.apply(found)
    deadline = time.monotonic() + 180
    while not stack.api.dag(TOURNAMENT):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    stack.api.pause(TOURNAMENT, paused=False)
    return found


def compete(stack: Any, slots: int) -> tuple[float, float, list[dict[str, Any]]]:
    """Seconds of the fits and of the run with a number of slots, and the standings."""
    stack.api.ensure_pool("training", slots, "measured")
    run_id = stack.api.trigger(TOURNAMENT, CONF)
    while (run := stack.api.run(TOURNAMENT, run_id))["state"] not in FINISHED:
        time.sleep(0.5)
    assert run["state"] == "success"
    fits = [
        entry
        for entry in stack.api.task_instances(TOURNAMENT, run_id)
        if entry["task_id"] == "compete"
    ]
    assert len(fits) == len(CONF["models"])
    verdict = Path(stack.api.xcom(TOURNAMENT, run_id, "report")).read_text("utf-8")
    return span(fits), span([run]), json.loads(verdict)["data"]["standings"]


def test_tournament(figure: Any, stack: Any, settings: Settings) -> None:
    """In turn, twice each; the better of the two counts, and the standings are the same."""
    measured = [
        (name, *compete(stack, slots)) for _ in range(TIMES) for name, slots in SLOTS.items()
    ]
    scores = [[(s["model"], s["pr_auc"]) for s in standings] for *_, standings in measured]
    assert all(score == scores[0] for score in scores)
    fits = {name: min(m[1] for m in measured if m[0] == name) for name in SLOTS}
    runs = {name: min(m[2] for m in measured if m[0] == name) for name in SLOTS}
    for name in SLOTS:
        figure(f"tournament_{name}", fits[name], "s", "-")
        figure(f"tournament_{name}_run", runs[name], "s", "-")
    figure(
        "tournament_parallel_over_sequential", fits["parallel"] / fits["sequential"], "", "≤ 0.7"
    )
