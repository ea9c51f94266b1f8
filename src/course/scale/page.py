"""The tables of the scale lab's page, made from the results file and from nothing else."""

import json
from collections.abc import Callable
from itertools import groupby
from typing import Any

from course.config import REPOSITORY
from course.errors import CourseError
from course.scale.slope import slope

Row = dict[str, Any]
Cell = Callable[[Row], str]

RESULTS = REPOSITORY / "tests" / "bench" / "results.json"
DAY = 86_400
SHOWN = 0.02
"""Share of a pass from which on the table of its parts has a row for it."""


def results() -> dict[str, Any]:
    """What the last `make bench` measured."""
    content: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return content


def rows_of(name: str) -> list[Row]:
    """The rows of a table; CourseError if nobody has measured it."""
    tables = results()["tables"]
    if name not in tables:
        raise CourseError(f"No benchmark has measured the table {name!r}.", "see tests/bench/scale")
    rows: list[Row] = tables[name]["rows"]
    return rows


def spread(row: Row, column: str, digits: int = 1) -> str:
    """A value with the lowest and the highest of its rounds."""
    value, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    return f"{value:,.{digits}f} ({low:,.{digits}f} – {high:,.{digits}f})"


def _print(head: dict[str, Cell], rows: list[Row]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(cell(row) for cell in head.values()) + " |")


def machine() -> None:
    """One sentence: what it was all measured on; another if some of it was not."""
    content = results()
    found = content["machine"]
    print(
        f"Measured on {found['cores']} cores ({found['processor']}), {found['memory_gb']} GB, "
        f"{found['system']}, Python {found['python']}, Airflow {found['airflow']}."
    )
    parts = content["figures"] | content["tables"]
    others = [f"`{name}`" for name, entry in sorted(parts.items()) if "machine" in entry]
    if others:
        print(f"Kept from another machine: {', '.join(others)}.")


def throughput() -> None:
    """Tasks a second by parallelism: no-op tasks of the course, stock and Celery; 1 s tasks."""
    tables = results()["tables"]
    names = [name for name in ("throughput", "throughput_celery") if name in tables]
    found = {
        (row["executor"], row["settings"], row["task_seconds"], row["parallelism"]): row
        for name in names
        for row in rows_of(name)
    }
    columns = {
        "stock": ("LocalExecutor", "stock", 0),
        "the course": ("LocalExecutor", "course", 0),
        "the course, tasks of 1 s": ("LocalExecutor", "course", 1),
        "Celery": ("CeleryExecutor", "course", 0),
        "Celery, tasks of 1 s": ("CeleryExecutor", "course", 1),
    }
    columns = {
        title: key for title, key in columns.items() if any(each[:3] == key for each in found)
    }
    head: dict[str, Cell] = {"at a time": lambda row: str(row["parallelism"])}
    for title, key in columns.items():
        head[title] = lambda row, key=key: spread(found[*key, row["parallelism"]], "rate")  # type: ignore[misc]
    head["the course, a day"] = lambda row: (
        f"{found[*columns['the course'], row['parallelism']]['rate'] * DAY:,.0f}"
    )
    _print(head, [row for row in rows_of("throughput") if _is(row, columns["the course"])])


def _is(row: Row, key: tuple[str, str, int]) -> bool:
    return (row["executor"], row["settings"], row["task_seconds"]) == key


def throughput_settings() -> None:
    """What the scheduler does with one setting changed, beside the course's as they are."""

    def cost(row: Row, end: str) -> str:
        spent = [value for name, value in row.items() if _cpu(name, end)]
        return f"{sum(spent) * 1000:.0f} ms"

    def rate(row: Row, end: str) -> str:
        low, high = row[f"rate_low_{end}"], row[f"rate_high_{end}"]
        return f"{row[f'rate_{end}']:.1f} ({low:.1f} – {high:.1f})"

    _print(
        {
            "changed": lambda row: row["changed"],
            "tasks/s with it": lambda row: rate(row, "changed"),
            "… beside it, the course": lambda row: rate(row, "course"),
            "CPU of a task with it": lambda row: cost(row, "changed"),
            "… the course": lambda row: cost(row, "course"),
        },
        rows_of("throughput_settings"),
    )


def _cpu(name: str, end: str) -> bool:
    return name.startswith("cpu_") and name.endswith(f"_{end}")


def dag_count() -> None:
    """What DAGs cost by their number and by how many share a file."""
    _print(
        {
            "DAGs": lambda row: f"{row['dags']:,}",
            "files": lambda row: f"{row['files']:,}",
            "to parse, ms a DAG": lambda row: _three(row, "parse_ms"),
            "a pass over all files, s": _pass,
            "a loop of the scheduler, ms": _loop,
            "dag-processor, MB": lambda row: f"{row['processor_mb']:,.0f}",
            "scheduler, MB": lambda row: f"{row['scheduler_mb']:,.0f}",
            "in the database, MB": lambda row: f"{row['serialized_mb']:,.1f}",
        },
        rows_of("dag_count"),
    )


