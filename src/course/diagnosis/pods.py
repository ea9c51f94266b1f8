"""Pods of tasks that wait for a node, an image or a volume, in the words of the cluster."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from course.api import Airflow
from course.config import Config
from course.environment import client_environment
from course.finding import Finding
from course.state import State

PATIENCE = 10
"""Seconds that a pod may wait before it is worth a word."""

# Seconds to connect and to wait for an answer.
AT_ONCE = (2, 10)


def check(config: Config, state: State, airflow: Airflow) -> Iterator[Finding]:
    """One finding for each pod that waits; asks the cluster only if a task has a pod."""
    tasks = airflow.request(
        "GET",
        "/api/v2/dags/~/dagRuns/~/taskInstances",
        params={"state": ["running", "deferred"], "limit": 100},
    )["task_instances"]
    if not any("Kubernetes" in (task["operator"] or "") for task in tasks):
        return
    answer = ask_cluster(config, state)
    if "problem" in answer:
        yield Finding(
            text=f"tasks wait for pods, and no Kubernetes cluster answers: {answer['problem']}",
            fix="kubectl cluster-info, then look at the Airflow connection kubernetes_default",
        )
        return
    for pod in answer["waiting"]:
        if pod["seconds"] > PATIENCE:
            where = f"--namespace {pod['namespace']} describe pod {pod['name']}"
            yield Finding(
                text=f"{pod['task']} waits for its pod {pod['name']} for {pod['seconds']:.0f} s: "
                f"{pod['reason']}: {pod['message']}{_most(pod, answer['most'])}",
                fix="mark the run failed in the UI, which removes the pod, and start it again with "
                f"what a node has; all there is to know: kubectl {where}",
            )


def _most(pod: dict[str, Any], most: dict[str, int]) -> str:
    """What the pod asks for of a device, against the most that one node has."""
    short = [name for name in pod["devices"] if f"Insufficient {name}" in pod["message"]]
    return "".join(
        f"; it asks for {pod['devices'][name]} {name}, the largest node has {most.get(name, 0)}"
        for name in short
    )


def ask_cluster(config: Config, state: State, *arguments: str) -> dict[str, Any]:
    """What ``main`` says, of the cluster that the tasks of the stack would use."""
    done = subprocess.run(
        [sys.executable, "-m", "course.diagnosis.pods", *arguments],
        env=client_environment(config, state),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    if done.returncode:
        return {"problem": last}
    found: dict[str, Any] = json.loads(last)
    return found


def main() -> dict[str, Any]:
    """Runs in a process of its own, because only that one pays for the imports.

    The pods of tasks that wait, and the most of each device that one node has; or the problem.
    """
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.client import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        api = KubernetesHook(conn_id="kubernetes_default").core_v1_client
        pods = api.list_pod_for_all_namespaces(
            label_selector="kubernetes_pod_operator=True",
            field_selector="status.phase=Pending",
            _request_timeout=AT_ONCE,
        ).items
        waiting = [found for pod in pods if (found := _waiting(api, pod))]
        nodes = api.list_node(_request_timeout=AT_ONCE).items
    except ApiException as error:
        return {"problem": f"{error.status} {error.reason}"}
    except (ConfigException, HTTPError, OSError) as error:
        return {"problem": str(getattr(error, "reason", None) or error)}
    most: dict[str, int] = {}
    for node in nodes:
        for name, number in node.status.allocatable.items():
            # A domain in its name tells a device from memory, processors and disk.
            if "/" in name:
                most[name] = max(most.get(name, 0), int(number))
    return {"waiting": waiting, "most": most}


def _waiting(api: Any, pod: Any) -> dict[str, Any] | None:
    """Why a pod waits: the last event of the scheduler, or what its containers wait for."""
    reason = message = ""
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            reason, message = condition.reason, condition.message
    events = api.list_namespaced_event(
        pod.metadata.namespace,
        field_selector=f"involvedObject.name={pod.metadata.name},reason=FailedScheduling",
        _request_timeout=AT_ONCE,
    ).items
    if events:
        reason, message = events[-1].reason, events[-1].message
    for container in pod.status.container_statuses or []:
        if container.state.waiting and container.state.waiting.message:
            reason, message = container.state.waiting.reason, container.state.waiting.message
    if not reason:
        return None
    asked = [(container.resources.requests or {}) for container in pod.spec.containers]
    return {
        "name": pod.metadata.name,
        "namespace": pod.metadata.namespace,
        "task": f"{pod.metadata.labels.get('dag_id')}.{pod.metadata.labels.get('task_id')}",
        "seconds": (datetime.now(UTC) - pod.metadata.creation_timestamp).total_seconds(),
        "reason": reason,
        "message": message,
        "devices": {n: int(v) for requests in asked for n, v in requests.items() if "/" in n},
    }


if __name__ == "__main__":
    print(json.dumps(main()))
