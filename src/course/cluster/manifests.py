"""The manifests as objects: rendered, loaded, and renamed so that a test has namespaces of its own.

An object is the dictionary that its YAML stands for.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from course.config import REPOSITORY

K8S = REPOSITORY / "k8s"
OVERLAYS = ("local", "production")
NAMESPACES = ("airflow", "ml-training", "ml-serving")
TEMPLATES = ("small", "cpu", "gpu", "gpu-spot")
# Made by a command, never by a manifest; values are in nobody's Git.
SECRETS = {
    "airflow": {"flight-delays", "postgres", "redis", "s3", "mlflow"},
    "ml-training": {"flight-delays"},
    "ml-serving": {"flight-delays"},
}
# Made by the chart.
CHART_CONFIG = "airflow-config"
# The version that a kind came with, or that a field of it did.
_SINCE = {
    ("policy/v1", "PodDisruptionBudget"): (1, 21),
    ("batch/v1", "CronJob"): (1, 21),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): (1, 23),
}
_PORT_RANGES = (1, 22)
_ADDRESS = re.compile(rf"\.({'|'.join(NAMESPACES)})\.svc\b")
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod that a manifest stands for, and where it is."""

    where: str
    namespace: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Those that run, and those that run before."""
        found: list[dict[str, Any]] = [
            *self.spec.get("initContainers", ()),
            *self.spec["containers"],
        ]
        return found


def kubectl_missing() -> str:
    """Why the overlays cannot be rendered here; empty if they can."""
    if shutil.which("kubectl") is None:
        return "kubectl is not installed: it renders the overlays"
    asked = ["kubectl", "version", "--client", "--output", "json"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    try:
        version = str(json.loads(done.stdout)["kustomizeVersion"])
    except (ValueError, KeyError):
        return "kubectl does not say which kustomize is in it: install kubectl 1.27 or newer"
    if int(version.removeprefix("v").split(".")[0]) < 5:
        return f"kubectl brings kustomize {version}, not 5 or newer: install kubectl 1.27 or newer"
    return ""


def render(name: str) -> list[Object]:
    """All objects of an overlay. RuntimeError with kustomize's words if it refuses."""
    folder = K8S / "overlays" / name
    asked = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(asked)}: {done.stderr.strip()}")
    return load(done.stdout)


def load(text: str) -> list[Object]:
    """The objects of a YAML text."""
    return [item for item in yaml.safe_load_all(text) if item is not None]


def templates() -> dict[str, Object]:
    """The pod templates by name."""
    folder = K8S / "pod-templates"
    return {
        name: yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8")) for name in TEMPLATES
    }


def name_of(item: Object) -> str:
    """Kind, namespace and name, as people write them."""
    metadata = item["metadata"]
    return f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")


def pods_of(objects: list[Object]) -> Iterator[Pod]:
    """The pods that the objects lead to, and those of the templates."""
    for item in objects:
        if item["kind"] in ("Deployment", "StatefulSet", "Job"):
            made = item["spec"]["template"]
            labels = made["metadata"]["labels"]
            yield Pod(name_of(item), item["metadata"]["namespace"], labels, made["spec"])
        elif item["kind"] == "ConfigMap" and item["metadata"]["name"] == "pod-templates":
            for file, text in item["data"].items():
                made = yaml.safe_load(text)
                yield Pod(file, "airflow", made["metadata"]["labels"], made["spec"])


def renamed(objects: list[Object], prefix: str) -> list[Object]:
    """The same with a prefix before our namespaces, wherever they stand."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if value.get("key") == _NAMESPACE_LABEL:
                return {**value, "values": [prefix + name for name in value["values"]]}
            return {name: walk(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, key) for inner in value]
        if not isinstance(value, str):
            return value
        if key in ("namespace", _NAMESPACE_LABEL) and value in NAMESPACES:
            return prefix + value
        if key.endswith(".yaml"):  # a file in a ConfigMap
            return yaml.safe_dump(walk(yaml.safe_load(value)), sort_keys=False)
        return _ADDRESS.sub(rf".{prefix}\1.svc", value)

    changed: list[Object] = [walk(item) for item in objects]
    for item in changed:
        if item["kind"] == "Namespace":
            item["metadata"]["name"] = prefix + item["metadata"]["name"]
    return changed


def applicable(
    objects: list[Object], server_version: tuple[int, int]
) -> tuple[list[Object], list[str]]:
    """What a cluster of that version takes, and in words what it is too old for."""
    kept, dropped = [], []
    for item in objects:
        since = _SINCE.get((item["apiVersion"], item["kind"]), (0, 0))
        if server_version < since:
            dropped.append(f"{name_of(item)} ({item['apiVersion']})")
            continue
        if item["kind"] == "NetworkPolicy" and server_version < _PORT_RANGES:
            item, ranges = _without_ranges(item)
            dropped += [f"{name_of(item)}: ports {first} to {last}" for first, last in ranges]
        kept.append(item)
    return kept, dropped


def _without_ranges(policy: Object) -> tuple[Object, list[tuple[int, int]]]:
    """A copy of a policy without port ranges, and the ranges."""
    changed, ranges = json.loads(json.dumps(policy)), []
    for rule in [*changed["spec"].get("ingress", ()), *changed["spec"].get("egress", ())]:
        for port in [port for port in rule.get("ports", ()) if "endPort" in port]:
            rule["ports"].remove(port)
            ranges.append((port["port"], port["endPort"]))
    return changed, ranges
