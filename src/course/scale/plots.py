"""The pictures of the scale lab, drawn from the results file and from nothing else."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from course.scale.slope import slope

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]
Rows = dict[str, list[Row]]

GOAL, EVEN_DAY = 10, 200_000 / 86_400
"""Tasks a second: the goal of the lab, and 200,000 tasks spread evenly over a day."""
FRESH = 5
"""Milliseconds at p99 within which a service wants its features."""
COLOURS = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#868e96", "#f08c00", "#364fc7")
OWNERS = ("scheduler", "worker", "task", "API server", "PostgreSQL", "all else")
WIDTH, HEIGHT = 8.0, 4.2


def _figure(height: float = HEIGHT, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    for each in axes[0]:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25)
        each.set_axisbelow(True)
    return figure, list(axes[0])


def _svg(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    # Without the blanks at the ends of lines that matplotlib leaves.
    lines = buffer.getvalue().decode().splitlines()
    return ("\n".join(line.rstrip() for line in lines) + "\n").encode()


def _spread(axes: "Axes", rows: list[Row], x: str, y: str, **options: Any) -> None:
    """Points with bars from the lowest to the highest round."""
    values = [row[y] for row in rows]
    low = [row[y] - row[f"{y}_low"] for row in rows]
    high = [row[f"{y}_high"] - row[y] for row in rows]
    where = [row[x] for row in rows]
    axes.errorbar(where, values, yerr=[low, high], marker="o", capsize=3, **options)


def _by(rows: Iterable[Row], *keys: str) -> list[tuple[Any, list[Row]]]:
    """Rows in groups of equal values, in the order in which they come."""
    return [
        (name, list(group))
        for name, group in groupby(rows, key=lambda row: tuple(row[key] for key in keys))
    ]


def throughput(tables: Rows) -> bytes:
    """Tasks a second by parallelism, the settings of the course, stock ones, and Celery."""
    figure, (axes,) = _figure()
    rows = [*tables["throughput"], *tables.get("throughput_celery", [])]
    for executor, settings in (
        ("LocalExecutor", "course"),
        ("LocalExecutor", "stock"),
        ("CeleryExecutor", "course"),
    ):
        chosen = [
            row
            for row in rows
            if (row["executor"], row["settings"], row["task_seconds"]) == (executor, settings, 0)
        ]
        if chosen:
            label = f"{executor}, {settings} settings"
            _spread(axes, chosen, "parallelism", "rate", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(dict.fromkeys(row["parallelism"] for row in rows)))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.axhline(GOAL, color="#868e96", linestyle=":", label=f"goal: {GOAL} tasks/s")
    axes.axhline(EVEN_DAY, color="#868e96", linestyle="--", label="200,000 a day, evenly")
    axes.set(xlabel="tasks at a time", ylabel="tasks a second", ylim=(0, None))
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure)


def task_time(tables: Rows) -> bytes:
    """Processor time of one task that does nothing, by part."""
    figure, (axes,) = _figure(height=3.6)
    names = sorted({row["part"] for row in tables["task_time"]}, key=_place)
    colours = _shades(names)
    for settings, rows in _by(tables["task_time"], "settings"):
        left = 0.0
        spent = {row["part"]: row["cpu_ms"] for row in rows}
        for name in names:
            value = spent.get(name, 0)
            axes.barh(settings[0], value, left=left, color=colours[name], edgecolor="white")
            if value > _readable(spent):
                axes.text(left + value / 2, settings[0], f"{value:.0f}", ha="center", va="center")
            left += value
    handles = [axes.barh(0, 0, color=colours[name]) for name in names]
    axes.legend(
        handles,
        names,
        ncols=3,
        fontsize=8,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
    )
    axes.set_xlabel("milliseconds of processor time for each task")
    axes.invert_yaxis()
    return _svg(figure)


def _readable(spent: dict[str, float]) -> float:
    """Milliseconds from which on a part is wide enough for its number."""
    return sum(spent.values()) / 30


def _owner(part: str) -> str:
    """Who spends the time of a part."""
    return part.partition(":")[0]


def _place(part: str) -> tuple[int, str]:
    return OWNERS.index(_owner(part)), part


def _shades(parts: list[str]) -> dict[str, Any]:
    """Colours: those of one owner are alike."""
    import matplotlib as mpl

    # Four shades of each of five colours.
    colours = mpl.colormaps["tab20c"].colors  # type: ignore[attr-defined]
    families = dict(zip(OWNERS, (0, 4, 8, 12, 16, 18), strict=True))
    found = {}
    for part in parts:
        found[part] = colours[families[_owner(part)]]
        families[_owner(part)] += 1
    return found


def dag_count(tables: Rows) -> bytes:
    """One pass over all files and one loop of the scheduler, and memory, by number of DAGs."""
    figure, (time, memory) = _figure(columns=2)
    for layout, rows in _by(sorted(tables["dag_count"], key=lambda r: r["layout"]), "layout"):
        rows = sorted(rows, key=lambda row: row["dags"])
        count = [row["dags"] for row in rows]
        steep = slope(rows, "dags", "pass_s")
        label = f"pass, {layout[0]} (slope {steep:.2f})"
        time.plot(count, [row["pass_s"] for row in rows], marker="o", label=label)
        memory.plot(
            count,
            [row["scheduler_mb"] for row in rows],
            marker="o",
            label=f"scheduler, {layout[0]}",
        )
        memory.plot(
            count,
            [row["processor_mb"] for row in rows],
            marker="s",
            label=f"dag-processor, {layout[0]}",
        )
        time.plot(
            count,
            [row["scheduler_loop_ms"] / 1000 for row in rows],
            marker="s",
            linestyle="--",
            label=f"scheduler loop, {layout[0]}",
        )
    for axes, label in ((time, "seconds"), (memory, "MB")):
        axes.set(xscale="log", xlabel="DAGs", ylabel=label)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.legend(frameon=False, fontsize=8)
    time.set_yscale("log")
    time.yaxis.set_major_formatter("{x:g}")
    memory.set_ylim(0, None)
    return _svg(figure)


def joins(tables: Rows) -> bytes:
    """Seconds and highest memory of a point-in-time join, by rows."""
    figure, (time, memory) = _figure(columns=2)
    ordered = sorted(tables["joins"], key=lambda row: (row["method"], row["rows"]))
    for (method,), rows in _by(ordered, "method"):
        done = [row for row in rows if row["outcome"] == "done"]
        _spread(time, done, "rows", "seconds", label=method)
        memory.plot([r["rows"] for r in done], [r["peak_mb"] / 1024 for r in done], marker="o")
    time.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    memory.set(xscale="log", yscale="log", xlabel="rows", ylabel="GB at most")
    memory.set_yticks([0.5, 1, 2, 4, 8])
    memory.minorticks_off()
    for axes in (time, memory):
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:g}")
    time.legend(frameon=False, fontsize=9)
    return _svg(figure)


def feature_reads(tables: Rows) -> bytes:
    """Milliseconds of a read of one entity: p50 as a point, up to p99 as a line."""
    rows = [row for row in tables["feature_reads"] if row["batch"] == 1]
    rows = [row for row in rows if row["load"] in ("alone", "paced")]
    figure, (axes,) = _figure(height=0.8 + 0.32 * len(rows))
    for number, row in enumerate(rows):
        colour = COLOURS[row["load"] == "paced"]
        axes.plot([row["p50_ms"], row["p99_ms"]], [number] * 2, color=colour)
        axes.plot([row["p50_ms"], row["p95_ms"], row["p99_ms"]], [number] * 3, "o", color=colour)
    names = [f"{row['store']}, {row['path']}, {_clients(row)}" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.axvline(FRESH, color="#868e96", linestyle=":", label=f"goal at p99: {FRESH} ms")
    axes.set(xscale="log", xlabel="milliseconds at p50, p95 and p99")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, fontsize=9)
    axes.invert_yaxis()
    return _svg(figure)


def _clients(row: Row) -> str:
    """Who asks, in a few words."""
    processes = row.get("processes", 1)
    shared = f" of {processes} processes" if processes > 1 else ""
    return f"{row['clients']} clients{shared}" if row["clients"] > 1 else "alone"


def event_to_model(tables: Rows) -> bytes:
    """Seconds of each stage from a drift to a deployed model, median and 95th percentile."""
    rows = [row for row in tables["event_to_model"] if not row["stage"].startswith("whole")]
    figure, (axes,) = _figure(height=0.8 + 0.4 * len(rows))
    left = 0.0
    for row in rows:
        axes.barh(row["stage"], row["p50_s"], left=left, color=COLOURS[0])
        axes.plot([left + row["p50_s"], left + row["p95_s"]], [row["stage"]] * 2, color=COLOURS[1])
        left += row["p50_s"]
    axes.set_xlabel("seconds since the monitor began (orange: to the 95th percentile)")
    axes.invert_yaxis()
    return _svg(figure)


def simulation(tables: Rows) -> bytes:
    """What the model says against what was measured."""
    figure, (axes,) = _figure()
    rows = tables["simulation_error"]
    for fitted, label in ((True, "fitted"), (False, "predicted, not fitted")):
        chosen = [row for row in rows if row["fitted"] == fitted]
        axes.scatter(
            [row["measured"] for row in chosen], [row["predicted"] for row in chosen], label=label
        )
    most = max(max(row["measured"], row["predicted"]) for row in rows) * 1.05
    axes.plot([0, most], [0, most], color="#868e96", linestyle="--", linewidth=1)
    axes.set(xlabel="measured, tasks a second", ylabel="model, tasks a second")
    axes.legend(frameon=False)
    return _svg(figure)


def soak(tables: Rows) -> bytes:
    """Memory of each component over the hour."""
    figure, (axes,) = _figure()
    rows = tables["soak_series"]
    for name in (row["component"] for row in tables["soak_growth"]):
        axes.plot([row["minute"] for row in rows], [row[name] for row in rows], label=name)
    axes.set(xlabel="minutes", ylabel="MB in the processes that stay", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(figure)


class Picture(NamedTuple):
    """A function that draws, the tables that it needs, and one that it shows if it is there."""

    make: Callable[[Rows], bytes]
    needs: tuple[str, ...]
    shows: str = ""


PICTURES = {
    "throughput": Picture(throughput, ("throughput",), "throughput_celery"),
    "task-time": Picture(task_time, ("task_time",)),
    "dag-count": Picture(dag_count, ("dag_count",)),
    "feature-reads": Picture(feature_reads, ("feature_reads",)),
    "joins": Picture(joins, ("joins",)),
    "event-to-model": Picture(event_to_model, ("event_to_model",)),
    "simulation": Picture(simulation, ("simulation_error",)),
    "soak": Picture(soak, ("soak_series", "soak_growth")),
}


def measured(results: dict[str, Any]) -> list[str]:
    """The pictures whose tables have been measured."""
    tables = results.get("tables", {}).keys()
    return [name for name, picture in PICTURES.items() if tables >= set(picture.needs)]


def is_drawn(results: dict[str, Any], name: str, path: Path) -> bool:
    """Whether a file is this picture, of these numbers and by this code.

    Its bytes cannot say: the layout differs in its last digits from processor to processor.
    """
    return path.is_file() and _mark(_rows(results, name)) in path.read_text("utf-8")


def draw(results: dict[str, Any], name: str) -> bytes:
    """The picture as SVG, with a mark that says what it was drawn from."""
    from cycler import cycler
    from matplotlib import style

    tables = _rows(results, name)
    ours = {"svg.hashsalt": "course", "axes.prop_cycle": cycler(color=COLOURS)}
    with style.context(["default", ours]):
        drawn = PICTURES[name].make(tables)
    return drawn + f"<!-- {_mark(tables)} -->\n".encode()


def _rows(results: dict[str, Any], name: str) -> Rows:
    _, needs, shows = PICTURES[name]
    tables = results["tables"]
    return {each: tables[each]["rows"] for each in (*needs, shows) if each in tables}


def _mark(tables: Rows) -> str:
    told = hashlib.sha256(json.dumps(tables, sort_keys=True).encode())
    told.update(Path(__file__).read_bytes().replace(b"\r\n", b"\n"))
    return f"drawn from {told.hexdigest()}"