def _three(row: Row, name: str) -> str:
    return f"{row[f'{name}_per_dag']:.1f} ({row[f'{name}_low']:.1f} – {row[f'{name}_high']:.1f})"


def _pass(row: Row) -> str:
    return f"{row['pass_s']:,.1f} ({row['pass_low_s']:,.1f} – {row['pass_high_s']:,.1f})"


def _loop(row: Row) -> str:
    value, low, high = (row[f"scheduler_loop_{end}ms"] for end in ("", "low_", "high_"))
    return f"{value:.0f} ({low:.0f} – {high:.0f})"


def dag_slope() -> None:
    """One sentence: how pass and loop grow with the number of DAGs, by layout."""
    rows = sorted(rows_of("dag_count"), key=lambda row: str(row["layout"]))
    said = []
    for layout, group in groupby(rows, key=lambda row: str(row["layout"])):
        same = list(group)
        passes, loops = slope(same, "dags", "pass_s"), slope(same, "dags", "scheduler_loop_ms")
        said.append(f"{passes:.2f} of a pass and {loops:.2f} of the scheduler's loop with {layout}")
    print(f"Slopes on the log plot: {', '.join(said)}.")


def dag_parse_parts() -> None:
    """Where the time of a pass goes, of 1,000 DAGs: the parts that are at least a fiftieth."""
    rows = rows_of("dag_parse_parts")
    layouts = list(dict.fromkeys(row["layout"] for row in rows))
    shares = {(row["side"], row["part"], row["layout"]): row["share"] for row in rows}
    parts = dict.fromkeys(
        (row["side"], row["part"])
        for row in sorted(rows, key=lambda row: str(row["side"]))
        if row["share"] >= SHOWN
    )
    head: dict[str, Cell] = {"process": lambda row: row["side"], "part": lambda row: row["part"]}
    for layout in layouts:
        head[layout] = lambda row, layout=layout: f"{row[layout]:.0%}"  # type: ignore[misc]
    _print(
        head,
        [
            {"side": side, "part": part}
            | {layout: shares.get((side, part, layout), 0) for layout in layouts}
            for side, part in parts
        ],
    )


def dag_parsing_processes() -> None:
    """What more processes that parse are good for."""
    _print(
        {
            "DAGs": lambda row: f"{row['dags']:,}",
            "files": lambda row: f"{row['files']:,}",
            "`parsing_processes`": lambda row: str(row["processes"]),
            "a pass over all files, s": _pass,
            "memory, MB": lambda row: f"{row['processor_mb']:,.0f}",
        },
        rows_of("dag_parsing_processes"),
    )


def dag_due() -> None:
    """How long it takes until every DAG has its run, if all are due at once."""
    _print(
        {
            "DAGs due at once": lambda row: f"{row['dags']:,}",
            "`max_dagruns_to_create_per_loop`": lambda row: str(row["per_loop"]),
            "round": lambda row: str(row["round"]),
            "until all have a run, s": lambda row: f"{row['all_created_s']:.1f}",
            "a loop, ms": lambda row: f"{row['loop_ms']:,.0f}",
            "the longest, ms": lambda row: f"{row['loop_high_ms']:,.0f}",
        },
        rows_of("dag_due"),
    )


def feature_reads() -> None:
    """Milliseconds of a read by store, way, clients and batch."""
    _print(
        {
            "store": lambda row: row["store"],
            "way": lambda row: row["path"],
            "who asks": _asking,
            "entities": lambda row: str(row["batch"]),
            "p50, ms": lambda row: f"{row['p50_ms']:.2f}",
            "p95, ms": lambda row: f"{row['p95_ms']:.2f}",
            "p99, ms": lambda row: (
                f"{row['p99_ms']:.2f} ({row['p99_low_ms']:.2f} – {row['p99_high_ms']:.2f})"
            ),
            "reads/s": lambda row: f"{row['reads_per_s']:,.0f}",
        },
        rows_of("feature_reads"),
    )


def _asking(row: Row) -> str:
    """The clients of a row."""
    if row["load"] == "alone":
        return "one, alone"
    shared = f", {row['processes']} processes" if row["processes"] > 1 else ""
    return f"{row['clients']}, {row['load']}{shared}"


def joins() -> None:
    """Seconds and memory of a point-in-time join."""
    _print(
        {
            "rows": lambda row: f"{row['rows']:,}",
            "method": lambda row: row["method"],
            "seconds": lambda row: (
                spread(row, "seconds")
                if row["outcome"] == "done"
                else f"not done: {row['outcome']}"
            ),
            "most memory, MB": lambda row: f"{row['peak_mb']:,.0f}" if row["peak_mb"] else "",
        },
        rows_of("joins"),
    )


