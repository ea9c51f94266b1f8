"""What is said twice is the same: addresses, images, labels of nodes; and the tests' own tools."""

from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes.client import ApiClient

from course.cluster import manifests
from course.cluster.manifests import Object
from flightdelays import pods

from . import rules
from .overlays import overlay

LOCAL_DNS = ".svc.cluster.local"


def settings(objects: list[Object], namespace: str) -> dict[str, str]:
    """The ConfigMap flight-delays of a namespace."""
    (item,) = (
        item
        for item in rules.of(objects, "ConfigMap")
        if (item["metadata"]["name"], item["metadata"]["namespace"]) == ("flight-delays", namespace)
    )
    data: dict[str, str] = item["data"]
    return data


def services(objects: list[Object]) -> dict[str, int]:
    """The addresses of our Services, with their ports."""
    return {
        f"{item['metadata']['name']}.{item['metadata']['namespace']}{LOCAL_DNS}": port["port"]
        for item in rules.of(objects, "Service")
        for port in item["spec"]["ports"]
    }


@pytest.mark.parametrize("namespace", manifests.NAMESPACES)
def test_local_addresses_are_those_of_services(namespace: str) -> None:
    objects = overlay("local")
    there, given = services(objects), settings(objects, namespace)
    for name in ("FLIGHTDELAYS_MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        address = urlsplit(given[name])
        assert there[str(address.hostname)] == address.port


def test_mlflow_answers_by_the_name_that_its_clients_use() -> None:
    objects = overlay("local")
    (mlflow,) = (pod for pod in manifests.pods_of(objects) if pod.where.endswith("/mlflow"))
    (hosts,) = (word for word in mlflow.spec["containers"][0]["args"] if "allowed-hosts" in word)
    address = settings(objects, "ml-training")["FLIGHTDELAYS_MLFLOW_TRACKING_URI"]
    assert urlsplit(address).netloc in hosts.partition("=")[2].split(",")


def test_services_and_probes_name_ports_that_containers_have() -> None:
    objects = overlay("local")
    for item in rules.of(objects, "Deployment", "StatefulSet"):
        (container,) = item["spec"]["template"]["spec"]["containers"]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        (service,) = (
            each
            for each in rules.of(objects, "Service")
            if each["metadata"]["name"] == item["metadata"]["name"]
        )
        (port,) = service["spec"]["ports"]
        assert port["port"] == named[port["targetPort"]]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe].get("httpGet") or container[probe].get("tcpSocket")
            assert asked is None or asked["port"] in named


def test_production_takes_everything_from_elsewhere_and_says_what_to_change() -> None:
    objects = overlay("production")
    assert {pod.where for pod in manifests.pods_of(objects)} == {
        "Deployment ml-serving/model-server",
        *(f"{name}.yaml" for name in manifests.TEMPLATES),
    }
    given = settings(objects, "ml-training")
    for name in ("FLIGHTDELAYS_LAKE", "FLIGHTDELAYS_MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        assert str(urlsplit(given[name]).hostname).endswith("example.com")
    (server,) = (pod for pod in manifests.pods_of(objects) if "model-server" in pod.where)
    image = server.spec["containers"][0]["image"]
    assert image.startswith("registry.example.com/")
    assert image == given["TRAINING_IMAGE"]
    assert image == settings(objects, "airflow")["AIRFLOW_VAR_TRAINING_IMAGE"]


def test_the_autoscaler_alone_says_how_many_model_servers_there_are() -> None:
    (production,) = rules.of(overlay("production"), "Deployment")
    assert "replicas" not in production["spec"]
    local = overlay("local")
    assert not list(rules.of(local, "HorizontalPodAutoscaler"))
    (server,) = (item for item in rules.of(local, "Deployment") if "serving" in str(item))
    assert server["spec"]["replicas"] == 1
    assert server["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_templates_and_training_pods_know_the_same_nodes() -> None:
    made = manifests.templates()
    plain = ApiClient().sanitize_for_serialization
    spot, gpu = made["gpu-spot"]["spec"], made["gpu"]["spec"]
    assert spot["nodeSelector"] == gpu["nodeSelector"] == pods.GPU_NODES
    assert spot["tolerations"] == plain(pods.TOLERATED)
    assert spot["affinity"] == plain(pods.PREFER_SPOT)
    assert [each["key"] for each in gpu["tolerations"]] == ["nvidia.com/gpu"]
    for name in ("small", "cpu"):
        assert not {"nodeSelector", "tolerations", "affinity"} & set(made[name]["spec"])


def test_the_templates_are_those_of_the_configmap_and_differ_only_where_they_say() -> None:
    made = manifests.templates()
    (given,) = (
        item["data"]
        for item in rules.of(overlay("local"), "ConfigMap")
        if item["metadata"]["name"] == "pod-templates"
    )
    assert {name: yaml.safe_load(text) for name, text in given.items()} == {
        f"{name}.yaml": template for name, template in made.items()
    }
    for template in made.values():
        spec: dict[str, Any] = template["spec"]
        for own in ("automountServiceAccountToken", "priorityClassName", "affinity"):
            spec.pop(own, None)
        for own in ("nodeSelector", "tolerations", "terminationGracePeriodSeconds"):
            spec.pop(own, None)
        spec["containers"][0].pop("resources")
    assert all(template == made["small"] for template in made.values())


def test_kind_makes_a_node_for_gpus() -> None:
    cluster = yaml.safe_load((manifests.K8S / "kind.yaml").read_text("utf-8"))
    assert [node["role"] for node in cluster["nodes"]] == ["control-plane", "worker", "worker"]
    (node,) = (node for node in cluster["nodes"] if "labels" in node)
    assert node["labels"] == pods.GPU_NODES
    (patch,) = node["kubeadmConfigPatches"]
    (taint,) = yaml.safe_load(patch)["nodeRegistration"]["taints"]
    assert taint == {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert taint["key"] in {each.key for each in pods.TOLERATED}


@pytest.mark.parametrize("name", manifests.OVERLAYS)
def test_a_prefix_reaches_every_name(name: str) -> None:
    before = overlay(name)
    after = manifests.renamed(before, "t1-")
    text = yaml.safe_dump_all(after)
    assert before == overlay(name)
    for space in manifests.NAMESPACES:
        assert f".{space}.svc" not in text
        assert f"namespace: {space}\n" not in text
        assert f"metadata.name: {space}\n" not in text
    assert list(rules.has_no_loose_end(_unprefixed(after))) == []
    made = [item["metadata"]["name"] for item in rules.of(after, "Namespace")]
    assert made == [f"t1-{space}" for space in sorted(manifests.NAMESPACES)]


def _unprefixed(objects: list[Object]) -> list[Object]:
    return manifests.load(yaml.safe_dump_all(objects).replace("t1-", ""))


def test_an_old_cluster_is_spared_what_it_does_not_know() -> None:
    objects = overlay("production")
    kept, dropped = manifests.applicable(objects, (1, 20))
    assert dropped == [
        "PodDisruptionBudget ml-serving/model-server (policy/v1)",
        "HorizontalPodAutoscaler ml-serving/model-server (autoscaling/v2)",
        "NetworkPolicy ml-training/dask: ports 32768 to 65535",
        "NetworkPolicy ml-training/dask-clients: ports 32768 to 65535",
    ]
    assert len(kept) == len(objects) - 2
    assert "endPort" not in yaml.safe_dump_all(kept)
    assert manifests.applicable(objects, (1, 37)) == (objects, [])
