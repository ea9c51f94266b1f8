"""What every overlay must fulfil. Each rule gets all objects and says what is against it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from kubernetes.utils.quantity import parse_quantity

from course.cluster.manifests import CHART_CONFIG, NAMESPACES, SECRETS, Object, name_of, pods_of

from .network import matches

Rule = Callable[[list[Object]], Iterator[str]]
LABELS = ("name", "component", "part-of")
HARDENED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# What no account of ours is for.
FORBIDDEN = re.compile(r"\*|secrets|configmaps|nodes|deployments|serviceaccounts|roles|namespaces")
# A variable whose value is one; the name of a file that holds one ends otherwise.
_SECRET_NAME = re.compile(r"(?i)(password|secret|token|(access|api|fernet)_key)(_id)?$")
_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]*@")
# Accounts whose programs ask the cluster; only a template for them may mount a token.
_WITH_TOKEN = {"small.yaml"}


def of(objects: list[Object], *kinds: str) -> Iterator[Object]:
    """The objects of some kinds."""
    return (item for item in objects if item["kind"] in kinds)


def is_labelled(objects: list[Object]) -> Iterator[str]:
    for item in objects:
        given = item["metadata"].get("labels", {})
        for label in LABELS:
            if f"app.kubernetes.io/{label}" not in given:
                yield f"{name_of(item)} has no label app.kubernetes.io/{label}"
    for item in of(objects, "Namespace"):
        name, given = item["metadata"]["name"], item["metadata"]["labels"]
        least = "baseline" if name == "airflow" else "restricted"
        if given.get("pod-security.kubernetes.io/enforce") != least:
            yield f"Namespace {name} does not enforce {least}"
        if given.get("kubernetes.io/metadata.name") != name:
            yield f"Namespace {name} does not carry its name as a label"


def is_hardened(objects: list[Object]) -> Iterator[str]:
    for pod in pods_of(objects):
        context = pod.spec.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{pod.where} may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.where} has no seccomp profile"
        if pod.spec.get("automountServiceAccountToken") is not (pod.where in _WITH_TOKEN):
            yield f"{pod.where} mounts a token, or lacks one"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.where} gets Services as variables"
        for container in pod.containers:
            if container.get("securityContext") != HARDENED:
                yield f"{pod.where}: the container {container['name']} is not hardened"


def is_bounded(objects: list[Object]) -> Iterator[str]:
    for pod in pods_of(objects):
        for container in pod.containers:
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            if not {"cpu", "memory"} <= set(requests) or "memory" not in limits:
                yield f"{pod.where}: {container['name']} lacks requests or a limit of memory"
            if requests.get("nvidia.com/gpu") != limits.get("nvidia.com/gpu"):
                yield f"{pod.where}: {container['name']} requests other GPUs than its limit"
        for volume in pod.spec.get("volumes", ()):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.where}: the volume {volume['name']} may fill the node"


def has_pinned_images(objects: list[Object]) -> Iterator[str]:
    for pod in pods_of(objects):
        for container in pod.containers:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            if tag in ("", "latest") or container["imagePullPolicy"] != "IfNotPresent":
                yield f"{pod.where}: {container['image']} may be another one tomorrow"


def has_no_secret(objects: list[Object]) -> Iterator[str]:
    for item in of(objects, "Secret"):
        yield f"{name_of(item)} is in a manifest"
    for item in of(objects, "ConfigMap"):
        for key, value in item["data"].items():
            if _SECRET_NAME.search(key) or _PASSWORD.search(value):
                yield f"{name_of(item)}: {key} looks like a secret"
    for pod in pods_of(objects):
        for container in pod.containers:
            for entry in container.get("env", ()):
                value = entry.get("value", "")
                if _SECRET_NAME.search(entry["name"]) or _PASSWORD.search(value):
                    yield f"{pod.where}: {entry['name']} looks like a secret"


def has_no_loose_end(objects: list[Object]) -> Iterator[str]:
    """Whatever is named is there: ConfigMaps, Secrets, accounts, classes, roles, targets."""
    there = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for item in objects
    }
    there |= {("Secret", space, name) for space, names in SECRETS.items() for name in names}
    there.add(("ConfigMap", "airflow", CHART_CONFIG))
    for pod in pods_of(objects):
        for wanted in _named_by(pod.spec, pod.namespace):
            if wanted not in there:
                yield f"{pod.where} names {' '.join(wanted)}, which is not there"
    for item in of(objects, "RoleBinding"):
        role = item["roleRef"]
        bound = [(role["kind"], item["metadata"]["namespace"], role["name"])]
        bound += [(who["kind"], who["namespace"], who["name"]) for who in item["subjects"]]
        for each in bound:
            if each not in there:
                yield f"{name_of(item)} names {' '.join(each)}, which is not there"
    for item in of(objects, "HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]
        if (target["kind"], item["metadata"]["namespace"], target["name"]) not in there:
            yield f"{name_of(item)} scales nothing"
    for item in of(objects, "Service", "PodDisruptionBudget"):
        selector = item["spec"]["selector"]
        selector = selector if item["kind"] != "Service" else {"matchLabels": selector}
        found = [
            pod
            for pod in pods_of(objects)
            if pod.namespace == item["metadata"]["namespace"] and matches(selector, pod.labels)
        ]
        if len(found) != 1:
            yield f"{name_of(item)} selects {len(found)} kinds of pods"


def _named_by(spec: dict[str, Any], namespace: str) -> Iterator[tuple[str, str, str]]:
    if "serviceAccountName" in spec:
        yield "ServiceAccount", namespace, spec["serviceAccountName"]
    if "priorityClassName" in spec:
        yield "PriorityClass", "", spec["priorityClassName"]
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            yield "ConfigMap", namespace, volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", namespace, volume["secret"]["secretName"]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for source in container.get("envFrom", ()):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if key in source:
                    yield kind, namespace, source[key]["name"]


def is_fenced(objects: list[Object]) -> Iterator[str]:
    """Each namespace has a quota, defaults, and refuses what no rule names."""
    for space in NAMESPACES:
        here = [item for item in objects if item["metadata"].get("namespace") == space]
        for kind in ("ResourceQuota", "LimitRange"):
            if len(list(of(here, kind))) != 1:
                yield f"{space} has not one {kind}"
        deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        if deny not in [item["spec"] for item in of(here, "NetworkPolicy")]:
            yield f"{space} lets everything through"
    for item in of(objects, "LimitRange"):
        for limit in item["spec"]["limits"]:
            for name, most in limit["max"].items():
                if name not in limit["default"]:
                    yield f"{name_of(item)}: the maximum of {name} would be everybody's default"
                elif parse_quantity(limit["default"][name]) > parse_quantity(most):
                    yield f"{name_of(item)}: the default of {name} is over the maximum"


def is_of_least_privilege(objects: list[Object]) -> Iterator[str]:
    for item in of(objects, "ClusterRole", "ClusterRoleBinding"):
        yield f"{name_of(item)} reaches into other namespaces"
    for item in of(objects, "Role"):
        for word in re.findall(r"[\w*./-]+", yaml.safe_dump(item["rules"])):
            if FORBIDDEN.fullmatch(word):
                yield f"{name_of(item)} names {word}"


RULES: tuple[Rule, ...] = (
    is_labelled,
    is_hardened,
    is_bounded,
    has_pinned_images,
    has_no_secret,
    has_no_loose_end,
    is_fenced,
    is_of_least_privilege,
)