def join_memory() -> None:
    """What a join asks for and what it occupies."""
    _print(
        {
            "rows": lambda row: f"{row['rows']:,}",
            "method": lambda row: row["method"],
            "asked for at most, MB": lambda row: f"{row['asked_for_mb']:,.0f}",
            "occupied at most, MB": lambda row: f"{row['peak_mb']:,.0f}",
        },
        rows_of("join_memory"),
    )


def event_to_model() -> None:
    """Seconds of each stage."""
    _print(
        {
            "stage": lambda row: row["stage"],
            "p50, s": lambda row: f"{row['p50_s']:.1f}",
            "p95, s": lambda row: f"{row['p95_s']:.1f}",
            "lowest – highest, s": lambda row: f"{row['low_s']:.1f} – {row['high_s']:.1f}",
        },
        rows_of("event_to_model"),
    )


def backfill() -> None:
    """Twelve months by a script and by backfills."""
    _print(
        {
            "DAG": lambda row: f"`{row['dag']}`",
            "how": lambda row: (
                "one script"
                if row["how"] == "script"
                else f"backfill, {row['concurrency']} at a time"
            ),
            "seconds": lambda row: spread(row, "seconds"),
            "in tasks, s": lambda row: f"{row['tasks_s']:.0f}" if row["tasks_s"] else "",
        },
        rows_of("backfill"),
    )


def simulation_error() -> None:
    """The model beside what was measured."""
    _print(
        {
            "executor": lambda row: row["executor"],
            "settings": lambda row: row["settings"],
            "a task is": lambda row: f"{row['task_seconds']} s",
            "at a time": lambda row: str(row["parallelism"]),
            "measured, tasks/s": lambda row: f"{row['measured']:.1f}",
            "model": lambda row: f"{row['predicted']:.1f}",
            "error": lambda row: f"{row['error']:+.0f} %" + (" (fitted)" if row["fitted"] else ""),
        },
        rows_of("simulation_error"),
    )


def simulation() -> None:
    """The least platforms that start 95 of 100 tasks within a minute."""
    _print(
        {
            "tasks a day": lambda row: f"{row['tasks_a_day']:,}",
            "they come": lambda row: row["profile"],
            "a task is": lambda row: f"{row['task_seconds']} s",
            "Airflows": lambda row: str(row["deployments"]),
            "workers × slots": lambda row: f"{row['workers']} × {row['slots']}",
            "schedulers": lambda row: str(row["schedulers"]),
            "API servers": lambda row: str(row["api_servers"]),
            "database cores": lambda row: f"{row['database_cores']:g}",
            "wait p50, s": lambda row: f"{row['wait_p50_s']:.1f}",
            "wait p95, s": lambda row: f"{row['wait_p95_s']:.1f}",
            "full first": lambda row: row["bottleneck"],
        },
        [row for row in rows_of("simulation") if row["least"]],
    )


def soak_accounts() -> None:
    """What was started, and what came of it."""
    _print(
        {
            "what": lambda row: row["what"],
            "expected": lambda row: f"{row['expected']:,}",
            "ended as they should": lambda row: f"{row['as_expected']:,}",
            "lost": lambda row: str(row["lost"]),
            "twice": lambda row: str(row["twice"]),
        },
        rows_of("soak_accounts"),
    )


def soak_growth() -> None:
    """What each component held idle, before and after."""

    def pair(row: Row, name: str, end: str = "") -> str:
        return f"{row[f'{name}_before{end}']:.0f} → {row[f'{name}_after{end}']:.0f}"

    _print(
        {
            "component": lambda row: f"`{row['component']}`",
            "memory, MB": lambda row: pair(row, "memory", "_mb"),
            "slope under load, MB/h": lambda row: (
                f"{row['slope_mb_per_hour']:+.0f} ± {row['slope_error_mb_per_hour']:.0f}"
            ),
            "processes": lambda row: pair(row, "processes"),
            "descriptors": lambda row: pair(row, "descriptors"),
            "threads": lambda row: pair(row, "threads"),
        },
        rows_of("soak_growth"),
    )


def soak_disk() -> None:
    """What grew on disk."""
    _print(
        {
            "place": lambda row: row["place"],
            "before, MB": lambda row: f"{row['before_mb']:,.0f}",
            "after, MB": lambda row: f"{row['after_mb']:,.0f}",
        },
        rows_of("soak_disk"),
    )


def _rounds(row: Row) -> str:
    """How many rounds a figure is of, and in how many runs."""
    return f"{row.get('n', 1)}" + (f" in {row['runs']} runs" if "runs" in row else "")


def figures() -> None:
    """Every figure that `make bench` knows, with its spread."""
    named = [{"name": name, **entry} for name, entry in results()["figures"].items()]
    _print(
        {
            "figure": lambda row: f"`{row['name']}`",
            "value": lambda row: f"{row['value']:,g}",
            "unit": lambda row: row["unit"],
            "lowest – highest": lambda row: (
                f"{row['low']:,g} – {row['high']:,g}" if "low" in row else ""
            ),
            "rounds": _rounds,
            "target": lambda row: row["target"],
        },
        named,
    )
