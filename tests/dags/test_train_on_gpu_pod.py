"""The pod that the operator really builds, and a run where no cluster, or a strict one, answers."""

import json
import time
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

Run = Callable[..., Any]
KUBERNETES = "1.37"
SECRET_WORDS = ("secret", "password", "token", "credential", "access_key", "api_key", "://")


def validate(pod: dict[str, Any]) -> None:
    """Refuse what Kubernetes' own schema does not know or would not take."""
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.fixture
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig that is absent, so that a person's own cluster is never asked."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", raising=False)
    return path


def kubeconfig(path: Path, address: str) -> None:
    """Write a kubeconfig whose current context is a cluster at an address."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": address}}],
                "users": [{"name": "me", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "current-context": "here",
            }
        ),
        "utf-8",
    )


class ApiServer:
    """What a Kubernetes API server does with a pod: it takes it, or says why not."""

    def __init__(self) -> None:
        self.refusal: dict[str, Any] | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pod = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, pod))
                answer = outer.refusal or pod
                self.answer(answer.get("code", 201), answer)

            def do_GET(self) -> None:
                self.answer(200, {"kind": "Pod", "spec": {"containers": [{"name": "base"}]}})

            def do_PATCH(self) -> None:
                self.do_GET()

            def answer(self, code: int, content: dict[str, Any]) -> None:
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def api_server(no_cluster: Path) -> Iterator[ApiServer]:
    made = ApiServer()
    kubeconfig(no_cluster, f"http://127.0.0.1:{made.server.server_port}")
    thread = Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def operator(dagbag: Any, api_server: ApiServer) -> Any:
    """The task `train`."""
    return deepcopy(dagbag.dags["train_on_gpu_pod"].get_task("train"))


@pytest.fixture
def pod(operator: Any, dagbag: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The pod as it goes to the cluster: templates rendered, every part as JSON."""
    from airflow.sdk.execution_time.context import VariableAccessor
    from kubernetes.client import ApiClient

    monkeypatch.setenv("AIRFLOW_VAR_TRAINING_IMAGE", "registry.example.com/train:2.0")
    months = {"train_from": "2013-01", "train_to": "2013-08", "validation": "2013-09"}
    returned = {
        "build_training_set": "s3://lake/runs/one/training_set.parquet",
        "check_availability": months,
    }
    context = {
        "ti": SimpleNamespace(
            dag_id="train_on_gpu_pod",
            task_id="train",
            try_number=1,
            map_index=-1,
            xcom_pull=returned.__getitem__,
        ),
        "run_id": "manual__2013-10-01",
        "dag": dagbag.dags["train_on_gpu_pod"],
        "params": {
            "model": "xgboost",
            "rounds": None,
            "image": None,
            "gpus": 2,
            "cpu": "3",
            "memory": "6Gi",
        },
        "var": {"value": VariableAccessor(deserialize_json=False)},
    }
    operator.render_template_fields(context)
    built = operator.build_pod_request_obj(context)
    clean: dict[str, Any] = ApiClient().sanitize_for_serialization(built)
    return clean


