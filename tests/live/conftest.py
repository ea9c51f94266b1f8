"""One real stack for all live tests."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from course.sandbox import Sandbox, sandbox

LIVE_DAGS = Path(__file__).parent / "dags"
BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"

# All but the labs share one stack, and each leaves more in it: the first finds it empty, the
# drift loop plays a year, the test of the stack stops it. The labs have one of their own.
ORDER = (
    "test_pipelines",
    "test_backfill",
    "test_promotion",
    "test_events",
    "test_faults",
    "test_monitoring",
    "test_drift_loop",
    "test_stack",
    "test_labs",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of this folder in their order; a file that has no place is an error."""
    here = Path(__file__).parent
    places = [number for number, item in enumerate(items) if here in item.path.parents]
    ordered = sorted((items[place] for place in places), key=lambda i: ORDER.index(i.path.stem))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def stack() -> Iterator[Sandbox]:
    """A healthy stack with the DAGs of the repository and those of this folder."""
    bundles = [
        {"name": "dags", "classpath": BUNDLE, "kwargs": {}},
        {"name": "live", "classpath": BUNDLE, "kwargs": {"path": str(LIVE_DAGS)}},
    ]
    with sandbox(AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(bundles)) as running:
        yield running
