"""One Airflow database, one DagBag and one lake of nine real months for all DAG tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MONTHS = [f"2013-{number:02d}" for number in range(1, 10)]


@pytest.fixture(scope="package")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lake, feature store, registry and site of these tests, named by the environment."""
    from flightdelays.settings import get_settings

    root = tmp_path_factory.mktemp("workplace")
    values = {
        "FLIGHTDELAYS_LAKE": str(root / "lake"),
        "FLIGHTDELAYS_SITE": str(root / "site"),
        "FLIGHTDELAYS_FEAST_REGISTRY": str(root / "feast" / "registry.db"),
        "FLIGHTDELAYS_FEAST_ONLINE": str(root / "feast" / "online.db"),
        "FLIGHTDELAYS_MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
    }
    patch = pytest.MonkeyPatch()
    for name, value in values.items():
        patch.setenv(name, value)
    patch.chdir(root)  # MLflow puts the artefacts of a local database into the working folder
    get_settings.cache_clear()
    yield root
    patch.undo()
    get_settings.cache_clear()


@pytest.fixture(scope="package")
def dagbag(workplace: Path) -> Any:
    """All DAGs of the course, in a migrated database."""
    subprocess.run(
        [Path(sys.executable).with_name("airflow"), "db", "migrate"],
        check=True,
        capture_output=True,
        env=os.environ,
    )
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(REPOSITORY / "dags"))


@pytest.fixture(scope="package")
def run(dagbag: Any) -> Callable[..., Any]:
    """Run a DAG with ``dag.test()``: ``run("dag_id", month="2013-01")``, parameters by name.

    Two habits of ``dag.test()`` matter here. It keeps the parameters of one call for the next
    call in the same process, so all are given each time; and it deletes an earlier run with the
    same logical date, so each has its own.
    """
    defaults = {dag_id: dag.params.dump() for dag_id, dag in dagbag.dags.items()}

    def start(dag_id: str, logical_date: datetime | None = None, **params: Any) -> Any:
        return dagbag.dags[dag_id].test(
            logical_date=logical_date or datetime.now(UTC), run_conf=defaults[dag_id] | params
        )

    return start


@pytest.fixture(scope="package")
def lake_of_nine_months(run: Callable[..., Any]) -> Any:
    """January to September landed and turned into features, by the DAGs themselves."""
    for month in MONTHS:
        assert run("ingest_flights", month=month).state == "success"
    assert run("build_features").state == "success"
    from flightdelays.lake import open_lake

    return open_lake()


def states(dag_run: Any) -> dict[str, str]:
    """State of each task of a run by its id; a mapped one as ``id[index]``."""
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
        for ti in dag_run.get_task_instances()
    }
