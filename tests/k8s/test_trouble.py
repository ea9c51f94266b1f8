"""What a cluster really says when a pod cannot be run, and what Airflow makes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from course.cluster.sandbox import TRAINING, Sandbox, wait

pytestmark = pytest.mark.cluster
DAG = "train_on_gpu_pod"
SMALL = {"train_from": "2013-08", "cpu": "300m", "memory": "2Gi"}


@contextmanager
def gpus(cluster: Sandbox, number: int) -> Iterator[None]:
    """The node claims so many GPUs for a while."""
    (node,) = cluster.core.list_node(label_selector="nvidia.com/gpu.present=true").items
    before = node.status.allocatable["nvidia.com/gpu"]
    _claim(cluster, node.metadata.name, str(number))
    try:
        yield
    finally:
        _claim(cluster, node.metadata.name, before)


def _claim(cluster: Sandbox, node: str, number: str) -> None:
    devices = {"nvidia.com/gpu": number}
    cluster.core.patch_node_status(node, {"status": {"capacity": devices, "allocatable": devices}})


@contextmanager
def variable(cluster: Sandbox, key: str, value: str) -> Iterator[None]:
    """A Variable of Airflow has a value for a while; one in the environment goes before it."""
    cluster.api.request("POST", "/api/v2/variables", json={"key": key, "value": value})
    try:
        yield
    finally:
        cluster.api.request("DELETE", f"/api/v2/variables/{key}")


def told(cluster: Sandbox, run_id: str, words: str, attempt: int = 1) -> Callable[[], str | None]:
    """The log of `train`, as soon as it says these words."""

    def look() -> str | None:
        task = cluster.task(DAG, run_id, "train")
        if task["state"] in {None, "queued", "scheduled"}:
            return None
        log = cluster.log(DAG, run_id, "train", attempt)
        return log if words in log else None

    return look


def test_no_free_gpu_is_explained_while_the_pod_waits(cluster: Sandbox) -> None:
    with gpus(cluster, 1):
        run_id = cluster.trigger(DAG, **SMALL, gpus=2)
        wait(lambda: cluster.pods(dag_id=DAG), "the pod is made", 200, 0.5)
        log = wait(told(cluster, run_id, "no node can take"), "the log explains it", 90)
        assert "asks for 2 nvidia.com/gpu" in log
        assert "Insufficient nvidia.com/gpu" in log
        assert f"kubectl --namespace {TRAINING} describe pod train-" in log
        # A person gives up: the pod goes with the run.
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}"
        cluster.api.request("PATCH", path, json={"state": "failed"})
        wait(lambda: not cluster.pods(dag_id=DAG), "the pod is gone", 90)


@pytest.mark.long
def test_an_image_that_is_not_there_fails_at_once_and_says_so(cluster: Sandbox) -> None:
    log, run = _failed(cluster, image="flight-delays:no-such-tag")
    assert "the image flight-delays:no-such-tag of train-" in log
    assert "cannot be had" in log
    assert run["try_number"] == 1
    wait(lambda: not cluster.pods(dag_id=DAG), "a pod that never ran is removed", 60)


@pytest.mark.long
def test_a_missing_secret_fails_at_once_and_names_it(cluster: Sandbox) -> None:
    secret = cluster.core.read_namespaced_secret("flight-delays", TRAINING)
    cluster.core.delete_namespaced_secret("flight-delays", TRAINING)
    try:
        log, run = _failed(cluster)
    finally:
        secret.metadata.resource_version = secret.metadata.uid = None
        cluster.core.create_namespaced_secret(TRAINING, secret)
    assert 'secret "flight-delays" not found' in log.replace("\\\\", "").replace('\\"', '"')
    assert run["try_number"] == 1


def test_memory_is_raised_once(cluster: Sandbox) -> None:
    """128 MiB do not hold the libraries; twice as much does not either."""
    run_id = cluster.trigger(DAG, **{**SMALL, "memory": "128Mi"})
    assert cluster.finish(DAG, run_id, 300)["state"] == "failed"
    first, second = (cluster.log(DAG, run_id, "train", attempt) for attempt in (1, 2))
    assert "used more memory than its limit of 128Mi" in first
    assert "out of memory with 128Mi: once more with 256Mi" in first
    assert "This try has 256Mi of memory" in second
    assert "out of memory with 256Mi too, twice what it had at first" in second
    assert cluster.task(DAG, run_id, "train")["try_number"] == 2


@pytest.mark.long
def test_wrong_input_is_not_tried_again(cluster: Sandbox) -> None:
    """The program in the pod says what is wrong; its last line is in the message."""
    log, run = _failed(cluster, model="logistic", rounds=10)
    assert "ended with exit code 2" in log
    assert "rounds is the number of trees of xgboost: logistic takes none" in log
    assert run["try_number"] == 1


def _failed(cluster: Sandbox, image: str = "", **conf: Any) -> tuple[str, dict[str, Any]]:
    """Log and task of a run that fails."""
    if image:
        conf["image"] = image
    run_id = cluster.trigger(DAG, **SMALL, **conf)
    assert cluster.finish(DAG, run_id, 200)["state"] == "failed"
    return cluster.log(DAG, run_id, "train"), cluster.task(DAG, run_id, "train")