@pytest.fixture
def base(pod: dict[str, Any]) -> dict[str, Any]:
    """The container that trains."""
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def test_the_pod_is_one_that_kubernetes_knows(pod: dict[str, Any]) -> None:
    validate(pod)
    assert (pod["kind"], pod["metadata"]["namespace"]) == ("Pod", "ml-training")
    assert pod["spec"]["restartPolicy"] == "Never"  # another try is Airflow's to decide


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda spec: spec.update(serviceAccount_name="trainer"), "serviceAccount_name"),
        (lambda spec: spec.update(activeDeadlineSeconds="3300"), "3300"),
        (lambda spec: spec["containers"][0].update(gpu=1), "gpu"),
        (lambda spec: spec["containers"][0].pop("name"), "name"),
        (lambda spec: spec.update(tolerations={"key": "nvidia.com/gpu"}), "nvidia.com/gpu"),
        (lambda spec: spec["containers"][0]["resources"].update(limit={}), "limit"),
    ],
)
def test_a_wrong_pod_is_refused(
    pod: dict[str, Any], spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    """So the test before this one can fail."""
    spoil(pod["spec"])
    with pytest.raises(kubernetes_validate.ValidationError, match=message):
        validate(pod)


def test_the_container_runs_the_command_that_a_laptop_runs(base: dict[str, Any]) -> None:
    assert base["image"] == "registry.example.com/train:2.0"
    assert base["command"] == ["python", "-m", "flightdelays.train"]
    assert base["args"] == [
        "--source=s3://lake/runs/one/training_set.parquet",
        "--train-from=2013-01",
        "--train-to=2013-08",
        "--validation=2013-09",
        "--model=xgboost",
        "--rounds=0",
        "--run=manual__2013-10-01",
        "--result=/airflow/xcom/return.json",
    ]


def test_the_options_are_those_that_the_command_has(base: dict[str, Any]) -> None:
    import inspect

    from flightdelays import train

    given = {word.partition("=")[0] for word in base["args"]}
    known = {f"--{name.replace('_', '-')}" for name in inspect.signature(train.main).parameters}
    assert given == known


def test_gpus_are_requested_and_limited_and_memory_too(base: dict[str, Any]) -> None:
    assert base["resources"] == {
        "requests": {"cpu": "3", "memory": "6Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "6Gi", "nvidia.com/gpu": "2"},
    }


def test_the_pod_goes_to_a_gpu_node_and_rather_to_a_cheap_one(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    tolerated = {item["key"]: (item["operator"], item["effect"]) for item in spec["tolerations"]}
    assert tolerated == dict.fromkeys(
        (
            "nvidia.com/gpu",
            "cloud.google.com/gke-spot",
            "kubernetes.azure.com/scalesetpriority",
            "karpenter.sh/capacity-type",
        ),
        ("Exists", "NoSchedule"),
    )
    affinity = spec["affinity"]["nodeAffinity"]
    assert list(affinity) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    (preferred,) = affinity.values()
    asked = [term["preference"]["matchExpressions"][0] for term in preferred]
    assert {item["key"]: item["values"][0] for item in asked} == {
        "cloud.google.com/gke-spot": "true",
        "kubernetes.azure.com/scalesetpriority": "spot",
        "karpenter.sh/capacity-type": "spot",
    }


def test_the_pod_may_do_nothing_that_training_does_not_need(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["serviceAccountName"] == "trainer"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert [container["name"] for container in spec["containers"]] == [
        "base",
        "airflow-xcom-sidecar",
    ]
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_what_it_writes_goes_to_tmp_and_to_the_sidecar(
    pod: dict[str, Any], base: dict[str, Any]
) -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in base["volumeMounts"]}
    assert mounts == {"tmp": "/tmp", "xcom": "/airflow/xcom"}
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod["spec"]["volumes"]}
    assert volumes == {"tmp": {"sizeLimit": "2Gi"}, "xcom": {}}
    (shared,) = pod["spec"]["containers"][1]["volumeMounts"]
    assert shared == {"name": "xcom", "mountPath": "/airflow/xcom"}


def test_no_address_and_no_secret_stands_in_the_pod(base: dict[str, Any]) -> None:
    name = {"name": "flight-delays"}
    assert base["envFrom"] == [{"configMapRef": name}, {"secretRef": name}]
    values = {entry["name"]: entry["value"] for entry in base["env"] if "value" in entry}
    assert values == {"HOME": "/tmp"}
    (node,) = (entry for entry in base["env"] if "valueFrom" in entry)
    assert node["name"] == "NODE_NAME"
    assert node["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    # The training set's own address is the only one, and it holds no credentials.
    told = json.dumps(base | {"envFrom": [], "args": base["args"][1:]}).lower()
    assert [word for word in SECRET_WORDS if word in told] == []


def test_the_pod_ends_before_its_task_and_its_task_is_told_apart(
    pod: dict[str, Any], operator: Any
) -> None:
    assert pod["spec"]["activeDeadlineSeconds"] == 3_300
    assert operator.execution_timeout.total_seconds() == 3_600
    assert pod["spec"]["priorityClassName"] == "ml-training"
    labels = pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "flight-delays"
    assert (labels["dag_id"], labels["task_id"]) == ("train_on_gpu_pod", "train")
    assert operator.deferrable
    assert operator.durable
    assert operator.retries == 3
    assert operator.on_finish_action == "delete_succeeded_pod"


def test_without_a_cluster_the_run_fails_at_once_and_says_how_to_get_one(
    run: Run, no_cluster: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic()
    done = run("train_on_gpu_pod")
    assert time.monotonic() - begin < 30
    assert done.state == "failed"
    outcome = states(done)
    assert outcome["check_cluster"] == "failed"
    assert outcome["train"] == "upstream_failed"
    told = "".join(capfd.readouterr())
    assert "no Kubernetes cluster answers (Invalid kube-config file" in told
    assert "kind create cluster --name course" in told


def test_a_cluster_that_is_down_is_named(
    run: Run, no_cluster: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kubeconfig(no_cluster, "http://127.0.0.1:1")
    done = run("train_on_gpu_pod")
    assert states(done)["check_cluster"] == "failed"
    told = "".join(capfd.readouterr())
    assert "no Kubernetes cluster answers (" in told
    assert "port=1" in told


def test_the_cluster_is_asked_about_the_very_pod_and_then_the_lake_must_be_shared(
    run: Run, api_server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run("train_on_gpu_pod", gpus=3)
    assert states(done)["check_cluster"] == "success"
    ((path, pod),) = api_server.asked
    assert path == "/api/v1/namespaces/ml-training/pods?dryRun=All"
    validate(pod)
    assert pod["spec"]["containers"][0]["image"] == "flight-delays:0.1.0"
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "3"
    assert states(done)["check_availability"] == "failed"
    assert "set FLIGHTDELAYS_LAKE to an S3 address" in "".join(capfd.readouterr())


def test_a_refusal_is_told_in_the_words_of_the_cluster(
    run: Run, api_server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    words = 'pods "train-1" is forbidden: error looking up service account'
    api_server.refusal = {"kind": "Status", "code": 403, "message": words}
    done = run("train_on_gpu_pod")
    assert states(done)["check_cluster"] == "failed"
    told = "".join(capfd.readouterr())
    assert f"the cluster does not take the training pod: {words}. What it needs" in told
    assert "kubectl apply --kustomize k8s/overlays/local" in told


def test_a_quota_that_is_used_up_is_worth_another_try() -> None:
    from kubernetes.client import ApiException

    from flightdelays import pods
    from flightdelays.errors import ServiceError

    words = 'pods "train-1" is forbidden: exceeded quota: gpus, requested: 1, used: 4, limited: 4'
    refused = ApiException(status=403)
    refused.body = json.dumps({"message": words})
    with pytest.raises(ServiceError, match=r"no room for the pod now: .* limited: 4"):
        pods.raise_refusal(refused)
    pods.raise_refusal(ApiException(status=500))  # a fault of the cluster is left as it is
    pods.raise_refusal(OSError())
