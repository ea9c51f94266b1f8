"""Every DAG file: imports cleanly and quickly enough to be imported by each task it starts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# One DAG a file, named after it.
PIPELINES = {
    "ingest_flights",
    "build_features",
    "backfill_feature",
    "train_delay_model",
    "model_tournament",
    "tune_hyperparameters",
    "retrain_on_event",
    "await_training_request",
    "retrain_on_file",
    "monitor_drift",
    "promote_model",
    "monitored_training",
    "train_on_gpu_pod",
    "distributed_training",
    "distributed_training_on_pods",
}
# From dags/market_models.yaml.
MARKETS = {
    "market_ewr_united",
    "market_ewr_expressjet",
    "market_jfk_jetblue",
    "market_jfk_delta",
    "market_jfk_american",
    "market_lga_delta",
    "market_lga_american",
    "market_lga_us_airways",
    "market_lga_united",
}
DAG_IDS = PIPELINES | MARKETS
# A factory of many DAGs, and a file that shows what is wrong with its list.
FACTORY = {"market_models", "market_models_check"}
FILES = sorted((REPOSITORY / "dags").glob("*.py"))
PLUGINS = sorted((REPOSITORY / "plugins").glob("*.py"))
LONGEST = 180  # lines, of which about a third is what people read in the UI
HEAVY = {"pandas", "duckdb", "feast", "mlflow", "sklearn", "great_expectations", "pyarrow"}
# The command line stands above the pipelines: nothing that Airflow imports may need it.
FORBIDDEN = HEAVY | {"course"}

# Imports each file in a fork, as the dag-processor does, with every connection forbidden.
PROBE = """
import importlib.util, json, os, socket, sqlite3, sys, traceback
from pathlib import Path
import airflow.sdk
sys.path[:0] = [sys.argv[1]]
before = set(sys.modules)

def forbidden(*args, **kwargs):
    raise RuntimeError("a connection was opened while the file was parsed")

socket.socket.connect = sqlite3.connect = forbidden
for path in sys.argv[2:]:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    try:
        spec = importlib.util.spec_from_file_location("probe", path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        found = sorted({name.split(".")[0] for name in set(sys.modules) - before})
        print(json.dumps({"file": path, "imports": found}), flush=True)
    except BaseException:
        print(json.dumps({"file": path, "error": traceback.format_exc()}), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def parsed() -> dict[str, dict[str, Any]]:
    """What importing each DAG file and each plugin brought, or the error, by path."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, REPOSITORY / "plugins", *FILES, *PLUGINS],
        capture_output=True,
        text=True,
        env=os.environ
        | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/none"},
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {answer["file"]: answer for answer in answers}


def test_the_course_has_exactly_these_dags(dagbag: Any) -> None:
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == DAG_IDS


def test_there_is_one_dag_a_file(dagbag: Any) -> None:
    assert {path.stem for path in FILES} == PIPELINES | FACTORY
    for dag_id in PIPELINES:
        assert Path(dagbag.dags[dag_id].fileloc).stem == dag_id


@pytest.mark.parametrize("path", FILES + PLUGINS, ids=lambda path: path.stem)
def test_parsing_imports_nothing_heavy_and_connects_to_nothing(
    parsed: dict[str, dict[str, Any]], path: Path
) -> None:
    answer = parsed[str(path)]
    assert "error" not in answer, answer["error"]
    assert set(answer["imports"]) & FORBIDDEN == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_a_dag_says_who_owns_it_and_what_to_do_when_it_fails(dagbag: Any, dag_id: str) -> None:
    from course_pipelines import Tag

    dag = dagbag.dags[dag_id]
    assert "@" in dag.owner
    assert dag.tags
    assert set(dag.tags) <= set(Tag)
    assert dag.catchup is False
    assert dag.max_active_runs <= 4
    for heading in ("**What runs.**", "**How to start it.**", "**When it fails.**"):
        assert heading in dag.doc_md, f"{dag_id}: doc_md has no paragraph {heading}"


# [START every_task]
@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_task_has_a_time_limit_and_backs_off_between_tries(dagbag: Any, dag_id: str) -> None:
    for task in dagbag.dags[dag_id].tasks:
        assert task.execution_timeout is not None, task.task_id
        assert task.doc or task.python_callable.__doc__, f"{task.task_id} has no docstring"
        if task.retries:
            assert task.retry_exponential_backoff >= 2, task.task_id


# [END every_task]


def test_training_starts_with_what_is_cheap_and_judges_after_the_quality_gate(dagbag: Any) -> None:
    dag = dagbag.dags["train_delay_model"]
    assert [task.task_id for task in dag.roots] == ["check_availability"]
    assert "quality_gate" in dag.get_task("train").upstream_task_ids
    assert dag.get_task("clean_up").is_teardown
    assert dag.get_task("build_training_set").pool == "memory"
    assert dag.max_active_runs == 1


def test_only_retrying_what_waiting_can_mend() -> None:
    from airflow.sdk import RetryAction

    from course_pipelines import RETRIES
    from flightdelays.errors import DataError, LakeError, QualityError, ServiceError

    for error in (DataError("x"), LakeError("x"), QualityError("x")):
        assert RETRIES.evaluate(error, try_number=1, max_tries=2).action is RetryAction.FAIL
    for other in (ServiceError("x"), OSError("x"), MemoryError()):
        assert RETRIES.evaluate(other, try_number=1, max_tries=2).action is RetryAction.DEFAULT
