"""What a pod's status and events mean, in words. The cluster's own are in tests/k8s."""

import datetime
from typing import Any

import pytest
from kubernetes.client import models as k8s

from flightdelays import pod_trouble
from flightdelays.pod_trouble import Kind

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


def pod(phase: str = "Running", state: dict[str, Any] | None = None, **status: Any) -> k8s.V1Pod:
    """A pod with one container in a state."""
    container = k8s.V1ContainerStatus(
        name="base",
        image="train:1",
        image_id="",
        ready=False,
        restart_count=0,
        state=k8s.V1ContainerState(**(state or {})),
    )
    resources = k8s.V1ResourceRequirements(
        requests={"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "5"}, limits={"memory": "4Gi"}
    )
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="train-1", namespace="ml-training"),
        spec=k8s.V1PodSpec(
            containers=[k8s.V1Container(name="base", resources=resources)],
            active_deadline_seconds=60,
        ),
        status=k8s.V1PodStatus(phase=phase, container_statuses=[container], **status),
    )


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {
        "terminated": k8s.V1ContainerStateTerminated(exit_code=code, reason=reason, message=message)
    }


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": k8s.V1ContainerStateWaiting(reason=reason, message=message)}


def event(reason: str, message: str) -> k8s.CoreV1Event:
    return k8s.CoreV1Event(
        involved_object=k8s.V1ObjectReference(name="train-1"),
        metadata=k8s.V1ObjectMeta(name="e", creation_timestamp=NOW),
        reason=reason,
        message=message,
    )


NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
UNSCHEDULED = k8s.V1PodCondition(
    type="PodScheduled", status="False", reason="Unschedulable", message=NO_GPU
)
DISRUPTED = k8s.V1PodCondition(
    type="DisruptionTarget", status="True", reason="PreemptionByScheduler", message="preempted"
)
CASES = {
    "no node": (
        pod("Pending", conditions=[UNSCHEDULED]),
        (),
        Kind.UNSCHEDULABLE,
        f"no node can take train-1, which asks for 5 nvidia.com/gpu, 2 cpu, 4Gi memory (the "
        f"scheduler: {NO_GPU})",
        "describe pod train-1",
    ),
    "no node, by the events": (
        pod("Pending"),
        (event("FailedScheduling", "old"), event("FailedScheduling", "new")),
        Kind.UNSCHEDULABLE,
        "(the scheduler: new)",
        "kubectl describe nodes",
    ),
    "no image": (
        pod("Pending", waiting("ImagePullBackOff", "Back-off pulling image")),
        (),
        Kind.IMAGE,
        "the image train:1 of train-1 cannot be had (ImagePullBackOff: Back-off pulling image)",
        "describe pod train-1",
    ),
    "no secret": (
        pod("Pending", waiting("CreateContainerConfigError", 'secret "flight-delays" not found')),
        (),
        Kind.CONFIGURATION,
        '(secret "flight-delays" not found)',
        "get configmaps,secrets",
    ),
    "no memory": (
        pod("Failed", ended(137, "OOMKilled")),
        (),
        Kind.OUT_OF_MEMORY,
        "used more memory than its limit of 4Gi",
        "describe pod train-1",
    ),
    "evicted": (
        pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
        (),
        Kind.TAKEN_AWAY,
        "train-1 was evicted (The node was low on resource: memory.)",
        "describe pod train-1",
    ),
    "made room": (
        pod("Failed", ended(143), conditions=[DISRUPTED]),
        (),
        Kind.TAKEN_AWAY,
        "made room for a pod of higher priority",
        "describe pod train-1",
    ),
    "made room, by the events": (
        pod("Failed", ended(137)),
        (event("Preempted", "Preempted by ml-serving/model-server"),),
        Kind.TAKEN_AWAY,
        "made room for a pod of higher priority (Preempted by ml-serving/model-server)",
        "describe pod train-1",
    ),
    "too long": (
        pod("Failed", ended(137), reason="DeadlineExceeded"),
        (),
        Kind.DEADLINE,
        "ran longer than the 60 s it may take",
        "logs train-1 --container base",
    ),
    "its own error": (
        pod("Failed", ended(2, message="reading\nerror: s3://lake/gone is not in the lake\n")),
        (),
        Kind.FAILED,
        "ended with exit code 2: error: s3://lake/gone is not in the lake",
        "logs train-1 --container base",
    ),
    "killed": (
        pod("Failed", ended(143)),
        (),
        Kind.FAILED,
        "exit code 143, by SIGTERM from outside",
        "logs train-1 --container base",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_trouble_is_told_in_words_with_a_command(name: str) -> None:
    case, events, kind, words, look = CASES[name]
    trouble = pod_trouble.of(case, events)
    assert trouble is not None
    assert trouble.kind is kind
    assert words in trouble.text
    assert look in trouble.look
    assert str(trouble) == f"{trouble.text}. To look further: {trouble.look}"


def test_a_deleted_pod_was_taken_away_whatever_its_container_says() -> None:
    deleted = pod("Running", ended(137))
    deleted.metadata.deletion_timestamp = NOW
    trouble = pod_trouble.of(deleted)
    assert trouble is not None
    assert trouble.kind is Kind.TAKEN_AWAY
    assert "was deleted while it ran" in trouble.text


def test_the_figures_that_a_decision_needs_are_kept() -> None:
    killed = pod_trouble.of(CASES["no memory"][0])
    failed = pod_trouble.of(CASES["its own error"][0])
    assert killed is not None
    assert failed is not None
    assert (killed.memory, failed.exit_code) == ("4Gi", 2)


@pytest.mark.parametrize(
    "fine",
    [
        pod("Running", {"running": k8s.V1ContainerStateRunning(started_at=NOW)}),
        pod("Succeeded", ended(0, "Completed")),
        pod("Pending", waiting("ContainerCreating", "")),
    ],
)
def test_a_pod_that_is_well_has_none(fine: k8s.V1Pod) -> None:
    assert pod_trouble.of(fine, (event("Scheduled", "assigned to node"),)) is None
