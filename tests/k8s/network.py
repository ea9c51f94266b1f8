"""What the network policies let through, worked out as Kubernetes does it.

A talk is allowed if the policies that select the one who begins let it out and those that select
the other let it in. A pod that no policy selects for a direction is free in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from course.cluster.manifests import Object


@dataclass(frozen=True)
class End:
    """One end of a talk: a pod with its labels, or an address outside of the cluster."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    address: str = ""


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels; an empty one selects all."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for asked in selector.get("matchExpressions", ()):
        inside = labels.get(asked["key"]) in asked.get("values", ())
        held = {
            "In": inside,
            "NotIn": not inside,
            "Exists": asked["key"] in labels,
            "DoesNotExist": asked["key"] not in labels,
        }
        if not held[asked["operator"]]:
            return False
    return True


def may_talk(objects: list[Object], begin: End, to: End, port: int, protocol: str = "TCP") -> bool:
    """Whether ``begin`` reaches that port of ``to``."""
    spaces = {
        item["metadata"]["name"]: item["metadata"]["labels"]
        for item in objects
        if item["kind"] == "Namespace"
    }
    out = _allows(objects, spaces, begin, to, ("Egress", "egress", "to"), (port, protocol))
    into = _allows(objects, spaces, to, begin, ("Ingress", "ingress", "from"), (port, protocol))
    return out and into


def _selecting(objects: list[Object], pod: End, direction: str) -> Iterator[dict[str, Any]]:
    for item in objects:
        if item["kind"] != "NetworkPolicy" or item["metadata"]["namespace"] != pod.namespace:
            continue
        spec = item["spec"]
        if direction in spec["policyTypes"] and matches(spec["podSelector"], dict(pod.labels)):
            yield spec


def _allows(
    objects: list[Object],
    spaces: dict[str, dict[str, str]],
    pod: End,
    other: End,
    words: tuple[str, str, str],
    port: tuple[int, str],
) -> bool:
    if pod.address:
        return True
    direction, rules, peers = words
    policies = list(_selecting(objects, pod, direction))
    if not policies:
        return True
    for rule in (rule for spec in policies for rule in spec.get(rules, ())):
        if not _port(rule.get("ports"), *port):
            continue
        if peers not in rule or any(
            _peer(peer, other, pod.namespace, spaces) for peer in rule[peers]
        ):
            return True
    return False


def _port(ports: list[dict[str, Any]] | None, number: int, protocol: str) -> bool:
    return ports is None or any(
        entry["protocol"] == protocol
        and entry["port"] <= number <= entry.get("endPort", entry["port"])
        for entry in ports
    )


def _peer(peer: dict[str, Any], end: End, home: str, spaces: dict[str, dict[str, str]]) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return (
            bool(end.address)
            and ip_address(end.address) in ip_network(block["cidr"])
            and not any(ip_address(end.address) in ip_network(no) for no in block.get("except", ()))
        )
    if end.address:
        return False
    if "namespaceSelector" in peer:
        # A namespace that is not ours has the label that Kubernetes gives it, and those told.
        known = spaces.get(end.namespace, {"kubernetes.io/metadata.name": end.namespace})
        if not matches(peer["namespaceSelector"], known):
            return False
    elif end.namespace != home:
        return False
    return matches(peer.get("podSelector", {}), dict(end.labels))
