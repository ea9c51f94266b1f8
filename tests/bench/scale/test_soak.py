"""One hour of mixed load on a laptop stack: is every run accounted for, and does anything leak?

Schedules, messages, backfills and failures, with a person looking at the pages. Before and after
it the stack is idle: what it holds then is compared, and what stays of processes, connections and
descriptors must be the same. `SOAK_MINUTES=5 make bench ONLY=soak` is a short one.
"""

import os
import sched
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import linregress

from course.sandbox import Sandbox, sandbox

from ..conftest import Record, Table
from ..runs import EVENT, TRAIN, wait, year
from .soak_load import (
    ALL,
    EVERY,
    FAILING,
    INGEST,
    PATIENCE,
    SCHEDULED,
    Load,
    backfill_account,
    backfill_runs,
    dead_letters,
    events_account,
    failures_account,
    scheduled_account,
)
from .ui import person
from .watch import Held, components, connections, disk

MINUTES = int(os.environ.get("SOAK_MINUTES", "60"))
DAGS = Path(__file__).with_name("dags") / "bench_soak.py"
CALM = 150
"""Idle seconds before a look: what the last tasks have left behind is gone, standing ones count."""
WARM = 1 / 2
"""Part of the time that is not used for the slope: caches fill, and what processes that were
forked have shared at first they share less and less."""
SPARE = 4
"""Descriptors or connections more than before that are still none too many: a pool breathes."""


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """Where the processes of the stack put their temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(temporary: Path) -> Iterator[Sandbox]:
    """A stack with the year landed and built, that has done everything once."""
    with sandbox(TMPDIR=str(temporary)) as running:
        shutil.copy(DAGS, running.config.labs)
        year(running)
        for dag_id in ALL:
            wait(lambda dag_id=dag_id: running.api.dag(dag_id), what=f"{dag_id} is found")  # type: ignore[misc]
        for dag_id in (INGEST, EVENT, TRAIN):
            running.api.pause(dag_id, paused=False)
        yield running


def away_from_a_tick() -> None:
    """Wait for the second half of a minute: the runs of its beginning are there by then."""
    time.sleep(max(0, 30 - time.time() % 60))


def begin_schedules(stack: Sandbox) -> datetime:
    """Unpause what has a schedule; returns from which moment on every tick must have its run."""
    away_from_a_tick()
    for dag_id in EVERY:
        stack.api.pause(dag_id, paused=False)
    return datetime.now(UTC)


def end_schedules(stack: Sandbox, load: Load) -> datetime:
    """Pause them, and say from which moment on no run is wanted.

    Only between two runs: one that is on its way stands still while its DAG is paused.
    """
    while True:
        away_from_a_tick()
        if load.quiet(*EVERY):
            break
        time.sleep(1)
    for dag_id in EVERY:
        stack.api.pause(dag_id)
    return datetime.now(UTC)


def sample(stack: Sandbox, minute: float) -> dict[str, Any]:
    """One row of the series."""
    row: dict[str, Any] = {"minute": round(minute, 1)}
    for name, held in components(stack).items():
        row[name] = round(held.memory_mb, 1)
        row[f"{name} descriptors"] = held.descriptors
    row["connections"] = sum(connections(stack).values())
    return row


def work(stack: Sandbox, load: Load, minutes: float) -> tuple[list[dict[str, Any]], list[Any]]:
    """Put the load on for so many minutes; returns the series and the runs of each backfill."""
    rows: list[dict[str, Any]] = []
    ended: list[list[dict[str, Any]]] = []
    begin, plan = time.monotonic(), sched.scheduler(time.monotonic)

    def at(part: float, action: Any) -> None:
        plan.enterabs(begin + part * minutes * 60, 1, action)

    def backfill_ends() -> None:
        wait(load.backfilled, PATIENCE, 1, "the backfill ends")
        ended.append(backfill_runs(stack))

    def look() -> None:
        rows.append(sample(stack, (time.monotonic() - begin) / 60))

    trainings, backfills = max(1, round(minutes / 5)), max(1, round(minutes / 20))
    for number in range(trainings):
        at(number / trainings, load.request_training)
        at((number + 0.5) / trainings, load.send_noise)
    for number in range(backfills):
        at((number + 0.1) / backfills, load.backfill)
        at((number + 0.9) / backfills, backfill_ends)
    looks = max(12, round(minutes))
    for number in range(looks):
        at(number / looks, look)
    at(1, lambda: None)
    plan.run()
    return rows, ended


def idle(stack: Sandbox, load: Load) -> None:
    """Wait until nothing is left to do, and calm."""
    wait(load.quiet, PATIENCE, 1, "all runs end")
    time.sleep(CALM)


def test_soak(stack: Sandbox, temporary: Path, figure: Record, table: Table) -> None:
    warm_up = Load(stack, "warm")
    begin_schedules(stack)
    work(stack, warm_up, minutes=4)
    end_schedules(stack, warm_up)
    idle(stack, warm_up)
    before, links, used = components(stack), connections(stack), disk(stack)
    files = set(temporary.iterdir())
    letters = dead_letters(stack.state.bootstrap_servers)

    load = Load(stack, "soak")
    secret = stack.state.password.get_secret_value()
    with person(stack.state.url("airflow"), secret, SCHEDULED) as answers:
        begin = begin_schedules(stack)
        rows, ended = work(stack, load, MINUTES)
        end = end_schedules(stack, load)
    idle(stack, load)
    after, links_after, used_after = components(stack), connections(stack), disk(stack)

    accounts = [
        scheduled_account(stack, SCHEDULED, begin, end, "success"),
        scheduled_account(stack, FAILING, begin, end, "failed"),
        failures_account(stack, begin, end),
        *events_account(load, letters),
        backfill_account(load, ended),
    ]
    growth = [grown(name, before[name], after[name], rows) for name in before]
    table("soak_series", rows)
    table("soak_accounts", accounts)
    table("soak_growth", growth)
    table("soak_disk", [on_disk(name, used[name], used_after[name]) for name in used])
    record(figure, accounts, growth, before, after)
    figure("soak_minutes", MINUTES, "minutes", "60")
    figure("soak_ui_p50", answers.p50, "ms", "-")
    figure("soak_ui_p99", answers.p99, "ms", "≤ 1000")
    figure("soak_connections_before", sum(links.values()), "connections", "-")
    figure("soak_connections_after", sum(links_after.values()), "connections", "as before")
    left = sorted(set(temporary.iterdir()) - files)
    figure("soak_temporary_files", len(left), "files", "0")

    for account in accounts:
        assert account["lost"] == account["twice"] == 0, account
        assert account["as_expected"] == account["expected"], account
    assert answers.failures == 0
    assert left == []
    assert sum(links_after.values()) <= sum(links.values()) + SPARE
    for row in without_database(growth):
        assert row["processes_after"] <= row["processes_before"], row
        assert row["descriptors_after"] <= row["descriptors_before"] + SPARE, row


def without_database(growth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All components but PostgreSQL.

    Its processes are the connections, which are counted by themselves. Its descriptors are files
    that it keeps open as long as it likes: their number goes up and down by hundreds.
    """
    return [row for row in growth if row["component"] != "postgres"]


