"""Runs a pod once in a cluster, to see what only a cluster knows: a node, an image, variables.

``python -m course.cluster.trial`` reads the pod as one line of JSON and answers with one line, a
``Trial``. It is a process of its own so that the pod is deleted whatever becomes of whoever asked:
when its input ends, so does the pod.
"""

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TextIO

from pydantic import BaseModel

from course.cluster.target import SECONDS, message, settings

LABEL = "course.example/check"
PATIENCE = 40
"""Seconds that a pod has from its creation to its end."""
DEADLINE = 60
"""Seconds after which the cluster ends a pod that nobody has deleted."""
UNDECIDED = 4
"""Seconds in which a scheduler that says no may find a node after all, as another pod ends."""
CPU = "100m"
SIDECAR = "airflow-xcom-sidecar"
POLL = 0.5
GOING = 40
"""Looks at a pod that is being deleted."""
STUCK = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
PROBE = """
import os, subprocess, sys
unset = [name for name in sys.argv[2:] if not os.environ.get(name)]
done = subprocess.run([sys.executable, "-m", sys.argv[1], "--help"], capture_output=True, text=True)
last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
said = f"`python -m {sys.argv[1]} --help` failed: {last}" if done.returncode else ""
said = ", ".join(unset) + " not set" if unset else said
with open("/dev/termination-log", "w") as place:
    place.write(said[:1000])
sys.exit(bool(said))
"""
"""What the container executes: are these variables there, and can the module be imported?"""


class Trial(BaseModel):
    """How far the pod came, and why not further."""

    outcome: Literal["refused", "unscheduled", "unstarted", "slow", "lost", "failed", "succeeded"]
    """``lost`` is a cluster that stopped answering."""
    reason: str = ""
    """In one word of the cluster: ``Unschedulable``, ``ErrImagePull``, …"""
    message: str = ""
    """In the words of the cluster or, if the container failed, of what ran in it."""
    image: str = ""
    node: str = ""
    labels: dict[str, str] | None = None
    """Labels of its node; None if they may not be read."""


def prepare(
    pod: dict[str, Any], container: str, image: str, module: str, names: Sequence[str], label: str
) -> dict[str, Any]:
    """The same pod for a trial: another command and image, an end, and little of the CPU.

    Whether much CPU is free says nothing about the pod, and on a small machine it is not. The
    sidecar gets the same image: a trial shall not wait for another one.
    """
    trial = deepcopy(pod)
    metadata, spec = trial["metadata"], trial["spec"]
    metadata.pop("name", None)
    metadata["generateName"] = "check-"
    metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: label}
    spec["activeDeadlineSeconds"] = DEADLINE
    spec["restartPolicy"] = "Never"
    base = next(each for each in spec["containers"] if each["name"] == container)
    for amounts in (base.get("resources") or {}).values():
        if "cpu" in amounts:
            amounts["cpu"] = CPU
    base["image"] = image or base["image"]
    for each in spec["containers"]:
        if each["name"] == SIDECAR:
            each["image"] = base["image"]
    base["command"] = ["python", "-c", PROBE]
    base["args"] = [module, *names]
    base["terminationMessagePath"] = "/dev/termination-log"
    return trial


