"""Figures of the benchmarks: kept in one file, with the machine they were measured on."""

import json
import os
import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from course.sandbox import Sandbox, sandbox

RESULTS = Path(__file__).with_name("results.json")

Record = Callable[[str, float, str, str], None]


@pytest.fixture(scope="session")
def stack() -> Iterator[Sandbox]:
    """A healthy stack of its own, idle but for what a benchmark starts."""
    with sandbox() as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.bench)


@pytest.fixture(scope="session")
def figure() -> Iterator[Record]:
    """Record one figure: ``figure(name, value, unit, target)``; the file is written at the end.

    Figures of benchmarks that did not run this time are kept as they were.
    """
    kept = json.loads(RESULTS.read_text("utf-8"))["figures"] if RESULTS.exists() else {}
    measured: dict[str, dict[str, object]] = {}

    def record(name: str, value: float, unit: str, target: str) -> None:
        measured[name] = {"value": round(value, 3), "unit": unit, "target": target}

    yield record
    machine = {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    content = {
        "measured_at": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "figures": dict(sorted((kept | measured).items())),
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print()
    for name, entry in sorted(measured.items()):
        print(f"{name:40} {entry['value']:>10} {entry['unit']:8} target {entry['target']}")
