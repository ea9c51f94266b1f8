"""What the level ``restricted`` of Kubernetes' Pod Security finds wrong with a pod.

The rules are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/, as far
as a pod without host folders, host ports and host namespaces can break them.
"""

from collections.abc import Iterator
from typing import Any

PROFILES = {"RuntimeDefault", "Localhost"}


def violations(spec: dict[str, Any]) -> Iterator[str]:
    """One sentence for each rule that a container of this pod breaks; ``spec`` as in JSON."""
    whole = spec.get("securityContext") or {}
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        own = container.get("securityContext") or {}
        # What a container says for itself counts, and what the pod says where it is silent.
        both = {**whole, **own}
        name = f"the container {container['name']}"
        if both.get("runAsNonRoot") is not True:
            yield f"{name} may run as root (runAsNonRoot is not set)"
        if both.get("runAsUser") == 0:
            yield f"{name} runs as root (runAsUser is 0)"
        if (both.get("seccompProfile") or {}).get("type") not in PROFILES:
            yield f"{name} may make every system call (seccompProfile is not RuntimeDefault)"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may become root (allowPrivilegeEscalation is not false)"
        capabilities = own.get("capabilities") or {}
        more = set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}
        if "ALL" not in (capabilities.get("drop") or []) or more:
            yield f"{name} keeps rights of root (capabilities do not drop ALL)"