class Trying:
    """The process that makes a trial, while it is being made."""

    def __init__(self, pod: dict[str, Any]) -> None:
        # What ends the group of whoever asked must not end this one, too.
        process = subprocess.Popen(
            [sys.executable, "-m", "course.cluster.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the pipes that were asked for are not there")
        self._process, self._input, self._output = process, process.stdin, process.stdout
        self._input.write(json.dumps(pod) + "\n")
        self._input.flush()

    def result(self) -> Trial:
        """Wait for it; the pod is deleted meanwhile or soon after."""
        line = self._output.readline()
        if not line:
            raise RuntimeError(f"the trial of a pod crashed: {self._process.communicate()[1]}")
        return Trial.model_validate_json(line)

    def close(self) -> None:
        """Return once the pod is deleted."""
        self._process.communicate()


def main(given: TextIO, answers: TextIO) -> None:
    """Make one trial; an end of the input is the end of the pod."""
    from kubernetes.client import ApiClient, ApiException, CoreV1Api
    from urllib3.exceptions import HTTPError

    signal.signal(signal.SIGTERM, _interrupt)
    pod = json.loads(given.readline())
    namespace = pod["metadata"]["namespace"]
    api = CoreV1Api(ApiClient(settings()))
    _remove_leftovers(api, namespace)
    try:
        made = api.create_namespaced_pod(namespace, pod, _request_timeout=SECONDS)
    except ApiException as error:
        _say(answers, Trial(outcome="refused", reason=str(error.reason), message=message(error)))
        return
    try:
        _say(answers, _watch(api, made, given))
    except ApiException as error:
        _say(answers, Trial(outcome="lost", message=message(error)))
    except HTTPError as error:
        _say(answers, Trial(outcome="lost", message=str(error)))
    finally:
        _delete(api, namespace, made.metadata.name)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(answers: TextIO, trial: Trial) -> None:
    print(trial.model_dump_json(), file=answers, flush=True)


def _watch(api: Any, pod: Any, given: TextIO) -> Trial:
    """Look at the pod until it is decided what becomes of it."""
    base = next(each for each in pod.spec.containers if PROBE in (each.command or []))
    begin, trial = time.monotonic(), Trial(outcome="slow")
    while (waited := time.monotonic() - begin) < PATIENCE:
        pod = api.read_namespaced_pod(
            pod.metadata.name, pod.metadata.namespace, _request_timeout=SECONDS
        )
        trial = state(pod, base.name)
        patience = {"slow": PATIENCE, "unscheduled": UNDECIDED}.get(trial.outcome, 0)
        if waited >= patience:
            break
        # Whoever asked writes nothing more: there is something to read when the input has ended.
        if select.select([given], [], [], POLL)[0]:
            break
    return trial.model_copy(update={"image": base.image, "labels": _labels(api, trial.node)})


def state(pod: Any, container: str) -> Trial:
    """How far a pod has come; "slow" as long as it may come further."""
    node = pod.spec.node_name or ""
    for each in pod.status.container_statuses or []:
        if each.name != container:
            continue
        ended, waits = each.state.terminated, each.state.waiting
        if ended:
            return Trial(
                outcome="failed" if ended.exit_code else "succeeded",
                reason=ended.reason or "",
                message=ended.message or f"it ended with exit code {ended.exit_code}",
                node=node,
            )
        if waits and waits.reason in STUCK:
            said = waits.message or ""
            return Trial(outcome="unstarted", reason=waits.reason, message=said, node=node)
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Trial(
                outcome="unscheduled",
                reason=condition.reason or "",
                message=condition.message or "",
            )
    if pod.status.phase == "Failed":
        said = pod.status.message or "it failed before its container started"
        return Trial(outcome="failed", reason=pod.status.reason or "", message=said, node=node)
    return Trial(outcome="slow", node=node)


def _labels(api: Any, node: str) -> dict[str, str] | None:
    from kubernetes.client import ApiException

    if not node:
        return None
    try:
        return dict(api.read_node(node, _request_timeout=SECONDS).metadata.labels or {})
    except ApiException:
        # Who may use a namespace need not be one who may look at nodes.
        return None


def _delete(api: Any, namespace: str, name: str) -> None:
    """Delete a pod and return when it is gone; it has nothing to tidy up."""
    from kubernetes.client import ApiException

    try:
        api.delete_namespaced_pod(name, namespace, grace_period_seconds=1, _request_timeout=SECONDS)
        for _ in range(GOING):
            pod = api.read_namespaced_pod(name, namespace, _request_timeout=SECONDS)
            if pod.status.phase != "Running":
                # Nothing runs in it, or no longer. A node that has not got its image, or is slow
                # to tidy up, would keep the entry for half a minute.
                api.delete_namespaced_pod(
                    name, namespace, grace_period_seconds=0, _request_timeout=SECONDS
                )
            time.sleep(POLL)
    except ApiException as error:
        if error.status != 404:
            raise


def _remove_leftovers(api: Any, namespace: str) -> None:
    """Delete the pods of trials whose process could not, because its machine went down."""
    from kubernetes.client import ApiException

    try:
        found = api.list_namespaced_pod(
            namespace, label_selector=LABEL, _request_timeout=SECONDS
        ).items
    except ApiException:
        return
    for pod in found:
        age = datetime.now(UTC) - pod.metadata.creation_timestamp
        if age > timedelta(seconds=DEADLINE + PATIENCE):
            _delete(api, namespace, pod.metadata.name)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
