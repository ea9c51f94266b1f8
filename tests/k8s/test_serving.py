"""The model server: ready once there is a champion, and changed over without a gap."""

import pytest
from kubernetes.client import models as k8s

from course.cluster.sandbox import SERVING, Sandbox, wait
from flightdelays import pods

pytestmark = [pytest.mark.cluster, pytest.mark.long]

ASK = """
import time, urllib.request
good = bad = 0
end = time.time() + 45
while time.time() < end:
    try:
        urllib.request.urlopen("http://model-server:8080/health", timeout=5).close()
        good += 1
    except OSError:
        bad += 1
    time.sleep(0.02)
print(good, bad)
"""


def test_it_is_ready_when_a_model_is_deployed(cluster: Sandbox) -> None:
    """The production pipeline on this platform: data, pods for what is heavy, gate, deployment."""
    (server,) = cluster.pods(SERVING)
    assert not server.status.container_statuses[0].ready
    run_id = cluster.trigger("train_delay_model")
    assert cluster.finish("train_delay_model", run_id, 500)["state"] == "success"
    cluster.kubectl(
        "--namespace", SERVING, "rollout", "status", "--timeout=180s", "deployment/model-server"
    )


def test_a_roll_out_drops_no_request(cluster: Sandbox) -> None:
    """A client in the cluster asks all the time, by the name of the Service."""
    container = k8s.V1Container(
        name="base",
        image="airflow-ml-course/training:3.3.2",
        command=["python", "-c", ASK],
        resources=k8s.V1ResourceRequirements(
            requests={"cpu": "20m", "memory": "64Mi"}, limits={"cpu": "1", "memory": "128Mi"}
        ),
        security_context=pods.HARDENED,
    )
    cluster.core.create_namespaced_pod(
        SERVING,
        k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(name="asker"),
            spec=k8s.V1PodSpec(
                containers=[container],
                restart_policy="Never",
                automount_service_account_token=False,
                security_context=pods.NOT_ROOT,
            ),
        ),
    )

    def phase() -> str:
        return str(cluster.core.read_namespaced_pod("asker", SERVING).status.phase)

    try:
        wait(lambda: phase() == "Running", "the client runs", 60)
        before = _servers(cluster)
        cluster.kubectl("--namespace", SERVING, "rollout", "restart", "deployment/model-server")
        cluster.kubectl(
            "--namespace", SERVING, "rollout", "status", "--timeout=120s", "deployment/model-server"
        )
        assert not before & _servers(cluster)
        wait(lambda: phase() == "Succeeded", "the client has asked enough", 90)
        good, bad = cluster.kubectl("--namespace", SERVING, "logs", "asker").split()
    finally:
        cluster.core.delete_namespaced_pod("asker", SERVING)
    assert int(good) > 200
    assert int(bad) == 0


def _servers(cluster: Sandbox) -> set[str]:
    """Names of the model servers that are not on their way out."""
    return {
        pod.metadata.name
        for pod in cluster.pods(SERVING, **{"app.kubernetes.io/name": "model-server"})
        if pod.metadata.deletion_timestamp is None
    }