def grown(name: str, before: Held, after: Held, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a component held idle before and after, and the slope of its memory in between."""
    late = [row for row in rows if row["minute"] >= MINUTES * WARM]
    fit = linregress([row["minute"] / 60 for row in late], [row[name] for row in late])
    return {
        "component": name,
        "memory_before_mb": round(before.memory_mb, 1),
        "memory_after_mb": round(after.memory_mb, 1),
        "slope_mb_per_hour": round(float(fit.slope), 1),
        # Of a memory that never changed SciPy gives no error: there is none.
        "slope_error_mb_per_hour": round(float(np.nan_to_num(fit.stderr)), 1),
        "processes_before": before.processes,
        "processes_after": after.processes,
        "descriptors_before": before.descriptors,
        "descriptors_after": after.descriptors,
        "threads_before": before.threads,
        "threads_after": after.threads,
    }


def on_disk(name: str, before: float, after: float) -> dict[str, Any]:
    """How much a place grew, in MB."""
    return {"place": name, "before_mb": round(before, 1), "after_mb": round(after, 1)}


def record(
    figure: Record,
    accounts: list[dict[str, Any]],
    growth: list[dict[str, Any]],
    before: dict[str, Held],
    after: dict[str, Held],
) -> None:
    """The sums, for the pages that quote them."""
    unit = "pieces of work"
    figure("soak_accounted", sum(row["as_expected"] for row in accounts), unit, "all")
    figure("soak_expected", sum(row["expected"] for row in accounts), unit, "-")
    figure("soak_lost", sum(row["lost"] + row["twice"] for row in accounts), unit, "0")
    total = [float(np.sum([held.memory_mb for held in each.values()])) for each in (before, after)]
    figure("soak_memory_before", total[0], "MB", "-")
    figure("soak_memory_after", total[1], "MB", "-")
    rows = without_database(growth)
    more = sum(row["descriptors_after"] - row["descriptors_before"] for row in rows)
    figure("soak_descriptors", more, "descriptors", f"≤ {SPARE} each")
