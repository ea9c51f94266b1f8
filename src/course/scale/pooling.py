"""Several runs of a benchmark as one measurement, whose spread holds what differs between runs.

The rounds of one run follow one another within minutes. What changes in an hour or a day (what else
the hardware has to do, where on the disk a database lies) shows in none of them, and can be more
than what they differ by. So a value is the mean over the runs, each with the median of its rounds,
and its spread goes from the lowest round of all runs to the highest.
"""

from typing import Any

from course.errors import CourseError

Content = dict[str, Any]
Row = dict[str, Any]

KEYS = {
    "backfill": ("dag", "how", "concurrency"),
    "dag_count": ("dags", "files"),
    "dag_due": ("dags", "per_loop", "round"),
    "dag_parse_parts": ("layout", "side", "part"),
    "dag_parsing_processes": ("dags", "files", "processes"),
    "event_to_model": ("stage",),
    "feature_reads": ("store", "path", "load", "clients", "processes", "batch"),
    "join_memory": ("method", "rows"),
    "joins": ("method", "rows", "outcome"),
    "task_time": ("settings", "part"),
    "throughput": ("executor", "settings", "task_seconds", "parallelism"),
    "throughput_celery": ("executor", "settings", "task_seconds", "parallelism"),
    "throughput_settings": ("changed",),
}
"""What names a row of a table. A table that is not here stays that of the later run."""
COMPUTED = "simulation_"
"""How the names of figures begin that follow from others: they too are those of the later run."""
COUNTED = {"n", "rounds", "loops"}
"""Words in the names of columns that count measurements: of these the sum is taken."""


def pooled(before: Content, now: Content) -> Content:
    """What two runs have measured, each as in a results file, as one.

    Figures, tables and rows that only one of them has stay as they are. CourseError if they are
    not of one machine with the same versions.
    """
    if before["machine"] != now["machine"]:
        raise CourseError(
            f"The figures that are kept are of another machine: {before['machine']}.",
            "measure without POOL=1, which puts yours in their place",
        )
    figures, tables = before["figures"] | now["figures"], before["tables"] | now["tables"]
    for name in before["figures"].keys() & now["figures"].keys():
        earlier = before["figures"][name]
        if not name.startswith(COMPUTED) and "machine" not in earlier:
            figures[name] = together(ranged(earlier), ranged(now["figures"][name]))
    for name in before["tables"].keys() & now["tables"].keys() & KEYS.keys():
        if "machine" in before["tables"][name]:
            continue
        rows = matched(KEYS[name], before["tables"][name]["rows"], now["tables"][name]["rows"])
        tables[name] = now["tables"][name] | {"rows": rows}
    return {"machine": now["machine"], "figures": figures, "tables": tables}


def replaced(before: Content, now: Content) -> Content:
    """The later run in the place of the earlier, of which stays what was not measured again.

    What stays names its machine where that is not the one of the later run.
    """
    content = dict(now)
    for part in ("figures", "tables"):
        stays = before[part]
        if before["machine"] != now["machine"]:
            stays = {name: {"machine": before["machine"]} | entry for name, entry in stays.items()}
        content[part] = stays | now[part]
    return content


def ranged(figure: Row) -> Row:
    """A figure with its range; of one round that is the value."""
    return dict.fromkeys(("low", "high"), figure["value"]) | {"n": 1} | figure


def matched(keys: tuple[str, ...], before: list[Row], now: list[Row]) -> list[Row]:
    """The rows of both, in the later order, then those that only the earlier has."""
    known = {tuple(row[key] for key in keys): row for row in before}
    rows = []
    for row in now:
        earlier = known.pop(tuple(row[key] for key in keys), None)
        rows.append(together(earlier, row) if earlier else row)
    return [*rows, *known.values()]


def together(before: Row, now: Row) -> Row:
    """Two rows, or figures, of the same thing as one; ``runs`` says of how many runs it is."""
    first, last = before.get("runs", 1), now.get("runs", 1)
    row = dict(now)
    for name, value in now.items():
        earlier, words = before.get(name), set(name.split("_"))
        if not isinstance(value, int | float) or earlier is None:
            continue
        if "low" in words:
            row[name] = min(earlier, value)
        elif "high" in words:
            row[name] = max(earlier, value)
        elif words & COUNTED:
            row[name] = earlier + value
        elif value != earlier:
            row[name] = round((earlier * first + value * last) / (first + last), 4)
    return row | {"runs": first + last}
