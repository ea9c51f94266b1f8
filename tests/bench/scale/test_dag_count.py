"""What 100, 1,000 and 10,000 DAGs cost the dag-processor, the scheduler and the database.

Real processes on a PostgreSQL of their own. The DAGs have three tasks, are unpaused, and none is
due, but for those of the last test.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from ..conftest import Record, Table
from . import dag_profile, many_dags
from .bare_airflow import Bare, Running, bare
from .dag_layouts import DUE, LAYOUTS, PROFILES, SPREAD, TRIAL, Layout
from .dag_passes import Passes, loops

PROFILED = 5 if TRIAL else 20
"""Seconds of the passes that py-spy looks at."""
LOOPS, WARM_UP = 5 if TRIAL else 60, 5
"""Loops of the scheduler that count, and those before them that do not."""
PARSING = {
    # One pass follows the other at once.
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0",
    # Otherwise a pass within 30 s of the last one compares no DAG with what is stored.
    "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
}


@pytest.fixture(scope="module")
def air() -> Iterator[Bare]:
    """Airflow's tables, and nothing that runs."""
    # The path of a socket must be short, which the folders of a test runner are not.
    home = Path(tempfile.mkdtemp(prefix="dags-"))
    try:
        with bare(home) as made:
            yield made
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of each table, as measured until now."""
    return {"dag_count": [], "dag_parse_parts": [], "dag_parsing_processes": [], "dag_due": []}


def seconds(taken: list[float]) -> dict[str, float]:
    """Median, lowest and highest of the passes."""
    return {
        "pass_s": round(median(taken), 3),
        "pass_low_s": round(min(taken), 3),
        "pass_high_s": round(max(taken), 3),
        "rounds": len(taken),
    }


def first_pass(air: Bare, processor: Running, passes: Passes, database: str, dags: int) -> float:
    """Seconds from the first fork of a new dag-processor until the last DAG is in the database."""
    query = "SELECT count(*) FROM serialized_dag"
    processor.wait(lambda: passes.done(0) and air.value(database, query) == dags, every=0.2)
    assert passes.begin is not None
    return time.monotonic() - passes.begin


@pytest.mark.parametrize("case", LAYOUTS, ids=lambda case: case.id)
def test_dag_count(
    figure: Record, table: Table, air: Bare, rows: dict[str, Any], case: Layout
) -> None:
    """Passes over all files, then loops of the scheduler, of one layout."""
    folder = air.home / case.id
    files = many_dags.write(folder, case.dags, case.per_file)
    air.new_database(case.id)
    with air.running("dag-processor", case.id, folder, **PARSING) as processor:
        passes = Passes(processor.metrics, files)
        first = first_pass(air, processor, passes, case.id, case.dags)
        processor.wait(lambda: passes.done(1 + case.rounds))
        processor_mb = processor.peak_mb
        if case in PROFILES:
            stacks = air.home / "stacks.txt"
            dag_profile.record(processor.pid, PROFILED, stacks)
            parts = [{"layout": case.name, **part} for part in dag_profile.shares(stacks)]
            rows["dag_parse_parts"] += parts
            table("dag_parse_parts", rows["dag_parse_parts"])
    per_dag = [1_000 * taken * files / case.dags for taken in passes.file_seconds()]
    assert air.value(case.id, "SELECT count(*) FROM import_error") == 0
    assert air.value(case.id, "SELECT count(*) FROM dag WHERE is_paused OR is_stale") == 0

    with air.running(
        "scheduler", case.id, folder, SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.1"
    ) as scheduler:
        scheduler.wait(lambda: len(loops(scheduler.metrics)) >= WARM_UP + LOOPS)
        taken = loops(scheduler.metrics)[WARM_UP:]
        scheduler_mb = scheduler.peak_mb
    # None was due: it is the loop of a scheduler that has nothing to do.
    assert air.value(case.id, "SELECT count(*) FROM dag_run") == 0

    rows["dag_count"].append(
        {
            "dags": case.dags,
            "files": files,
            "layout": case.name,
            "parse_ms_per_dag": round(median(per_dag), 2),
            "parse_ms_low": round(min(per_dag), 2),
            "parse_ms_high": round(max(per_dag), 2),
            **seconds(passes.later),
            "first_pass_s": round(first, 3),
            "total_parse_time_s": round(median(passes.total_parse_times), 3),
            "scheduler_loop_ms": round(median(taken), 2),
            "scheduler_loop_low_ms": round(min(taken), 2),
            "scheduler_loop_high_ms": round(max(taken), 2),
            "loops": len(taken),
            "processor_mb": round(processor_mb, 1),
            "scheduler_mb": round(scheduler_mb, 1),
            "serialized_mb": megabytes(air, case.id, "serialized_dag"),
            "code_mb": megabytes(air, case.id, "dag_code"),
        }
    )
    table("dag_count", rows["dag_count"])
    if case.per_file > 1:
        figure(f"dags_{case.dags}_pass", passes.later, "s", "-")
        figure(f"dags_{case.dags}_loop", taken, "ms", "-")
        figure(f"dags_{case.dags}_scheduler_memory", scheduler_mb, "MB", "-")


def megabytes(air: Bare, database: str, name: str) -> float:
    """Size of a table on disk in MB, its indexes and what is stored out of line included."""
    return round(air.value(database, f"SELECT pg_total_relation_size('{name}')") / 2**20, 2)


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("case", SPREAD, ids=lambda case: case.id)
def test_parsing_processes(
    table: Table, air: Bare, rows: dict[str, Any], case: Layout, processes: int
) -> None:
    """Passes over files that are known already, by ``parsing_processes``."""
    settings = PARSING | {"DAG_PROCESSOR__PARSING_PROCESSES": str(processes)}
    folder = air.home / case.id
    files = len(list(folder.glob("*.py")))
    assert files, "the files and the database are those of test_dag_count, which runs first"
    with air.running("dag-processor", case.id, folder, **settings) as processor:
        passes = Passes(processor.metrics, files)
        processor.wait(lambda: passes.done(1 + case.rounds))
        measured = {**seconds(passes.later), "processor_mb": round(processor.peak_mb, 1)}
    rows["dag_parsing_processes"].append(
        {"dags": case.dags, "files": files, "layout": case.name}
        | {"processes": processes, **measured}
    )
    table("dag_parsing_processes", rows["dag_parsing_processes"])


@pytest.fixture(scope="module")
def due(air: Bare) -> Path:
    """DAGs that are all due at once, parsed into the database ``due``; their folder."""
    folder = air.home / "due"
    files = many_dags.write(folder, DUE.dags, DUE.per_file, year=2024)
    air.new_database("due")
    with air.running("dag-processor", "due", folder) as processor:
        first_pass(air, processor, Passes(processor.metrics, files), "due", DUE.dags)
    # Without a free slot no task leaves for a worker: what is measured is the making of runs.
    air.execute("UPDATE slot_pool SET slots = 0", database="due")
    return folder


@pytest.mark.parametrize("number", range(DUE.rounds))
@pytest.mark.parametrize("per_loop", [10, 100])
def test_due_at_once(
    table: Table, air: Bare, due: Path, rows: dict[str, Any], per_loop: int, number: int
) -> None:
    """From the first run that the scheduler makes to that of the last DAG."""
    name = f"due_{per_loop}_{number}"
    air.new_database(name, template="due")
    settings = {"SCHEDULER__MAX_DAGRUNS_TO_CREATE_PER_LOOP": str(per_loop)}
    with air.running("scheduler", name, due, **settings) as scheduler:
        count = "SELECT count(*) FROM dag_run"
        scheduler.wait(lambda: air.value(name, count) >= DUE.dags, every=1)
        taken = loops(scheduler.metrics)
    query = "SELECT count(DISTINCT dag_id) FROM dag_run"
    assert air.value(name, query) == air.value(name, count) == DUE.dags
    query = "SELECT extract(epoch FROM max(queued_at) - min(queued_at)) FROM dag_run"
    rows["dag_due"].append(
        {
            "dags": DUE.dags,
            "per_loop": per_loop,
            "round": number + 1,
            "all_created_s": round(float(air.value(name, query)), 3),
            "loops": len(taken),
            "loop_ms": round(median(taken), 1),
            "loop_high_ms": round(max(taken), 1),
        }
    )
    table("dag_due", rows["dag_due"])
