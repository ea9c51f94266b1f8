"""Which Kubernetes cluster answers, and whether it is one for trying things out."""

import ipaddress
import json
import os
import re
from typing import Any
from urllib.parse import urlsplit

import psutil

CONTEXT = "COURSE_CLUSTER_CONTEXT"
"""Variable that names the context of a cluster that may be worked on though it is not local."""
LOCAL = ("kind-", "k3d-", "minikube", "docker-desktop", "rancher-desktop", "colima")
"""How the contexts begin that the makers of clusters for one machine write."""
OF_THIS_MACHINE = ("localhost", "kubernetes.docker.internal", "host.docker.internal")
SECONDS = 2
"""For a sign of life, and for each answer."""


def settings() -> Any:
    """A client's settings for the current context; raises what ``load_config`` raises."""
    from kubernetes.client import Configuration
    from kubernetes.config import load_config

    found = Configuration()
    load_config(client_configuration=found)
    # One try: the client's own repetitions would take as long again.
    found.retries = False
    return found


def current() -> tuple[str, str]:
    """Name of the current context, "" inside a cluster, and the address of its server.

    Raises ConfigException if no cluster is configured.
    """
    return context(), str(settings().host)


def context() -> str:
    """Name of the current context of the kubeconfig; "" if there is none."""
    from kubernetes.config import ConfigException, list_kube_config_contexts

    try:
        return str(list_kube_config_contexts()[1]["name"])
    except ConfigException:
        return ""


def is_local(context_name: str, server: str) -> bool:
    """Whether the cluster runs on this machine, as far as a name and an address can tell.

    An address of this machine is enough. A name like ``kind-course`` is not: its server must have
    a private address besides, as a cluster in a virtual machine has.
    """
    host = (urlsplit(server).hostname or "").lower()
    if host in OF_THIS_MACHINE:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or str(address) in _own_addresses():
        return True
    return address.is_private and context_name.startswith(LOCAL)


def may_be_used(context_name: str, server: str) -> bool:
    """Whether things may be created there: it is local, or the person has named it."""
    named = os.environ.get(CONTEXT, "")
    return is_local(context_name, server) or (named != "" and named == context_name)


def _own_addresses() -> set[str]:
    """The addresses of the network interfaces of this machine."""
    found = (entry.address for each in psutil.net_if_addrs().values() for entry in each)
    # An address of IPv6 names its interface: fe80::1%eth0.
    return {address.partition("%")[0].lower() for address in found}


def message(error: Any) -> str:
    """What the server says in an ApiException, without the headers around it."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def is_busy(said: str) -> bool:
    """Whether a quota refuses only because of what others use now: the whole would be enough.

    ``exceeded quota: NAME, requested: cpu=1,…, used: cpu=3,…, limited: cpu=3,…``
    """
    from kubernetes.utils.quantity import parse_quantity

    if "exceeded quota" not in said:
        return False
    parts = re.split(r"requested: |used: |limited: ", said)
    _, requested, _, limited = [dict(re.findall(r"([\w./-]+)=([\w.]+)", part)) for part in parts]
    return all(parse_quantity(requested[name]) <= parse_quantity(limited[name]) for name in limited)
