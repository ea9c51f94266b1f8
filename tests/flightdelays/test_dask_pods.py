"""The objects of Dask's cluster as they go to Kubernetes. A real one runs them: tests/k8s."""

import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
from kubernetes.client import ApiClient

from flightdelays import dask_objects, dask_pods

KUBERNETES = "1.37"
RUN = "manual__2013-10-01T00:00:00+00:00"
IMAGE = "registry.example.com/train:2.0"
HARDENED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def plain(made: Any) -> dict[str, Any]:
    """An object as JSON."""
    clean: dict[str, Any] = ApiClient().sanitize_for_serialization(made)
    return clean


@pytest.fixture
def scheduler() -> dict[str, Any]:
    return plain(dask_objects.scheduler("ml-training", IMAGE, RUN))


@pytest.fixture
def job() -> dict[str, Any]:
    leader = dask_objects.scheduler("ml-training", IMAGE, RUN)
    leader.metadata.uid = "1-2-3"
    return plain(
        dask_objects.workers_of(leader, IMAGE, RUN, 3, "2Gi", "500m", "tcp://10.0.0.7:8786")
    )


@pytest.fixture
def cluster() -> dict[str, Any]:
    return dask_objects.dask_cluster("ml-training", IMAGE, RUN, 3, "2Gi", "500m")


@pytest.fixture
def specs(
    scheduler: dict[str, Any], job: dict[str, Any], cluster: dict[str, Any]
) -> list[dict[str, Any]]:
    """What all pods are made of: scheduler, worker, and the two of the DaskCluster."""
    both = [cluster["spec"][role]["spec"] for role in ("scheduler", "worker")]
    return [scheduler["spec"], job["spec"]["template"]["spec"], *both]


def test_kubernetes_knows_what_is_made(
    scheduler: dict[str, Any], job: dict[str, Any], specs: list[dict[str, Any]]
) -> None:
    as_pods = [scheduler | {"spec": spec} for spec in specs]
    for made in (scheduler, job, *as_pods):
        kubernetes_validate.validate(made, KUBERNETES, strict=True)


def test_no_pod_may_do_what_it_need_not(specs: list[dict[str, Any]]) -> None:
    for spec in specs:
        assert spec["serviceAccountName"] == "trainer"
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["priorityClassName"] == "ml-training"
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == HARDENED
        assert container["image"] == IMAGE
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        name = {"name": "flight-delays"}
        assert container["envFrom"] == [{"configMapRef": name}, {"secretRef": name}]


def test_all_labels_say_whose_it_is(
    scheduler: dict[str, Any], job: dict[str, Any], cluster: dict[str, Any]
) -> None:
    common = {
        "app.kubernetes.io/name": "flight-delays",
        "app.kubernetes.io/component": "dask",
        "app.kubernetes.io/part-of": "airflow-ml-course",
        "app.kubernetes.io/instance": dask_objects.name_of(RUN),
    }
    worker = common | {"flight-delays/dask": "worker"}
    assert scheduler["metadata"]["labels"] == common | {"flight-delays/dask": "scheduler"}
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"] == worker
    assert cluster["metadata"]["labels"] == common
    assert cluster["spec"]["worker"]["metadata"]["labels"] == {"flight-delays/dask": "worker"}


def test_a_run_has_one_name_that_kubernetes_takes() -> None:
    long = dask_objects.name_of("scheduled__" + "x" * 200)
    assert long == dask_objects.name_of("scheduled__" + "x" * 200)
    assert long != dask_objects.name_of("scheduled__" + "x" * 199)
    # Dask's operator appends words to it that count, too.
    assert re.fullmatch(r"dask-[0-9a-f]{10}", long)


def test_the_workers_go_with_their_scheduler(job: dict[str, Any]) -> None:
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == (
        "Pod",
        f"{dask_objects.name_of(RUN)}-scheduler",
        "1-2-3",
    )
    # The right to create a Job does not reach to blocking a pod's deletion.
    assert "blockOwnerDeletion" not in owner


def test_every_worker_has_one_thread_and_its_memory(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert (spec["parallelism"], spec["completions"]) == (3, 3)
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"][:3] == ["dask", "worker", "tcp://10.0.0.7:8786"]
    assert {"--nthreads=1", "--memory-limit=2GiB", "--local-directory=/tmp"} < set(
        container["command"]
    )
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"memory": "2Gi"},
    }


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_dask_takes_the_options(cluster: dict[str, Any], role: str) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    known = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[role]
    (container,) = cluster["spec"][role]["spec"]["containers"]
    assert container["command"][:2] == ["dask", role]
    known.make_context(role, container["command"][2:])  # raises if it does not


def test_the_memory_is_a_number_to_dask(job: dict[str, Any]) -> None:
    from dask.utils import parse_bytes

    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    (limit,) = (word for word in command if word.startswith("--memory-limit="))
    assert parse_bytes(limit.partition("=")[2]) == 2 * 1024**3


def test_all_ends_by_itself(scheduler: dict[str, Any], job: dict[str, Any]) -> None:
    assert scheduler["spec"]["activeDeadlineSeconds"] == dask_objects.LIFETIME
    assert job["spec"]["activeDeadlineSeconds"] == dask_objects.LIFETIME
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert job["spec"]["podFailurePolicy"]["rules"][0]["action"] == "Ignore"


def test_workers_may_be_on_spot_nodes_and_nothing_is_on_gpu_nodes(
    scheduler: dict[str, Any], job: dict[str, Any]
) -> None:
    assert "tolerations" not in scheduler["spec"]
    tolerated = {item["key"] for item in job["spec"]["template"]["spec"]["tolerations"]}
    assert "cloud.google.com/gke-spot" in tolerated
    assert "nvidia.com/gpu" not in tolerated


def test_the_ports_of_the_dask_cluster_have_names(cluster: dict[str, Any]) -> None:
    """The operator looks for these, and its schema refuses numbers where a name may stand."""
    ports = cluster["spec"]["scheduler"]["service"]["ports"]
    assert [(port["name"], port["port"]) for port in ports] == [
        ("tcp-comm", 8786),
        ("http-dashboard", 8787),
    ]
    assert [port["targetPort"] for port in ports] == ["tcp-comm", "http-dashboard"]
    (container,) = cluster["spec"]["scheduler"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["port"] == "http-dashboard"


def test_waiting_says_each_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reasons = iter(["no node", "no node", "no image"])

    def look() -> str:
        reason = next(reasons, "")
        if reason:
            raise dask_pods._NotYetError(reason)
        return "there"

    assert dask_pods._until(look, patience=10, pause=0) == "there"
    assert [record.message for record in caplog.records] == ["no node", "no image"]


def test_after_the_patience_the_last_reason_is_the_error() -> None:
    def look() -> Callable[[], None]:
        raise dask_pods._NotYetError("no node")

    with pytest.raises(dask_pods.ServiceError, match="no node"):
        dask_pods._until(look, patience=0)
