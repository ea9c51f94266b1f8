"""What ``course simulate`` and ``course bench-compare`` print."""

from collections import Counter
from typing import Any

from rich.table import Column, Table

from course.console import console
from course.scale.comparison import Comparison, Entry, limits
from course.scale.costs import Platform
from course.scale.day import Outcome
from course.scale.sizing import PROMISE, Size


def show(platform: Platform, outcome: Outcome, size: Size) -> None:
    """A table of the two platforms, and the verdict on the one that was asked for."""
    table = Table("", "asked for", "least that keeps the promise")
    pairs = [(platform, outcome, 1), (size.platform, size.outcome, size.deployments)]
    rows = {
        "Airflows": [f"{number}" for _, _, number in pairs],
        "workers of each": [f"{p.workers} × {p.slots_per_worker} slots" for p, _, _ in pairs],
        "schedulers of each": [f"{p.schedulers}" for p, _, _ in pairs],
        "API servers of each": [f"{p.api_servers}" for p, _, _ in pairs],
        "database cores of each": [f"{p.database_cores:g}" for p, _, _ in pairs],
        "tasks/s in the peak": [f"{o.arrivals:.1f}" for _, o, _ in pairs],
        "tasks/s started": [f"{o.throughput:.1f}" for _, o, _ in pairs],
        "wait, p50": [time(o.wait_p50_s) for _, o, _ in pairs],
        "wait, p95": [time(o.wait_p95_s) for _, o, _ in pairs],
        "wait, p99": [time(o.wait_p99_s) for _, o, _ in pairs],
        "slots in use": [f"{o.utilisation_slots:.0%}" for _, o, _ in pairs],
        "workers' CPU": [f"{o.utilisation_worker:.0%}" for _, o, _ in pairs],
        "schedulers": [f"{o.utilisation_scheduler:.0%}" for _, o, _ in pairs],
        "API servers": [f"{o.utilisation_api_server:.0%}" for _, o, _ in pairs],
        "database": [f"{o.utilisation_database:.0%}" for _, o, _ in pairs],
        "full first": [o.bottleneck for _, o, _ in pairs],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    console.print(table)
    console.print(verdict(outcome), soft_wrap=True)


def verdict(outcome: Outcome) -> str:
    """One sentence."""
    if not outcome.kept_up:
        return (
            f"It does not keep up: {outcome.arrivals:.1f} tasks come in a second and"
            f" {outcome.throughput:.1f} start, so the queue grows until the peak is over."
            f" Full first: {outcome.bottleneck}."
        )
    kept = "below" if outcome.wait_p95_s < PROMISE else "and not below"
    return (
        f"It keeps up: 95 % of the tasks wait no more than {time(outcome.wait_p95_s)},"
        f" {kept} {PROMISE:.0f} s. Full first, if more came: {outcome.bottleneck}."
    )


def time(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def show_comparison(machine: dict[str, Any], found: list[Comparison]) -> None:
    """A table of the figures that were measured anew, and how many say the same."""
    if not found:
        console.print("Nothing was measured since: the figures are those that git has.")
        return
    name = Column("figure", overflow="fold")
    table = Table(name, "unit", "before", "now", "now ÷ before", "")
    for each in found:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        values = ranged(each.before), ranged(each.now)
        table.add_row(each.name, each.now["unit"], *values, ratio, each.verdict)
    console.print(table)
    console.print(
        f"Before: {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB.",
        soft_wrap=True,
    )
    said = Counter(each.verdict for each in found)
    console.print(", ".join(f"{number} {verdict}" for verdict, number in said.most_common()) + ".")


def ranged(entry: Entry) -> str:
    """A value, and from where to where its rounds go."""
    low, high = limits(entry)
    spread = f" ({low:,g} – {high:,g})" if "low" in entry else ""
    return f"{entry['value']:,g}{spread}"
