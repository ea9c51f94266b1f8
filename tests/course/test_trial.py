"""A trial of a pod without a cluster: what is sent, how an answer is read, and who gets none."""

import importlib.util
from typing import Any

import pytest
from kubernetes.client import models as k8s

from course.cluster import target
from course.cluster.trial import DEADLINE, LABEL, PROBE, SIDECAR, prepare, state
from course.config import REPOSITORY

POD: dict[str, Any] = {
    "metadata": {"name": "train-1", "namespace": "ml-training", "labels": {"a": "b"}},
    "spec": {
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "containers": [
            {
                "name": "base",
                "image": "mine:1",
                "command": ["python", "-m", "flightdelays.train"],
                "args": ["--rows=1"],
                "envFrom": [{"secretRef": {"name": "flight-delays"}}],
                "resources": {
                    "requests": {"cpu": "2", "memory": "3Gi"},
                    "limits": {"memory": "3Gi"},
                    "claims": [{"name": "gpu"}],
                },
            },
            {"name": SIDECAR, "image": "alpine"},
            {"name": "own", "image": "other:1"},
        ],
    },
}


def test_the_pod_of_a_trial_is_the_same_but_for_what_it_does() -> None:
    trial = prepare(POD, "base", "course:1", "some.module", ["A", "B"], "ex04")
    assert trial["metadata"] == {
        "generateName": "check-",
        "namespace": "ml-training",
        "labels": {"a": "b", LABEL: "ex04"},
    }
    assert trial["spec"]["nodeSelector"] == POD["spec"]["nodeSelector"]
    assert trial["spec"]["activeDeadlineSeconds"] == DEADLINE
    base, sidecar, own = trial["spec"]["containers"]
    assert base["command"] == ["python", "-c", PROBE]
    assert base["args"] == ["some.module", "A", "B"]
    assert base["envFrom"] == POD["spec"]["containers"][0]["envFrom"]
    assert base["resources"]["requests"] == {"cpu": "100m", "memory": "3Gi"}
    assert base["resources"]["limits"] == {"memory": "3Gi"}
    images = [each["image"] for each in (base, sidecar, own)]
    assert images == ["course:1", "course:1", "other:1"]
    assert POD["metadata"]["name"] == "train-1"


def test_without_an_image_of_the_platform_its_own_stays() -> None:
    assert prepare(POD, "base", "", "m", [], "ex04")["spec"]["containers"][0]["image"] == "mine:1"


def pod(phase: str = "Pending", **fields: Any) -> k8s.V1Pod:
    return k8s.V1Pod(
        spec=k8s.V1PodSpec(
            containers=[k8s.V1Container(name="base")], node_name=fields.pop("n", "")
        ),
        status=k8s.V1PodStatus(phase=phase, **fields),
    )


def status(name: str = "base", **states: Any) -> list[k8s.V1ContainerStatus]:
    here = k8s.V1ContainerState(**states)
    return [
        k8s.V1ContainerStatus(
            name=name, image="", image_id="", ready=False, restart_count=0, state=here
        )
    ]


@pytest.mark.parametrize(
    ("given", "outcome", "words"),
    [
        (pod(), "slow", ""),
        (
            pod(
                conditions=[
                    k8s.V1PodCondition(
                        type="PodScheduled", status="False", reason="Unschedulable", message="0/1"
                    )
                ]
            ),
            "unscheduled",
            "0/1",
        ),
        (
            pod(
                container_statuses=status(
                    waiting=k8s.V1ContainerStateWaiting(reason="ContainerCreating")
                )
            ),
            "slow",
            "",
        ),
        (
            pod(
                container_statuses=status(
                    waiting=k8s.V1ContainerStateWaiting(reason="ErrImagePull", message="no host")
                )
            ),
            "unstarted",
            "no host",
        ),
        (
            pod(
                container_statuses=status(
                    "sidecar", waiting=k8s.V1ContainerStateWaiting(reason="ErrImagePull")
                )
            ),
            "slow",
            "",
        ),
        (
            pod(container_statuses=status(terminated=k8s.V1ContainerStateTerminated(exit_code=0))),
            "succeeded",
            "exit code 0",
        ),
        (
            pod(
                container_statuses=status(
                    terminated=k8s.V1ContainerStateTerminated(exit_code=1, message="A not set")
                )
            ),
            "failed",
            "A not set",
        ),
        (pod("Failed", reason="Evicted", message="the node was low"), "failed", "was low"),
    ],
)
def test_an_answer_is_read(given: k8s.V1Pod, outcome: str, words: str) -> None:
    found = state(given, "base")
    assert found.outcome == outcome
    assert words in found.message


def test_a_cluster_of_others_gets_no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    path = REPOSITORY / "exercises" / "ex04_gpu_pod" / "checks.py"
    spec = importlib.util.spec_from_file_location("ex04_checks", path)
    assert spec
    assert spec.loader
    # Its marker is known where a learner's file is checked only.
    monkeypatch.setattr("course.grading.task", lambda _: lambda check: check)
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    made: list[Any] = []
    monkeypatch.delenv(target.CONTEXT, raising=False)
    monkeypatch.setattr(target, "current", lambda: ("production", "https://k8s.example.com"))
    monkeypatch.setattr(checks, "Trying", made.append)
    platform = checks.Platform(None)
    monkeypatch.setattr(platform, "api", lambda: None)
    with pytest.raises(pytest.skip.Exception, match="COURSE_CLUSTER_CONTEXT=production lets"):
        platform.trial(POD, "base")
    assert made == []
