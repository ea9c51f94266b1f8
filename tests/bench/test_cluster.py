"""Kubernetes: how long pods take to start, and what Airflow adds to the time of a container.

On the cluster of the current context, in namespaces of its own. Kubernetes' own timestamps are
whole seconds, so what lasts a few is timed from here, by watching.
"""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from course.cluster import target
from course.cluster.sandbox import AIRFLOW, TRAINING, Sandbox, sandbox, wait
from course.errors import CourseError

from .conftest import Record

TIMES = 5
DAG = "train_on_gpu_pod"
SMALL = {"cpu": "300m", "memory": "3Gi"}
IDLE = 30
"""Seconds in which what a start leaves behind calms down."""


@pytest.fixture(scope="module")
def cluster(figure: Record) -> Iterator[Sandbox]:
    begin = time.monotonic()
    try:
        with sandbox() as running:
            # Neither the images count nor the removal of what was left behind; and there is
            # nothing to count where the platform of a run before is used again.
            if running.prepared:
                figure("k8s_up", time.monotonic() - begin - running.prepared, "s", "-")
            yield running
    except CourseError as error:
        pytest.skip(str(error))


class Watch:
    """When the base container of each pod began and ended, by this machine's clock."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.created: dict[str, float] = {}
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def __enter__(self) -> "Watch":
        threading.Thread(target=self._follow, daemon=True).start()
        time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()

    def _follow(self) -> None:
        from kubernetes.client import ApiClient, CoreV1Api
        from kubernetes.watch import Watch as Stream

        api, self._watch = CoreV1Api(ApiClient(target.settings())), Stream()
        listing = api.list_namespaced_pod
        # The stream ends here, in order; the default would be its being cut off.
        for event in self._watch.stream(listing, self._namespace, timeout_seconds=600):
            now, pod = time.time(), event["object"]
            name = pod.metadata.name
            self.created.setdefault(name, now)
            for each in pod.status.container_statuses or []:
                if each.name == "base" and each.state.running:
                    self.began.setdefault(name, now)
                if each.name == "base" and each.state.terminated:
                    self.ended.setdefault(name, now)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_memory_and_requests(cluster: Sandbox, figure: Record) -> None:
    time.sleep(IDLE)
    held = 0.0
    for node in cluster.core.list_node().items:
        path = f"/api/v1/nodes/{node.metadata.name}/proxy/stats/summary"
        for pod in json.loads(cluster.kubectl("get", "--raw", path))["pods"]:
            if pod["podRef"]["namespace"] == AIRFLOW:
                held += sum(c["memory"]["workingSetBytes"] for c in pod["containers"])
    assert held
    figure("k8s_idle_memory", held / 2**20, "MB", "-")
    asked = 0
    for pod in cluster.pods(AIRFLOW):
        for container in pod.spec.containers if pod.status.phase == "Running" else ():
            asked += int(container.resources.requests["cpu"].removesuffix("m"))
    figure("k8s_requests_cpu", asked / 1000, "CPU", "-")


def test_pod_start(cluster: Sandbox, figure: Record) -> None:
    """From the request to the API to the running container, image on the node."""
    from kubernetes.client import models as k8s

    took = []
    with Watch(TRAINING) as seen:
        for number in range(TIMES):
            name = f"start-{number}"
            container = k8s.V1Container(
                name="base",
                image="airflow-ml-course/training:3.3.2",
                command=["sleep", "20"],
                resources=k8s.V1ResourceRequirements(limits={"cpu": "100m", "memory": "64Mi"}),
            )
            spec = k8s.V1PodSpec(containers=[container], restart_policy="Never")
            pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name=name), spec=spec)
            asked = time.time()
            cluster.core.create_namespaced_pod(TRAINING, pod)
            wait(lambda name=name: name in seen.began, name, 60, 0.05)  # type: ignore[misc]
            took.append(seen.began[name] - asked)
            cluster.core.delete_namespaced_pod(name, TRAINING, grace_period_seconds=0)
            time.sleep(3)
    figure("k8s_pod_start", took, "s", "≤ 5 s")


def test_executor(cluster: Sandbox, figure: Record) -> None:
    """From queued to finished: a task that does nothing, in a pod of its own."""
    took = []
    for _ in range(TIMES):
        run_id = cluster.trigger("k8s_probe")
        assert cluster.finish("k8s_probe", run_id)["state"] == "success"
        task = cluster.task("k8s_probe", run_id, "in_a_pod")
        took.append(seconds(task["end_date"]) - seconds(task["queued_when"]))
    figure("k8s_executor_noop", took, "s", "≤ 20 s")


def test_operator(cluster: Sandbox, figure: Record) -> None:
    """Training on January to August, three times; what is not the container's time is overhead."""
    run_id = cluster.trigger("build_features")
    assert cluster.finish("build_features", run_id, 400)["state"] == "success"
    overheads, containers = [], []
    for _ in range(3):
        wait(lambda: not cluster.pods(), "the pod before is gone", 90)
        with Watch(TRAINING) as seen:
            run_id = cluster.trigger(DAG, **SMALL)
            assert cluster.finish(DAG, run_id)["state"] == "success"
        task = cluster.task(DAG, run_id, "train")
        (name,) = seen.ended
        container = seen.ended[name] - seen.began[name]
        containers.append(container)
        overheads.append(seconds(task["end_date"]) - seconds(task["start_date"]) - container)
    figure("k8s_train_container", containers, "s", "-")
    figure("k8s_pod_overhead", overheads, "s", "≤ 8 s")


def test_unschedulable(cluster: Sandbox, figure: Record) -> None:
    """Until the log of the task says in words that no node has so many GPUs."""
    (node,) = cluster.core.list_node(label_selector="nvidia.com/gpu.present=true").items
    before = node.status.allocatable["nvidia.com/gpu"]

    def claim(number: str) -> None:
        devices = {"nvidia.com/gpu": number}
        body = {"status": {"capacity": devices, "allocatable": devices}}
        cluster.core.patch_node_status(node.metadata.name, body)

    claim("1")
    try:
        run_id = cluster.trigger(DAG, **SMALL, train_from="2013-08", gpus=2)

        def started() -> Any:
            return cluster.task(DAG, run_id, "train")["start_date"]

        start = seconds(wait(started, "the task starts", 200))
        wait(lambda: "no node can take" in cluster.log(DAG, run_id, "train"), "the words", 120, 0.5)
        figure("k8s_unschedulable_told", datetime.now(UTC).timestamp() - start, "s", "≤ 60 s")
        path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}"
        cluster.api.request("PATCH", path, json={"state": "failed"})
        wait(lambda: not cluster.pods(dag_id=DAG), "the pod is gone", 90)
    finally:
        claim(before)


def test_resume(cluster: Sandbox, figure: Record) -> None:
    """From the loss of a pod in mid-training until the container of the next one runs."""
    with Watch(TRAINING) as seen:
        run_id = cluster.trigger(DAG, **SMALL, train_from="2013-07", rounds=4000)
        first = wait(lambda: next(iter(seen.began), None), "the first pod", 200, 0.1)
        time.sleep(14)
        lost = time.time()
        cluster.core.delete_namespaced_pod(first, TRAINING, grace_period_seconds=0)
        second = wait(
            lambda: next((name for name in seen.began if name != first), None), "the next", 200, 0.1
        )
        figure("k8s_resumed", seen.began[second] - lost, "s", "-")
        assert cluster.finish(DAG, run_id, 400)["state"] == "success"
    assert cluster.result(DAG, run_id, "train")["resumed"] > 0
