"""The manifests, without a cluster: Kubernetes knows them, and they fulfil our rules."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from course.cluster import manifests
from course.cluster.manifests import Object

from . import rules
from .overlays import overlay

KUBERNETES = "1.37"


@pytest.fixture(params=manifests.OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return overlay(request.param)


@pytest.fixture
def local() -> list[Object]:
    return overlay("local")


def test_kubernetes_knows_every_object(objects: list[Object]) -> None:
    assert len(objects) > 40
    for item in objects:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", manifests.TEMPLATES)
def test_kubernetes_knows_the_pod_that_the_executor_makes(name: str) -> None:
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    path = manifests.K8S / "pod-templates" / f"{name}.yaml"
    kubernetes_validate.validate(manifests.templates()[name], KUBERNETES, strict=True)
    pod = PodGenerator.construct_pod(
        dag_id="d",
        task_id="t",
        pod_id="d-t",
        try_number=1,
        date=None,
        kube_image="registry.example.com/airflow:1",
        args=["run"],
        pod_override_object=None,
        base_worker_pod=PodGenerator.deserialize_model_file(str(path)),
        namespace="airflow",
        scheduler_job_id="7",
    )
    made = PodGenerator.serialize_pod(pod)
    kubernetes_validate.validate(made, KUBERNETES, strict=True)
    (container,) = made["spec"]["containers"]
    assert (container["image"], container["args"]) == ("registry.example.com/airflow:1", ["run"])
    assert container["securityContext"] == rules.HARDENED
    assert made["metadata"]["labels"]["tier"] == "airflow"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_manifests_fulfil_each_rule(rule: rules.Rule, objects: list[Object]) -> None:
    assert list(rule(objects)) == []


Spoil = Callable[[dict[str, Any]], Any]
SPOILT: list[tuple[rules.Rule, str, str, Spoil]] = [
    (rules.is_labelled, "Service", "s3", lambda it: it["metadata"].pop("labels")),
    (
        rules.is_labelled,
        "Namespace",
        "ml-training",
        lambda it: it["metadata"]["labels"].update({"pod-security.kubernetes.io/enforce": "none"}),
    ),
    (rules.is_hardened, "StatefulSet", "postgres", lambda it: spec(it).pop("securityContext")),
    (rules.is_hardened, "Job", "seed", lambda it: spec(it).pop("automountServiceAccountToken")),
    (rules.is_hardened, "StatefulSet", "s3", lambda it: spec(it).pop("enableServiceLinks")),
    (rules.is_hardened, "Job", "seed", lambda it: first(it, "init").pop("securityContext")),
    (rules.is_bounded, "Deployment", "mlflow", lambda it: first(it)["resources"].pop("limits")),
    (rules.is_bounded, "Deployment", "mlflow", lambda it: first(it, "init").pop("resources")),
    (
        rules.is_bounded,
        "StatefulSet",
        "s3",
        lambda it: spec(it)["volumes"][0].update(emptyDir={}),
    ),
    (
        rules.has_pinned_images,
        "StatefulSet",
        "s3",
        lambda it: first(it).update(image="host:5000/s3"),
    ),
    (
        rules.has_pinned_images,
        "Job",
        "seed",
        lambda it: first(it).update(imagePullPolicy="Always"),
    ),
    (rules.has_no_secret, "Service", "s3", lambda it: it.update(kind="Secret")),
    (
        rules.has_no_secret,
        "ConfigMap",
        "postgres-init",
        lambda it: it["data"].update(ADDRESS="postgresql://me:mine@postgres/x"),
    ),
    (
        rules.has_no_secret,
        "Job",
        "seed",
        lambda it: first(it)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
    ),
    (rules.has_no_loose_end, "ServiceAccount", "airflow-worker", lambda it: it.update(kind="Gone")),
    (rules.has_no_loose_end, "ServiceAccount", "model-server", lambda it: it.update(kind="Gone")),
    (rules.has_no_loose_end, "PriorityClass", "ml-training-spot", lambda it: it.update(kind="No")),
    (rules.has_no_loose_end, "ConfigMap", "postgres-init", lambda it: it.update(kind="Gone")),
    (
        rules.has_no_loose_end,
        "Deployment",
        "mlflow",
        lambda it: first(it)["envFrom"].append({"secretRef": {"name": "other"}}),
    ),
    (
        rules.has_no_loose_end,
        "PodDisruptionBudget",
        "model-server",
        lambda it: it["spec"]["selector"]["matchLabels"].update(x="y"),
    ),
    (rules.has_no_loose_end, "Service", "s3", lambda it: it["spec"]["selector"].update(x="y")),
    (rules.is_fenced, "NetworkPolicy", "default-deny", lambda it: it["spec"].pop("policyTypes")),
    (rules.is_fenced, "ResourceQuota", "quota", lambda it: it.update(kind="Gone")),
    (
        rules.is_fenced,
        "LimitRange",
        "containers",
        lambda it: it["spec"]["limits"][0]["max"].update({"nvidia.com/gpu": "2"}),
    ),
    (rules.is_of_least_privilege, "Role", "training-pods", lambda it: add(it, "secrets")),
    (rules.is_of_least_privilege, "Role", "training-pods", lambda it: add(it, "*")),
    (rules.is_of_least_privilege, "Role", "task-pods", lambda it: it.update(kind="ClusterRole")),
]


def spec(item: Object) -> dict[str, Any]:
    made: dict[str, Any] = item["spec"]["template"]["spec"]
    return made


def first(item: Object, which: str = "") -> dict[str, Any]:
    made: dict[str, Any] = spec(item)["initContainers" if which else "containers"][0]
    return made


def add(role: Object, resource: str) -> None:
    role["rules"].append({"apiGroups": [""], "resources": [resource], "verbs": ["get"]})


@pytest.mark.parametrize(
    ("rule", "kind", "name", "spoil"),
    SPOILT,
    ids=[f"{rule.__name__}-{kind}-{number}" for number, (rule, kind, *_) in enumerate(SPOILT)],
)
def test_each_rule_finds_what_is_against_it(
    local: list[Object], rule: rules.Rule, kind: str, name: str, spoil: Spoil
) -> None:
    spoil(next(it for it in rules.of(local, kind) if it["metadata"]["name"] == name))
    assert list(rule(local))
