"""Twelve months by Airflow's own backfill, 1, 2 and 4 runs at a time, beside one plain script.

Of ``ingest_flights`` a month is one task, of ``backfill_feature`` five. Each round begins with an
empty table and must end with the same bytes as the script has written.
"""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from course.api import FINISHED
from course.sandbox import Sandbox
from flightdelays import features
from flightdelays.lake import Lake, open_lake

from ..conftest import Record, Table
from ..runs import BUILD, EVENT, MONITOR, TRAIN, YEAR, moment, wait

INGEST, FEATURE = "ingest_flights", "backfill_feature"
VIEW = "tailnum_delays"
"""The feature view with the most facts."""
WRITES = {INGEST: "raw", FEATURE: features.table(VIEW)}
"""The folder of the lake that a DAG fills."""
ARGUMENTS = {INGEST: [], FEATURE: [VIEW]}
CONCURRENCY = (1, 2, 4)
MOST = int(os.environ.get("BENCH_BACKFILL_ROUNDS", "3"))
ROUNDS = {INGEST: MOST, FEATURE: min(MOST, 2)}
"""Rounds of each DAG; one of five tasks a month takes three times as long as one of one."""
PATIENCE = 10 * 60
SCRIPT = Path(__file__).with_name("plain_backfill.py")


@dataclass
class Measured:
    """Seconds of each round, and of these the seconds of all task instances together."""

    seconds: list[float] = field(default_factory=list)
    tasks_s: list[float] = field(default_factory=list)
    tasks: int | None = None


def digests(lake: Lake, folder: str) -> dict[str, str]:
    """sha256 of every table file below a folder of the lake, by its place there."""
    root = Path(lake.path(folder))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.parquet")
    }


@pytest.fixture(scope="module")
def quiet(stack: Sandbox) -> Sandbox:
    """The stack, in which nothing runs but the two DAGs that are backfilled."""
    for dag_id in (BUILD, TRAIN, EVENT, MONITOR):
        wait(lambda dag_id=dag_id: stack.api.dag(dag_id))
        stack.api.pause(dag_id)
    for dag_id in (INGEST, FEATURE):
        wait(lambda dag_id=dag_id: stack.api.dag(dag_id))
        stack.api.pause(dag_id, paused=False)
    for dag_id in (INGEST, FEATURE):
        # The schedule starts the present month, for which there are no data: it is skipped.
        wait(lambda dag_id=dag_id: runs_of(stack, dag_id, "scheduled", 1))
    return stack


def runs_of(stack: Sandbox, dag_id: str, kind: str, least: int) -> list[dict[str, Any]] | None:
    """The runs of a DAG once all, and at least so many, have ended."""
    found = stack.api.runs(dag_id, run_type=kind)
    ended = len(found) >= least and all(run["state"] in FINISHED for run in found)
    return found if ended else None


def by_script(stack: Sandbox, dag_id: str, home: Path) -> float:
    """Seconds of the script, from its start as a process to its exit; its files go to ``home``."""
    own = {
        "lake": "lake",
        "site": "site",
        "feast_registry": "feast.db",
        "feast_online": "online.db",
    }
    environment = stack.env | {
        f"FLIGHTDELAYS_{name.upper()}": str(home / value) for name, value in own.items()
    }
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, SCRIPT, dag_id, *ARGUMENTS[dag_id]],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin


def by_backfill(stack: Sandbox, dag_id: str, concurrency: int, measured: Measured) -> None:
    """One backfill of the year into an empty table: from its creation to the last run's end."""
    # Until Airflow has closed the last backfill of a DAG, it refuses another.
    wait(lambda: all(entry["completed_at"] for entry in stack.api.backfills(dag_id)), every=1)
    open_lake(stack.settings).remove_folder(WRITES[dag_id])
    created = stack.api.backfill(
        dag_id,
        f"{YEAR[0]}-01T00:00:00Z",
        f"{YEAR[-1]}-01T00:00:00Z",
        max_active_runs=concurrency,
        reprocess_behavior="completed",
        dag_run_conf={"view": VIEW} if dag_id == FEATURE else {},
    )
    ended = wait(lambda: runs_of(stack, dag_id, "backfill", len(YEAR)), PATIENCE, every=1)
    begin = moment(created, "created_at")
    assert len(ended) == len(YEAR)
    assert {run["state"] for run in ended} == {"success"}
    assert all(moment(run, "start_date") > begin for run in ended)
    measured.seconds.append((max(moment(run, "end_date") for run in ended) - begin).total_seconds())
    done = [
        task
        for run in ended
        for task in stack.api.task_instances(dag_id, run["dag_run_id"])
        if task["state"] == "success"
    ]
    measured.tasks = len(done)
    measured.tasks_s.append(sum(task["duration"] for task in done))


def row(dag_id: str, how: str, concurrency: int, found: Measured) -> dict[str, Any]:
    """One row of the table; ``tasks_s`` is None for the script, which has no tasks."""
    return {
        "dag": dag_id,
        "how": how,
        "concurrency": concurrency,
        "months": len(YEAR),
        "seconds": round(median(found.seconds), 3),
        "seconds_low": round(min(found.seconds), 3),
        "seconds_high": round(max(found.seconds), 3),
        "rounds": len(found.seconds),
        "tasks": found.tasks,
        "tasks_s": round(median(found.tasks_s), 3) if found.tasks_s else None,
    }


def test_backfill(figure: Record, table: Table, quiet: Sandbox, tmp_path: Path) -> None:
    """The DAGs take turns, so that Airflow closes the backfill of one while the other runs."""
    dags = (INGEST, FEATURE)
    script = {dag_id: Measured() for dag_id in dags}
    airflow = {(dag_id, most): Measured() for most in CONCURRENCY for dag_id in dags}
    lake = open_lake(quiet.settings)
    for number in range(MOST):
        home = tmp_path / str(number)
        measured_now = [dag_id for dag_id in dags if number < ROUNDS[dag_id]]
        for dag_id in measured_now:
            script[dag_id].seconds.append(by_script(quiet, dag_id, home))
        for (dag_id, concurrency), measured in airflow.items():
            if dag_id not in measured_now:
                continue
            by_backfill(quiet, dag_id, concurrency, measured)
            expected = digests(Lake(str(home / "lake")), WRITES[dag_id])
            assert expected
            assert digests(lake, WRITES[dag_id]) == expected
    rows = [row(dag_id, "script", 1, script[dag_id]) for dag_id in dags]
    rows += [row(dag_id, "backfill", most, found) for (dag_id, most), found in airflow.items()]
    table("backfill", sorted(rows, key=lambda entry: dags.index(entry["dag"])))
    figure("backfill_script", script[INGEST].seconds, "s", "-")
    for most in CONCURRENCY:
        figure(f"backfill_{most}", airflow[INGEST, most].seconds, "s", "-")
