"""The pods that the operators really build, the order of the tasks, and a cluster that says no."""

import inspect
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest

from .conftest import states
from .test_train_on_gpu_pod import KUBERNETES, SECRET_WORDS, kubeconfig

Run = Callable[..., Any]
DAG_ID = "distributed_training_on_pods"
TRAINED = ("train", "train_on_one_worker")


class ApiServer:
    """A cluster without Dask's operator, which takes every object but those of a refused kind."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refused = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                made = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, made))
                if made["kind"] == outer.refused:
                    self.answer(403, {"message": "jobs.batch is forbidden", "code": 403})
                else:
                    self.answer(201, made)

            def do_GET(self) -> None:
                self.answer(200, {"kind": "APIGroupList", "groups": []})

            def answer(self, code: int, content: dict[str, Any]) -> None:
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The only cluster there is, so that a person's own is never asked."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", raising=False)
    made = ApiServer()
    kubeconfig(path, f"http://127.0.0.1:{made.server.server_port}")
    thread = Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(params=TRAINED)
def pod(
    request: pytest.FixtureRequest,
    dagbag: Any,
    api_server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """The pod of a task as it goes to the cluster: templates rendered, every part as JSON."""
    from airflow.sdk.execution_time.context import VariableAccessor
    from kubernetes.client import ApiClient

    monkeypatch.setenv("AIRFLOW_VAR_TRAINING_IMAGE", "registry.example.com/train:2.0")
    monkeypatch.setenv("AIRFLOW_VAR_TRAINING_NAMESPACE", "other-training")
    returned = {
        "build_training_set": "s3://lake/runs/one/parts",
        "start_workers": "tcp://10.0.0.7:8786",
    }
    dag = dagbag.dags[DAG_ID]
    operator = deepcopy(dag.get_task(request.param))
    context = {
        "ti": SimpleNamespace(
            dag_id=DAG_ID,
            task_id=request.param,
            try_number=1,
            map_index=-1,
            xcom_pull=returned.__getitem__,
        ),
        "run_id": "manual__2013-10-01",
        "dag": dag,
        "params": {"workers": 3, "rounds": 50},
        "var": {"value": VariableAccessor(deserialize_json=False)},
    }
    operator.render_template_fields(context)
    built = operator.build_pod_request_obj(context)
    clean: dict[str, Any] = ApiClient().sanitize_for_serialization(built)
    return clean


def test_workers_start_before_the_trainings_and_are_always_stopped(dagbag: Any) -> None:
    dag = dagbag.dags[DAG_ID]
    order = ["check_cluster", "check_availability", "build_training_set", "start_workers", *TRAINED]
    for before, after in zip(order, [*order[1:], "stop_workers"], strict=True):
        assert after in dag.get_task(before).downstream_task_ids, (before, after)
    start, stop = dag.get_task("start_workers"), dag.get_task("stop_workers")
    assert start.is_setup
    assert stop.is_teardown
    # A training that is cleared takes both along.
    assert stop.task_id in start.downstream_task_ids
    assert dag.get_task("clean_up").is_teardown
    # Longer than it waits for the scheduler and for the workers.
    assert start.execution_timeout.total_seconds() >= 2 * 600


def test_the_pod_is_the_client_of_the_workers(pod: dict[str, Any]) -> None:
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    assert pod["metadata"]["namespace"] == "other-training"
    base = pod["spec"]["containers"][0]
    assert base["image"] == "registry.example.com/train:2.0"
    assert base["command"] == ["python", "-m", "flightdelays.distributed"]
    workers = "1" if "one-worker" in pod["metadata"]["name"] else "3"
    assert base["args"] == [
        "--source=s3://lake/runs/one/parts",
        f"--workers={workers}",
        "--rounds=50",
        "--run=manual__2013-10-01",
        "--scheduler-address=tcp://10.0.0.7:8786",
        "--patience=300",
        "--result=/airflow/xcom/return.json",
    ]
    assert base["resources"] == {
        "requests": {"cpu": "100m", "memory": "2Gi"},
        "limits": {"memory": "2Gi"},
    }


def test_the_options_are_those_that_the_command_has(pod: dict[str, Any]) -> None:
    from flightdelays import distributed

    given = {word.partition("=")[0] for word in pod["spec"]["containers"][0]["args"]}
    names = inspect.signature(distributed.main).parameters
    assert given == {f"--{name.replace('_', '-')}" for name in names}


def test_the_pod_is_as_confined_as_those_of_the_workers(pod: dict[str, Any]) -> None:
    spec, labels = pod["spec"], pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "flight-delays"
    assert labels["app.kubernetes.io/component"] == "train"
    assert labels["dag_id"] == DAG_ID
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 3_300
    assert spec["serviceAccountName"] == "trainer"
    assert spec["automountServiceAccountToken"] is False
    assert spec["priorityClassName"] == "ml-training"
    assert spec["securityContext"]["runAsNonRoot"] is True
    names = [container["name"] for container in spec["containers"]]
    assert names == ["base", "airflow-xcom-sidecar"]
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    assert mounts == {"tmp": "/tmp", "xcom": "/airflow/xcom"}


def test_no_secret_stands_in_the_pod(pod: dict[str, Any]) -> None:
    base = pod["spec"]["containers"][0]
    name = {"name": "flight-delays"}
    assert base["envFrom"] == [{"configMapRef": name}, {"secretRef": name}]
    # The addresses of training set and scheduler hold no credentials.
    args = [word for word in base["args"] if "://" not in word]
    told = json.dumps(base | {"envFrom": [], "args": args}).lower()
    assert [word for word in SECRET_WORDS if word in told] == []


def test_the_cluster_is_asked_about_every_pod_and_then_the_lake_must_be_shared(
    run: Run, api_server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run(DAG_ID, workers=3, memory="6Gi", cpu="2")
    outcome = states(done)
    assert outcome["check_cluster"] == "success"
    assert [path for path, _ in api_server.asked] == [
        "/api/v1/namespaces/ml-training/pods?dryRun=All",
        "/api/v1/namespaces/ml-training/pods?dryRun=All",
        "/apis/batch/v1/namespaces/ml-training/jobs?dryRun=All",
    ]
    for _, made in api_server.asked:
        kubernetes_validate.validate(made, KUBERNETES, strict=True)
    job = api_server.asked[-1][1]["spec"]
    assert job["parallelism"] == 3
    assert job["template"]["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": "6Gi"},
        "limits": {"memory": "6Gi"},
    }
    assert outcome["check_availability"] == "failed"
    assert "set FLIGHTDELAYS_LAKE to an S3 address" in "".join(capfd.readouterr())
    assert outcome["start_workers"] == outcome["stop_workers"] == "upstream_failed"


def test_who_may_not_make_workers_learns_it_first(
    run: Run, api_server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    api_server.refused = "Job"
    done = run(DAG_ID)
    assert states(done)["check_cluster"] == "failed"
    assert "the cluster does not take the training pod: jobs.batch is forbidden" in "".join(
        capfd.readouterr()
    )
