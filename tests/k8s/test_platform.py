"""The platform itself: who may do what, which executor runs what, where the logs are."""

from typing import Any

import pytest

from course.cluster import manifests, target
from course.cluster.sandbox import AIRFLOW, PREFIX, SERVING, TRAINING, Sandbox, wait

from .rights import rights

pytestmark = pytest.mark.cluster


def test_each_account_may_do_what_it_must_and_nothing_else(cluster: Sandbox) -> None:
    """Each row is asked of the cluster itself; both kinds of answer occur."""
    from kubernetes.client import ApiClient, AuthorizationV1Api
    from kubernetes.client import models as k8s

    api = AuthorizationV1Api(ApiClient(target.settings()))
    rows = list(rights(local=True))
    wrong = []
    for row in rows:
        space, name = row.account.split(":")
        # As kubectl writes it: jobs.batch/status.
        whole, _, subresource = row.resource.partition("/")
        resource, _, group = whole.partition(".")
        asked = k8s.V1ResourceAttributes(
            namespace=PREFIX + row.namespace if row.namespace else None,
            verb=row.verb,
            group=group,
            resource=resource,
            subresource=subresource,
        )
        answer = api.create_subject_access_review(
            k8s.V1SubjectAccessReview(
                spec=k8s.V1SubjectAccessReviewSpec(
                    user=f"system:serviceaccount:{PREFIX}{space}:{name}", resource_attributes=asked
                )
            )
        )
        if answer.status.allowed is not row.allowed:
            wrong.append(row)
    assert wrong == []
    assert {row.allowed for row in rows} == {True, False}


def test_a_task_is_a_pod_where_its_author_or_the_policy_says_so(cluster: Sandbox) -> None:
    run_id = cluster.trigger("k8s_probe")
    assert cluster.finish("k8s_probe", run_id)["state"] == "success"
    pod = cluster.task("k8s_probe", run_id, "in_a_pod")
    local = cluster.task("k8s_probe", run_id, "beside_the_scheduler")
    assert pod["executor"] == "KubernetesExecutor"
    assert pod["hostname"].startswith("k8s-probe-in-a-pod-")
    assert cluster.result("k8s_probe", run_id, "in_a_pod") == pod["hostname"]
    assert cluster.result("k8s_probe", run_id, "beside_the_scheduler") != pod["hostname"]
    assert local["executor"] is None
    wait(lambda: not cluster.pods(AIRFLOW, dag_id="k8s_probe"), "the pod is gone", 60)
    # Its log is not.
    assert "Pushing xcom" in cluster.log("k8s_probe", run_id, "in_a_pod")


def test_heavy_tasks_of_the_pipelines_are_pods(cluster: Sandbox) -> None:
    """The features of nine months, which every test after this one reads."""
    run_id = cluster.trigger("build_features")
    assert cluster.finish("build_features", run_id, 400)["state"] == "success"
    path = f"/api/v2/dags/build_features/dagRuns/{run_id}/taskInstances"
    found = cluster.api.request("GET", path, params={"limit": 100})["task_instances"]
    executors: dict[str, set[Any]] = {}
    for task in found:
        executors.setdefault(task["task_id"], set()).add(task["executor"])
    assert executors["build"] == {"KubernetesExecutor"}
    assert executors["find_stale"] == {None}


def test_what_the_overlay_makes_is_there(cluster: Sandbox) -> None:
    for namespace in (AIRFLOW, TRAINING, SERVING):
        made = cluster.kubectl(
            "--namespace", namespace, "get", "resourcequotas,limitranges,networkpolicies", "-o=name"
        )
        for kind in ("resourcequota/", "limitrange/", "networkpolicy.networking.k8s.io/"):
            assert kind in made
    classes = cluster.kubectl("get", "priorityclasses", "--output=name")
    for name in ("ml-serving", "ml-platform", "ml-training", "ml-training-spot"):
        assert f"/{name}\n" in classes


def test_no_pod_may_be_root(cluster: Sandbox) -> None:
    for namespace in (AIRFLOW, TRAINING, SERVING):
        for pod in cluster.pods(namespace):
            assert pod.spec.security_context.run_as_non_root, pod.metadata.name


def test_names_of_the_tests_are_not_those_of_a_person() -> None:
    assert not {AIRFLOW, TRAINING, SERVING} & set(manifests.NAMESPACES)
