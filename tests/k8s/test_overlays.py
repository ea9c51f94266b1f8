"""What the overlays amount to: who may talk to whom, who may do what, and whether it all fits."""

from collections import Counter
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from course.cluster import manifests
from course.cluster.manifests import Object

from . import rights, rules
from .network import End, may_talk
from .overlays import overlay

LOCAL_CPU = 1.5  # so that a pod with half a CPU finds room on two
AIRFLOW_CPU = 0.5  # what the chart's pods request
LOOKUPS = End("kube-system", (("k8s-app", "kube-dns"),))
KUBERNETES = End(address="10.96.0.1")
METADATA = End(address="169.254.169.254")
STORE = End(address="203.0.113.7")


def airflow(component: str) -> End:
    """A pod as the chart labels it."""
    return End("airflow", (("tier", "airflow"), ("component", component)))


def ours(namespace: str, name: str, component: str = "") -> End:
    given = [("app.kubernetes.io/name", name)]
    if component:
        given.append(("app.kubernetes.io/component", component))
    return End(namespace, tuple(given))


TASK = airflow("worker")
POSTGRES, REDIS, S3, MLFLOW = (
    ours("airflow", name) for name in ("postgres", "redis", "s3", "mlflow")
)
TRAIN = ours("ml-training", "flight-delays", "train")
DASK = ours("ml-training", "flight-delays", "dask")
SERVER = ours("ml-serving", "model-server", "serving")
SEED = ours("airflow", "seed")
STRANGER = End("default", (("app.kubernetes.io/name", "flight-delays"),))
PROMETHEUS = End("monitoring", (("app.kubernetes.io/name", "prometheus"),))
EVERYWHERE = [
    (TASK, airflow("api-server"), 8080, True),
    (airflow("api-server"), TASK, 8793, True),
    (TASK, airflow("statsd"), 9125, True),
    (TASK, KUBERNETES, 443, True),
    (airflow("scheduler"), KUBERNETES, 6443, True),
    (airflow("dag-processor"), KUBERNETES, 6443, False),
    (TASK, SERVER, 8080, True),
    (TASK, SERVER, 22, False),
    (TASK, TRAIN, 8080, False),
    (TRAIN, DASK, 8786, True),
    (TRAIN, DASK, 40000, True),
    (TRAIN, DASK, 22, False),
    (DASK, DASK, 8786, True),
    (DASK, DASK, 60999, True),
    (DASK, TRAIN, 40000, False),
    (TRAIN, airflow("api-server"), 8080, False),
    (TRAIN, KUBERNETES, 443, False),
    (TRAIN, KUBERNETES, 6443, False),
    (TRAIN, METADATA, 80, False),
    (TRAIN, SERVER, 8080, False),
    (TRAIN, POSTGRES, 5432, False),
    (SERVER, POSTGRES, 5432, False),
    (SERVER, KUBERNETES, 443, False),
    (STRANGER, DASK, 8786, False),
    (STRANGER, TRAIN, 8080, False),
    (STRANGER, SERVER, 8080, False),
    (STRANGER, ours("airflow", "other"), 80, False),
    (STRANGER, ours("ml-serving", "other"), 80, False),
    (STRANGER, airflow("api-server"), 8080, False),
    (STRANGER, S3, 8333, False),
    (STRANGER, POSTGRES, 5432, False),
]
LOCALLY = [
    (TASK, POSTGRES, 5432, True),
    (TASK, REDIS, 6379, True),
    (TRAIN, REDIS, 6379, False),
    (STRANGER, REDIS, 6379, False),
    (TASK, S3, 8333, True),
    (TASK, MLFLOW, 5000, True),
    (MLFLOW, POSTGRES, 5432, True),
    (MLFLOW, S3, 8333, True),
    (SEED, S3, 8333, True),
    (SEED, POSTGRES, 5432, False),
    (TRAIN, S3, 8333, True),
    (TRAIN, MLFLOW, 5000, True),
    (DASK, S3, 8333, True),
    (SERVER, MLFLOW, 5000, True),
    (SERVER, S3, 8333, False),
    (TRAIN, STORE, 443, False),
    (S3, STORE, 443, False),
]
IN_PRODUCTION = [
    (TASK, STORE, 443, True),
    (TASK, STORE, 5432, True),
    (airflow("dag-processor"), STORE, 443, True),
    (TASK, STORE, 80, False),
    (TRAIN, STORE, 443, True),
    (TRAIN, STORE, 5432, False),
    (TRAIN, METADATA, 443, False),
    (SERVER, STORE, 443, True),
    (PROMETHEUS, SERVER, 8080, True),
    (PROMETHEUS, airflow("statsd"), 9102, True),
    (PROMETHEUS, airflow("api-server"), 8080, False),
]
Talk = tuple[End, End, int, bool]


@pytest.mark.parametrize(
    ("name", "talks"), [("local", EVERYWHERE + LOCALLY), ("production", EVERYWHERE + IN_PRODUCTION)]
)
def test_only_those_talk_who_need_to(name: str, talks: list[Talk]) -> None:
    objects = overlay(name)
    wrong = [talk for talk in talks if may_talk(objects, *talk[:3]) is not talk[3]]
    assert wrong == []
    for pod in {talk[0] for talk in talks if talk[0].namespace in manifests.NAMESPACES}:
        assert may_talk(objects, pod, LOOKUPS, 53, "UDP"), pod


