"""Where the time of a task goes, at eight tasks at a time."""

from pathlib import Path
from statistics import mean
from typing import Any

from ..conftest import Record, Table
from .measured import COMPARED, PARALLELISM, ROUNDS, STOCK, settings
from .schedulers import scheduler, throughput
from .task_time import critical_share, sampled, shares


def test_where_the_time_goes(
    figure: Record, table: Table, tasks: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    """Processor time of a task by part: what was counted, shared out as py-spy sampled it.

    Counted without py-spy, sampled in a run of its own, of the three rounds the mean. Task and
    worker are told from the scheduler by the processes; each sum is shared out on its own.
    """
    rows, critical = [], []
    for name, without in (("course", ()), ("stock", STOCK)):
        found = []
        with scheduler(tasks, settings(environment, COMPARED, without=without)) as main:
            for number in range(ROUNDS):
                spent = throughput(tasks, PARALLELISM[COMPARED], 0, main).cpu
                files = {
                    "scheduler": tmp_path / f"{name}-{number}-scheduler",
                    "api-server": tmp_path / f"{name}-{number}-api-server",
                }
                with (
                    sampled(main, files["scheduler"]),
                    sampled(tasks.main_pid("api-server"), files["api-server"]),
                ):
                    throughput(tasks, PARALLELISM[COMPARED], 0, None)
                found.append(parts(files, spent))
                if name == "course":
                    critical.append(critical_share(files["scheduler"]))
        for part in dict.fromkeys(part for each in found for part in each):
            values = [each.get(part, 0.0) * 1000 for each in found]
            rows.append(
                {
                    "settings": name,
                    "part": part,
                    "cpu_ms": round(mean(values), 2),
                    "cpu_ms_low": round(min(values), 2),
                    "cpu_ms_high": round(max(values), 2),
                    "rounds": ROUNDS,
                }
            )
    table("task_time", rows)
    figure("scheduler_critical_share", critical, "", "-")


def parts(files: dict[str, Path], spent: dict[str, float]) -> dict[str, float]:
    """Seconds by part; the sum is what was counted."""
    found = shares(files["scheduler"], "scheduler")
    own = {part: share for part, share in found.items() if part.startswith("scheduler:")}
    theirs = {part: share for part, share in found.items() if part not in own}
    split = [
        (own, spent["scheduler"]),
        (theirs, spent["task"]),
        (shares(files["api-server"], "api-server"), spent["api_server"]),
    ]
    result = {
        part: seconds * share / sum(group.values())
        for group, seconds in split
        for part, share in group.items()
    }
    return result | {"PostgreSQL": spent["database"], "all else": spent["other"]}
