"""The values for Airflow's chart, joined as Helm joins them, and what the chart knows of each."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
HELM = REPOSITORY / "k8s" / "helm"
KUBERNETES = "1.37"
OVERLAYS = ("local", "production")
FIELDS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("chart_fields.yaml").read_text())
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "setting": (str, int, float, bool),
    "mapping": (dict,),
}
# How an object is wrapped into a whole one: what stands for it is HERE.
HERE = object()
BOX = {"name": "box", "image": "box:1"}
WRAPPED: dict[str, Any] = {
    "PodSecurityContext": {"securityContext": HERE, "containers": [BOX]},
    "SecurityContext": {"containers": [BOX | {"securityContext": HERE}]},
    "ResourceRequirements": {"containers": [BOX | {"resources": HERE}]},
    "EnvVar": {"containers": [BOX | {"env": [HERE]}]},
    "EnvVars as a string": {"containers": [BOX | {"env": HERE}]},
    "EnvFromSources as a string": {"containers": [BOX | {"envFrom": HERE}]},
    "VolumeMount": {"containers": [BOX | {"volumeMounts": [HERE]}]},
    "Volume": {"containers": [BOX], "volumes": [HERE]},
    "EmptyDirVolumeSource": {"containers": [BOX], "volumes": [{"name": "v", "emptyDir": HERE}]},
}
Steps = tuple[str, ...]


def read(name: str) -> dict[str, Any]:
    """One file of values."""
    found: dict[str, Any] = yaml.safe_load((HELM / f"{name}.yaml").read_text("utf-8"))
    return found


def merge(below: Any, above: Any) -> Any:
    """Values as Helm joins them: maps by key, everything else as a whole."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: merge(below.get(key), value) for key, value in above.items()}


def values(overlay: str) -> dict[str, Any]:
    """What the chart is given."""
    merged: dict[str, Any] = merge(read("values"), read(overlay))
    return merged


def pattern(path: str) -> Steps:
    """``a.b[].*`` as its steps: a, b, [], *."""
    return tuple(path.replace("[]", ".[]").split("."))


PATTERNS = {pattern(path): kind for path, kind in FIELDS.items()}


def known(steps: Steps) -> Steps | None:
    """The pattern of the chart's fields that these steps fit, if there is one."""
    for candidate in PATTERNS:
        if len(candidate) == len(steps) and all(
            want in ("*", step) for want, step in zip(candidate, steps, strict=True)
        ):
            return candidate
    return None


def leaves(node: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Steps | None, Any]]:
    """Each value that is set: its path, the pattern that knows it (or None), and the value."""
    if found := known(steps):
        yield steps, found, node
    elif isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, (*steps, str(key)))
    elif isinstance(node, list) and node:
        for item in node:
            yield from leaves(item, (*steps, "[]"))
    else:
        yield steps, None, node


def put(template: Any, value: Any) -> Any:
    """The template with the value in the place of HERE."""
    if template is HERE:
        return value
    if isinstance(template, dict):
        return {key: put(item, value) for key, item in template.items()}
    return [put(item, value) for item in template] if isinstance(template, list) else template


def complaint(kind: Any, value: Any) -> str | None:
    """What is wrong with a value of this kind, if anything is."""
    if isinstance(kind, list):
        return None if value in kind else f"is none of {', '.join(kind)}"
    if kind == "executors":
        one = r"([a-zA-Z_]\w*\.)*[A-Z][a-zA-Z0-9]+Executor"
        return None if re.fullmatch(f"{one}(,{one})*", value) else "is no list of executors"
    if wanted := TYPES.get(kind):
        wrong_bool = isinstance(value, bool) and bool not in wanted
        return f"is no {kind}" if wrong_bool or not isinstance(value, wanted) else None
    whole: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "box"}}
    if kind == "NetworkPolicyPeer":
        whole |= {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        whole["spec"] = {"podSelector": {}, "ingress": [{"from": [value]}]}
    else:
        inner = yaml.safe_load(value) if kind.endswith("as a string") else value
        whole["spec"] = put(WRAPPED[kind], inner)
    try:
        kubernetes_validate.validate(whole, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"is no {kind}: {error.message}"
    return None