@pytest.mark.parametrize("name", manifests.OVERLAYS)
def test_every_network_rule_changes_something(name: str) -> None:
    """So no selector misses its pods, and the test before this one can fail."""
    talks: list[Talk] = EVERYWHERE + (LOCALLY if name == "local" else IN_PRODUCTION)
    talks = [*talks, *((talk[0], LOOKUPS, 53, True) for talk in talks)]
    people = End("ingress-nginx", (("app.kubernetes.io/name", "ingress-nginx"),))
    objects = overlay(name)
    objects.append(
        {
            "kind": "Namespace",
            "metadata": {"name": "ingress-nginx", "labels": {"flight-delays/ingress": "true"}},
        }
    )
    talks.append((people, airflow("api-server"), 8080, True))
    before = [may_talk(objects, *talk[:3]) for talk in talks]
    for policy in list(rules.of(objects, "NetworkPolicy")):
        without = [item for item in objects if item is not policy]
        after = [may_talk(without, *talk[:3]) for talk in talks]
        assert after != before, manifests.name_of(policy)


@pytest.mark.parametrize("name", manifests.OVERLAYS)
def test_the_accounts_may_do_what_the_table_says(name: str) -> None:
    objects = overlay(name)
    roles = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["rules"]
        for item in rules.of(objects, "Role")
    }
    given: dict[tuple[str, str], dict[str, set[str]]] = {}
    for item in rules.of(objects, "RoleBinding"):
        space = item["metadata"]["namespace"]
        for who in item["subjects"]:
            held = given.setdefault((f"{who['namespace']}:{who['name']}", space), {})
            for rule in roles[space, item["roleRef"]["name"]]:
                for resource in rule["resources"]:
                    held.setdefault(_with_group(resource, rule), set()).update(rule["verbs"])
    table = {**rights.GRANTED, **(rights.GRANTED_LOCALLY if name == "local" else {})}
    assert given == {
        who: {resource: set(verbs) for resource, verbs in held.items()}
        for who, held in table.items()
    }
    accounts = {
        f"{item['metadata']['namespace']}:{item['metadata']['name']}"
        for item in rules.of(objects, "ServiceAccount")
    }
    assert accounts == set(rights.ACCOUNTS)


def _with_group(resource: str, rule: dict[str, Any]) -> str:
    (group,) = rule["apiGroups"]
    kind, slash, part = resource.partition("/")
    return f"{kind}{'.' if group else ''}{group}{slash}{part}"


def requests(pod: manifests.Pod, what: str) -> float:
    """What a pod takes: its containers together, or the one that runs before them."""

    def of(key: str) -> list[float]:
        found = (each["resources"]["requests"].get(what, 0) for each in pod.spec.get(key, ()))
        return [float(parse_quantity(value)) for value in found]

    return max(sum(of("containers")), *of("initContainers"), 0)


def test_the_local_overlay_leaves_room_for_a_training_pod() -> None:
    objects = overlay("local")
    running = [pod for pod in manifests.pods_of(objects) if not pod.where.endswith(".yaml")]
    assert sorted(pod.where for pod in running) == [
        "Deployment airflow/mlflow",
        "Deployment airflow/redis",
        "Deployment ml-serving/model-server",
        "Job airflow/seed",
        "StatefulSet airflow/postgres",
        "StatefulSet airflow/s3",
    ]
    assert sum(requests(pod, "cpu") for pod in running) <= LOCAL_CPU - AIRFLOW_CPU


@pytest.mark.parametrize("name", manifests.OVERLAYS)
def test_quotas_and_limits_admit_what_we_run(name: str) -> None:
    objects = overlay(name)
    taken: Counter[tuple[str, str]] = Counter()
    for pod in manifests.pods_of(objects):
        for what in ("cpu", "memory", "nvidia.com/gpu"):
            taken[pod.namespace, f"requests.{what}"] += requests(pod, what)
        limits = found(objects, "LimitRange", "containers", pod.namespace)["spec"]["limits"][0]
        for container in pod.containers:
            for what, limit in container["resources"]["limits"].items():
                most = limits["max"].get(what)
                assert most is None or parse_quantity(limit) <= parse_quantity(most), pod.where
    for item in rules.of(objects, "ResourceQuota"):
        hard = item["spec"]["hard"]
        for (space, what), amount in taken.items():
            if space == item["metadata"]["namespace"] and amount:
                # A GPU template is used by one task at a time.
                spare = 1 if what.endswith("gpu") else 0
                assert amount <= float(parse_quantity(hard[what])) + spare, (space, what)


def found(objects: list[Object], kind: str, name: str, namespace: str) -> Object:
    """The one object of that kind and name."""
    where = (name, namespace)
    (item,) = (
        item
        for item in rules.of(objects, kind)
        if (item["metadata"]["name"], item["metadata"]["namespace"]) == where
    )
    return item
