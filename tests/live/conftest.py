"""One real stack for all live tests."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from course.sandbox import Sandbox, sandbox

LIVE_DAGS = Path(__file__).parent / "dags"
BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@pytest.fixture(scope="session")
def stack() -> Iterator[Sandbox]:
    """A healthy stack with the DAGs of the repository and those of this folder."""
    bundles = [
        {"name": "dags-folder", "classpath": BUNDLE, "kwargs": {}},
        {"name": "live", "classpath": BUNDLE, "kwargs": {"path": str(LIVE_DAGS)}},
    ]
    with sandbox(AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(bundles)) as running:
        yield running
