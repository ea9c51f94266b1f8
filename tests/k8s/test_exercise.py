"""Exercise 4 where a cluster answers: its pod really runs, and none is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from course.cluster import target
from course.cluster.trial import LABEL
from course.config import BIN
from course.grading.catalogue import Exercise, find
from course.grading.grader import Grader
from course.grading.report import CheckResult, Report

pytestmark = pytest.mark.cluster
NAMESPACE = "ml-training"
OURS = {"course.example/made-by": "test-exercise"}
NAME = "flight-delays"
GPU = "nvidia.com/gpu"
IMAGE = "airflow-ml-course/training:3.3.2"
CONFIG = {
    "FLIGHTDELAYS_LAKE": "s3://lake",
    "FLIGHTDELAYS_MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "TRAINING_IMAGE": IMAGE,
}
SECRET = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
REFUSES, NODE, STARTS = (
    "test_a_cluster_would_take_the_pod",
    "test_a_cluster_finds_a_node_for_the_pod",
    "test_a_cluster_fills_in_the_environment",
)


def eventually(what: str, look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def api() -> Any:
    from kubernetes.client import ApiClient, CoreV1Api
    from kubernetes.config import ConfigException

    try:
        context, server = target.current()
    except ConfigException:
        pytest.skip("no cluster is configured")
    if not target.may_be_used(context, server):
        pytest.skip(f"{server} is not a local cluster; {target.CONTEXT} can name its context")
    return CoreV1Api(ApiClient(target.settings()))


@pytest.fixture(scope="module")
def gpu_node(api: Any) -> Iterator[str]:
    """A node that has two GPUs and the label that says so."""
    nodes = [each for each in api.list_node().items if int(each.status.allocatable.get(GPU, 0)) > 1]
    if not nodes:
        pytest.skip("no node of the cluster has two GPUs, or pretends to: see k8s/README.md")
    name, label = nodes[0].metadata.name, f"{GPU}.present"
    labelled = any(label in each.metadata.labels for each in nodes)
    if not labelled:
        api.patch_node(name, {"metadata": {"labels": {label: "true"}}})
    yield name
    if not labelled:
        api.patch_node(name, {"metadata": {"labels": {label: None}}})


@pytest.fixture(scope="module")
def namespace(api: Any, gpu_node: str) -> Iterator[None]:
    """The namespace of the exercise as the platform team promises it."""
    for each in api.list_namespace().items:
        if each.metadata.name == NAMESPACE:
            if not OURS.items() <= (each.metadata.labels or {}).items():
                pytest.skip(f"the namespace {NAMESPACE} is there, and these tests did not make it")
            remove(api)
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create_namespace({"metadata": {"name": NAMESPACE, "labels": OURS | level}})
    try:
        account = {"metadata": {"name": "trainer"}, "automountServiceAccountToken": False}
        api.create_namespaced_service_account(NAMESPACE, account)
        hard = {"requests.nvidia.com/gpu": "2", "requests.memory": "8Gi", "requests.cpu": "4"}
        api.create_namespaced_resource_quota(
            NAMESPACE, {"metadata": {"name": "training"}, "spec": {"hard": hard}}
        )
        configure(api)
        secret = {"metadata": {"name": NAME}, "stringData": SECRET}
        api.create_namespaced_secret(NAMESPACE, secret)
        eventually("accounts are made", lambda: len(accounts(api)) > 1)
        yield
    finally:
        remove(api)


def configure(api: Any) -> None:
    api.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": NAME}, "data": CONFIG})


def accounts(api: Any) -> list[Any]:
    found: list[Any] = api.list_namespaced_service_account(NAMESPACE).items
    return found


def remove(api: Any) -> None:
    """Delete the namespace, and return when it is gone."""
    api.delete_namespace(NAMESPACE)
    eventually(
        "the namespace goes",
        lambda: NAMESPACE not in {each.metadata.name for each in api.list_namespace().items},
        120,
    )


def pods(api: Any) -> list[str]:
    found = api.list_namespaced_pod(NAMESPACE, label_selector=LABEL).items
    return [pod.metadata.name for pod in found]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("course")


@pytest.fixture(scope="module")
def exercise() -> Exercise:
    return find("4")


@pytest.fixture(scope="module")
def grader(namespace: None, home: Path, exercise: Exercise) -> Iterator[Grader]:
    (home / "grader").mkdir()
    with Grader(home / "grader", exercise.warm) as running:
        yield running


def changed(exercise: Exercise, folder: Path, old: str, new: str) -> Path:
    """The solution with one line changed."""
    text = exercise.solution.read_text("utf-8")
    assert text.count(old) == 1
    path = folder / exercise.file_name
    path.write_text(text.replace(old, new), "utf-8")
    return path


def result(report: Report, name: str) -> CheckResult:
    assert report.problem is None
    assert report.broken == []
    (found,) = (check for task in report.tasks for check in task.checks if check.name == name)
    return found


def test_the_solution_runs_in_the_cluster(grader: Grader, exercise: Exercise, api: Any) -> None:
    report = grader.check(exercise, exercise.solution)
    found = [result(report, name) for name in (REFUSES, NODE, STARTS)]
    assert [(each.outcome, each.note) for each in found] == [("passed", "")] * 3, found
    assert report.passed
    assert pods(api) == []


@pytest.mark.parametrize("name", ["template", "course_parts"])
def test_other_right_ones_run_there(
    grader: Grader, exercise: Exercise, api: Any, name: str
) -> None:
    report = grader.check(exercise, exercise.solutions / "also" / f"{name}.py")
    assert result(report, STARTS).outcome == "passed", result(report, STARTS)
    assert report.passed
    assert pods(api) == []


def test_a_node_that_is_not_there_is_told_in_the_words_of_the_scheduler(
    grader: Grader, exercise: Exercise, api: Any, tmp_path: Path
) -> None:
    label = '{"nvidia.com/gpu.present": "true"'
    path = changed(exercise, tmp_path, label, label + ', "course.example/none": "yes"')
    report = grader.check(exercise, path)
    found = result(report, NODE)
    assert (found.outcome, found.task) == ("failed", 3)
    assert found.finding is not None
    assert "the scheduler says: 0/" in found.finding.happened
    assert "node" in found.finding.happened
    assert result(report, STARTS).note == "the pod found no node in the cluster"
    assert pods(api) == []


def test_variables_that_do_not_arrive_are_named(
    grader: Grader, exercise: Exercise, api: Any
) -> None:
    report = grader.check(exercise, exercise.solutions / "wrong" / "no_secret.py")
    found = result(report, STARTS)
    assert found.outcome == "failed"
    assert found.finding is not None
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY not set" in found.finding.happened
    assert pods(api) == []


def test_a_name_that_the_cluster_does_not_know_is_its_own_word(
    grader: Grader, exercise: Exercise, api: Any, tmp_path: Path
) -> None:
    right = 'V1SecretEnvSource(name="flight-delays")'
    path = changed(exercise, tmp_path, right, right.replace("delays", "delay"))
    found = result(grader.check(exercise, path), STARTS)
    assert found.outcome == "failed"
    assert found.finding is not None
    assert "CreateContainerConfigError" in found.finding.happened
    assert '"flight-delay" not found' in found.finding.happened
    assert pods(api) == []


def test_a_quota_is_kept(grader: Grader, exercise: Exercise, tmp_path: Path) -> None:
    path = changed(exercise, tmp_path, 'requests={"cpu": "1"', 'requests={"cpu": "9"')
    found = result(grader.check(exercise, path), REFUSES)
    assert (found.outcome, found.task) == ("failed", 2)
    assert found.finding is not None
    assert "exceeded quota: training, requested: requests.cpu=9" in found.finding.happened


def test_what_is_missing_is_named(grader: Grader, exercise: Exercise, api: Any) -> None:
    api.delete_namespaced_config_map(NAME, NAMESPACE)
    try:
        report = grader.check(exercise, exercise.solution)
    finally:
        configure(api)
    assert report.passed
    found = result(report, NODE)
    assert found.outcome == "skipped"
    assert f"the ConfigMap {NAME} of the namespace {NAMESPACE} cannot be read" in found.note
    assert "not found" in found.note
    assert result(report, STARTS).note == "for the same reason"


def test_an_image_that_is_not_there_is_not_held_against_the_file(
    grader: Grader, exercise: Exercise, api: Any
) -> None:
    image = "registry.invalid/train:1"
    api.patch_namespaced_config_map(NAME, NAMESPACE, {"data": {"TRAINING_IMAGE": image}})
    try:
        report = grader.check(exercise, exercise.solution)
    finally:
        api.patch_namespaced_config_map(NAME, NAMESPACE, {"data": CONFIG})
    assert report.passed
    assert result(report, NODE).outcome == "passed"
    assert f"the cluster has no image {image} (" in result(report, STARTS).note
    assert pods(api) == []


def test_a_check_that_is_killed_leaves_no_pod(
    namespace: None, grader: Grader, home: Path, exercise: Exercise, api: Any
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(BIN / "course"), "check", "4", "--file", str(exercise.solution)],
        env={**os.environ, "COURSE_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually("a pod is there", lambda: pods(api))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually("the pod goes", lambda: not pods(api), 30)
