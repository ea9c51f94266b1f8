"""Figures of the benchmarks: kept in one file, with the machine they were measured on."""

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from course.containers.compose import check_engine
from course.errors import CourseError
from course.files import write_atomic
from course.sandbox import Sandbox, sandbox
from course.scale.pooling import pooled, replaced

RESULTS = Path(os.environ.get("BENCH_RESULTS", Path(__file__).with_name("results.json")))
"""Another path keeps a trial apart from the figures that the pages quote."""
POOL = bool(os.environ.get("BENCH_POOL"))
"""Whether this run adds to what the file has, instead of taking its place."""

Record = Callable[[str, float | Sequence[float], str, str], None]
Table = Callable[[str, list[dict[str, Any]]], None]


@pytest.fixture(scope="module")
def stack() -> Iterator[Sandbox]:
    """A healthy stack of its own, idle but for what a benchmark starts.

    It ends with the module: an idle one beside the next benchmark would take part in it.
    """
    with sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips what needs a container engine where none answers."""
    try:
        check_engine(None)
    except CourseError as error:
        pytest.skip(str(error))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.bench)


def processor() -> str:
    """Name of the processor, as Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "airflow": version("apache-airflow"),
    }


class Results:
    """The results file. What was not measured this time is kept as it was.

    CourseError at once, and not after hours, if this run cannot be pooled with the file's.
    """

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, Any]] = {}
        self.tables: dict[str, dict[str, Any]] = {}
        self.today = datetime.now(UTC).date().isoformat()
        self.content()

    def figure(self, name: str, value: float | Sequence[float], unit: str, target: str) -> None:
        """One figure. Of several measurements it is the median, with the lowest and highest."""
        values = value if isinstance(value, Sequence) else [value]
        entry: dict[str, Any] = {"value": round(median(values), 3), "unit": unit, "target": target}
        if len(values) > 1:
            entry |= {"low": round(min(values), 3), "high": round(max(values), 3), "n": len(values)}
        self.figures[name] = entry | {"measured_at": self.today}

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """The rows that a table or a plot of the scale lab is made of; JSON values only."""
        self.tables[name] = {"measured_at": self.today, "rows": rows}

    def content(self) -> dict[str, Any]:
        """What the file will have, from what has been measured until now."""
        now = {"machine": machine(), "figures": self.figures, "tables": self.tables}
        if not RESULTS.exists():
            return now
        kept = json.loads(RESULTS.read_text("utf-8"))
        if POOL:
            return pooled(kept, now)
        return replaced(kept, now)

    def write(self) -> None:
        """Put it all into the file at once, so that a run cut short leaves the old one whole."""
        content = self.content()
        for name in ("figures", "tables"):
            content[name] = dict(sorted(content[name].items()))
        write_atomic(RESULTS, json.dumps(content, indent=2) + "\n")


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """What this run measures; the file is written at the end."""
    measured = Results()
    yield measured
    measured.write()
    print()
    for name, entry in sorted(measured.figures.items()):
        spread = f"{entry['low']} to {entry['high']}" if "low" in entry else ""
        print(
            f"{name:40} {entry['value']:>10} {entry['unit']:8} target {entry['target']:16} {spread}"
        )


@pytest.fixture(scope="session")
def figure(results: Results) -> Record:
    """Record one figure: ``figure(name, value or values, unit, target)``."""
    return results.figure


@pytest.fixture(scope="session")
def table(results: Results) -> Table:
    """Record the rows of one table: ``table(name, rows)``."""
    return results.table
