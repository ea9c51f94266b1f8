"""Which cluster may be worked on: one of this machine, or the one that a person has named."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from course.cluster import target
from course.cluster.target import current, is_busy, is_local, may_be_used, message

OWN = "192.168.7.20"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: me, user: {}}]
contexts: [{name: kind-one, context: {cluster: one, user: me}}]
current-context: kind-one
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two addresses, and nobody who has named a cluster."""
    monkeypatch.delenv(target.CONTEXT, raising=False)
    interfaces = {
        "eth0": [SimpleNamespace(address=OWN)],
        "eth1": [SimpleNamespace(address="fe80::1%eth1")],
    }
    monkeypatch.setattr("course.cluster.target.psutil.net_if_addrs", lambda: interfaces)


@pytest.mark.parametrize(
    ("context", "server"),
    [
        ("anything", "https://127.0.0.1:6443"),
        ("anything", "https://127.8.8.8:6443"),
        ("anything", "https://[::1]:6443"),
        ("anything", "https://localhost:6443"),
        ("anything", "https://LOCALHOST:6443"),
        ("k3d-course", "https://0.0.0.0:41234"),
        ("docker-desktop", "https://kubernetes.docker.internal:6443"),
        ("course", f"https://{OWN}:6443"),
        ("course", "https://[fe80::1]:6443"),
        ("kind-course", "https://172.18.0.2:6443"),
        ("minikube", "https://192.168.49.2:8443"),
        ("colima-work", "https://192.168.5.15:6443"),
        ("rancher-desktop", "https://192.168.127.2:6443"),
    ],
)
def test_a_cluster_of_this_machine_is_local(context: str, server: str) -> None:
    assert is_local(context, server)


@pytest.mark.parametrize(
    ("context", "server"),
    [
        ("production", "https://10.0.0.1:6443"),
        ("production", "https://34.90.1.2"),
        ("production", "https://k8s.example.com"),
        ("kind-of-production", "https://34.90.1.2"),
        ("kind-of-production", "https://k8s.example.com"),
        ("not-kind-course", "https://172.18.0.2:6443"),
        ("localhost", "https://127.0.0.1.example.com"),
        ("", "https://10.96.0.1:443"),
        ("", ""),
    ],
)
def test_another_one_is_not(context: str, server: str) -> None:
    assert not is_local(context, server)


def test_a_person_may_name_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    server = "https://34.90.1.2"
    assert not may_be_used("staging", server)
    monkeypatch.setenv(target.CONTEXT, "staging")
    assert may_be_used("staging", server)
    assert not may_be_used("production", server)
    assert may_be_used("production", "https://127.0.0.1:6443")


def test_no_name_is_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(target.CONTEXT, "")
    assert not may_be_used("", "https://10.96.0.1:443")


def test_the_current_context_is_that_of_the_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG, "utf-8")
    for place in ("kubernetes.config", "kubernetes.config.kube_config"):
        monkeypatch.setattr(f"{place}.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    assert current() == ("kind-one", "https://127.0.0.1:6443")


def test_no_kubeconfig_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import ConfigException

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for place in ("kubernetes.config", "kubernetes.config.kube_config"):
        monkeypatch.setattr(f"{place}.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(ConfigException):
        current()


def test_an_error_is_told_in_the_words_of_the_server() -> None:
    error = SimpleNamespace(body='{"message": "exceeded quota"}', status=403, reason="Forbidden")
    assert message(error) == "exceeded quota"
    assert message(SimpleNamespace(body="<html>", status=502, reason="Gone")) == "502 Gone"


def test_a_quota_that_others_use_is_told_from_one_that_is_too_small() -> None:
    gpu = "requests.nvidia.com/gpu"
    words = (
        f'pods "a" is forbidden: exceeded quota: q, requested: {gpu}=2,requests.memory=3Gi, used: '
    )
    assert is_busy(f"{words}{gpu}=1,requests.memory=0, limited: {gpu}=2,requests.memory=3Gi")
    assert not is_busy(f"{words}{gpu}=1,requests.memory=0, limited: {gpu}=2,requests.memory=2500Mi")
    assert not is_busy('pods "a" is forbidden: must specify limits.memory')
