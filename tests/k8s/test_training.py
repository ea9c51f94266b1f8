"""A training in a pod with a GPU, from the run in Airflow to the model in MLflow."""

import threading
import time
from typing import Any

import pytest

from course.cluster.sandbox import AIRFLOW, SERVING, TRAINING, Sandbox, wait
from flightdelays import pods

pytestmark = pytest.mark.cluster
DAG = "train_on_gpu_pod"
SMALL = {"train_from": "2013-07", "cpu": "300m", "memory": "2Gi"}


class Watched:
    """The training pods of a run, seen once a second while they are there."""

    def __init__(self, cluster: Sandbox) -> None:
        self._cluster, self._end = cluster, threading.Event()
        self.pods: dict[str, Any] = {}

    def __enter__(self) -> "Watched":
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.5):
            for pod in self._cluster.pods(dag_id=DAG):
                self.pods[pod.metadata.name] = pod


def test_a_pod_with_a_gpu_trains_and_its_model_is_in_mlflow(cluster: Sandbox) -> None:
    with Watched(cluster) as seen:
        run_id = cluster.trigger(DAG, **SMALL)
        assert cluster.finish(DAG, run_id)["state"] == "success"
    (pod,) = seen.pods.values()
    base = next(each for each in pod.spec.containers if each.name == "base")
    assert base.resources.limits["nvidia.com/gpu"] == "1"
    assert (pod.spec.service_account_name, pod.spec.priority_class_name) == (
        "trainer",
        "ml-training",
    )
    result = cluster.result(DAG, run_id, "train")
    assert result["model"] == "xgboost"
    assert result["rows"] > 20_000
    assert result["node"] == pod.spec.node_name
    # The cluster of the tests claims GPUs and has none: the same image computes on the CPU.
    assert result["device"] in {"cpu", "cuda"}
    log = cluster.log(DAG, run_id, "train")
    assert f"training xgboost on {result['rows']:,} flights, device {result['device']}" in log
    wait(lambda: not cluster.pods(dag_id=DAG), "a pod that succeeded is deleted", 60)
    logged = cluster.kubectl(
        "--namespace",
        AIRFLOW,
        "exec",
        "deploy/mlflow",
        "--",
        "python",
        "-c",
        "import os, mlflow; mlflow.set_tracking_uri('http://127.0.0.1:5000'); "
        f"print(mlflow.get_run('{result['run_id']}').data.params['model'])",
    )
    assert logged.strip().endswith("xgboost")


def test_a_pod_that_is_deleted_in_mid_training_is_replaced_and_goes_on(cluster: Sandbox) -> None:
    run_id = cluster.trigger(DAG, **SMALL, rounds=4000)
    first = _running(cluster)
    # Two checkpoints are written every five seconds; the training takes longer than both.
    time.sleep(14)
    cluster.core.delete_namespaced_pod(first, TRAINING, grace_period_seconds=0)
    assert cluster.finish(DAG, run_id, 400)["state"] == "success"
    assert cluster.task(DAG, run_id, "train")["try_number"] == 2
    assert "another pod takes over" in cluster.log(DAG, run_id, "train", 1)
    result = cluster.result(DAG, run_id, "train")
    assert 0 < result["resumed"] < 4000
    assert f"going on after {result['resumed']} of 4000 trees" in cluster.log(
        DAG, run_id, "train", 2
    )


@pytest.mark.long
def test_serving_pushes_a_training_aside_which_goes_on_afterwards(cluster: Sandbox) -> None:
    """Pre-emption by the scheduler itself: all GPUs are wanted by a pod of higher priority."""
    run_id = cluster.trigger(DAG, **SMALL, rounds=4000)
    first = _running(cluster)
    time.sleep(14)
    _occupy(cluster)
    try:
        wait(lambda: first not in _names(cluster), "the training pod makes room", 120)
    finally:
        cluster.core.delete_namespaced_pod("urgent", SERVING, grace_period_seconds=0)
    assert cluster.finish(DAG, run_id, 400)["state"] == "success"
    assert cluster.task(DAG, run_id, "train")["try_number"] >= 2
    assert cluster.result(DAG, run_id, "train")["resumed"] > 0


def _names(cluster: Sandbox) -> list[str]:
    return [pod.metadata.name for pod in cluster.pods(dag_id=DAG)]


def _running(cluster: Sandbox) -> str:
    """Name of the training pod, once its container runs."""

    def look() -> str | None:
        for pod in cluster.pods(dag_id=DAG):
            for each in pod.status.container_statuses or []:
                if each.name == "base" and each.state.running:
                    return str(pod.metadata.name)
        return None

    return wait(look, "the training pod runs", 200, 0.5)


def _occupy(cluster: Sandbox) -> None:
    """A pod of the class of serving that wants a GPU which only the training could give up."""
    from kubernetes.client import models as k8s

    (node,) = cluster.core.list_node(label_selector="nvidia.com/gpu.present=true").items
    devices = {"nvidia.com/gpu": node.status.allocatable["nvidia.com/gpu"]}
    container = k8s.V1Container(
        name="base",
        image="airflow-ml-course/training:3.3.2",
        command=["sleep", "300"],
        resources=k8s.V1ResourceRequirements(
            requests={"cpu": "10m", "memory": "16Mi", **devices},
            limits={"cpu": "100m", "memory": "64Mi", **devices},
        ),
        security_context=pods.HARDENED,
    )
    cluster.core.create_namespaced_pod(
        SERVING,
        k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(name="urgent"),
            spec=k8s.V1PodSpec(
                containers=[container],
                priority_class_name="ml-serving",
                automount_service_account_token=False,
                tolerations=[k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists")],
                security_context=k8s.V1PodSecurityContext(run_as_non_root=True, run_as_user=1000),
            ),
        ),
    )
