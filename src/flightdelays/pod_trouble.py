"""What is wrong with a pod, in words: read from its status and from the events about it.

Kubernetes says it in five places (phase, conditions, waiting and terminated containers, events) and
in its own abbreviations. ``of`` reads them in the order in which one causes the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kubernetes.client import ApiException, CoreV1Api, V1ContainerStatus, V1Pod

# Seconds to connect and to wait for an answer.
_AT_ONCE = (2, 10)


class Kind(StrEnum):
    """Sorts of trouble; what is to be done differs between them."""

    UNSCHEDULABLE = "unschedulable"
    IMAGE = "image"
    CONFIGURATION = "configuration"
    OUT_OF_MEMORY = "out of memory"
    TAKEN_AWAY = "taken away"
    DEADLINE = "deadline"
    FAILED = "failed"


@dataclass(frozen=True)
class Trouble:
    """What is wrong: its kind, a sentence, the command that shows more, and two figures."""

    kind: Kind
    text: str
    look: str
    memory: str = ""
    """The limit of the container that ran out of memory, as in ``4Gi``."""
    exit_code: int | None = None

    def __str__(self) -> str:
        return f"{self.text}. To look further: {self.look}"


class PodError(Exception):
    """The pod of a task ended badly, or never began; ``trouble`` says why."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_CONFIGURATION = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
# Reasons of a pod, of its events and of its condition DisruptionTarget.
_TAKEN_AWAY = {
    "Evicted": "was evicted",
    "Preempted": "made room for a pod of higher priority",
    "Preempting": "made room for a pod of higher priority",
    "PreemptionByScheduler": "made room for a pod of higher priority",
    "NodeLost": "was on a node that is lost",
    "NodeShutdown": "was on a node that was shut down",
    "Shutdown": "was on a node that was shut down",
    "Terminated": "was on a node that was shut down",
    "TerminationByKubelet": "was on a node that ran short or was shut down",
    "TaintManagerEviction": "was on a node that is no longer ready",
    "DeletionByTaintManager": "was on a node that is no longer ready",
    "DeletionByPodGC": "was on a node that is gone",
    "EvictionByEvictionAPI": "was evicted to empty its node",
}
# Ended by a signal: 128 and its number. What else ends a program so is a person, or its node.
_SIGNALS = {137: "SIGKILL", 143: "SIGTERM"}


def of(pod: V1Pod, events: Sequence[Any] = ()) -> Trouble | None:
    """The trouble a pod has, or None; ``events`` are those about it, the oldest first."""
    return next(_found(pod, events), None)


def _found(pod: V1Pod, events: Sequence[Any]) -> Iterator[Trouble]:
    name, namespace, status = pod.metadata.name, pod.metadata.namespace, pod.status
    describe = f"kubectl --namespace {namespace} describe pod {name}"
    logs = f"kubectl --namespace {namespace} logs {name} --container "
    for each in _containers(pod):
        ended = each.state.terminated if each.state else None
        if ended and ended.reason == "OOMKilled":
            limit = _limit(pod, each.name)
            yield Trouble(
                Kind.OUT_OF_MEMORY,
                f"the container {each.name} of {name} was killed because it used more memory than "
                f"its limit of {limit or 'none: the node was full'}",
                describe,
                memory=limit,
                exit_code=ended.exit_code,
            )
    reasons = [status.reason, *(each.reason for each in status.conditions or [] if each.status)]
    reasons += [event.reason for event in events]
    why = next((reason for reason in reasons if reason in _TAKEN_AWAY), None)
    if why:
        said = status.message or _last(events, why)
        yield Trouble(
            Kind.TAKEN_AWAY, f"{name} {_TAKEN_AWAY[why]}{f' ({said})' if said else ''}", describe
        )
    if pod.metadata.deletion_timestamp:
        yield Trouble(Kind.TAKEN_AWAY, f"{name} was deleted while it ran", _events_of(pod))
    if status.reason == "DeadlineExceeded":
        yield Trouble(
            Kind.DEADLINE,
            f"{name} ran longer than the {pod.spec.active_deadline_seconds} s it may take",
            logs + _base(pod),
        )
    for each in _containers(pod):
        ended, waiting = (each.state.terminated, each.state.waiting) if each.state else (None, None)
        if ended and ended.exit_code:
            signal = _SIGNALS.get(ended.exit_code)
            said = (ended.message or "").strip().splitlines()
            yield Trouble(
                Kind.FAILED,
                f"the program in {each.name} of {name} ended with exit code {ended.exit_code}"
                + (f", by {signal} from outside" if signal else "")
                + (f": {said[-1]}" if said else ""),
                logs + each.name,
                exit_code=ended.exit_code,
            )
        if waiting and waiting.reason in _IMAGE:
            yield Trouble(
                Kind.IMAGE,
                f"the image {each.image} of {name} cannot be had"
                f" ({waiting.reason}: {waiting.message or 'no more is said'}): is its name right, "
                "and is it where the nodes pull from, or loaded into a local cluster",
                describe,
            )
        if waiting and waiting.reason in _CONFIGURATION:
            yield Trouble(
                Kind.CONFIGURATION,
                f"the container {each.name} of {name} cannot be made ({waiting.message}): what the "
                f"pod refers to must be in the namespace {namespace}",
                f"kubectl --namespace {namespace} get configmaps,secrets,serviceaccounts",
            )
    said = _unscheduled(pod) or _last(events, "FailedScheduling")
    if said and status.phase == "Pending" and not pod.spec.node_name:
        asked = _asked(pod)
        yield Trouble(
            Kind.UNSCHEDULABLE,
            f"no node can take {name}, which asks for {asked} (the scheduler: {said})",
            f"{describe}; kubectl describe nodes",
        )


def read(api: CoreV1Api, name: str, namespace: str) -> Trouble | None:
    """The trouble of a pod of the cluster; one that is not there was taken away.

    Raises what the Kubernetes client raises, but for a pod that is gone.
    """
    try:
        pod = api.read_namespaced_pod(name, namespace, _request_timeout=_AT_ONCE)
    except ApiException as error:
        if error.status != 404:
            raise
        return gone(name, namespace)
    return of(pod, events_about(api, name, namespace))


def gone(name: str, namespace: str) -> Trouble:
    """The trouble of a pod that is not there any more."""
    return Trouble(
        Kind.TAKEN_AWAY,
        f"{name} is gone: somebody deleted it, or its node was taken away",
        f"kubectl --namespace {namespace} get events --field-selector involvedObject.name={name}",
    )


def events_about(api: CoreV1Api, name: str, namespace: str) -> list[Any]:
    """The events about a pod, the oldest first; the cluster keeps them for an hour."""
    listed = api.list_namespaced_event(
        namespace, field_selector=f"involvedObject.name={name}", _request_timeout=_AT_ONCE
    ).items
    return sorted(listed, key=lambda event: event.metadata.creation_timestamp)


def _containers(pod: V1Pod) -> list[V1ContainerStatus]:
    """Status of each container; that of the program comes before those of its helpers."""
    status = pod.status
    return [*(status.init_container_statuses or []), *(status.container_statuses or [])]


def _base(pod: V1Pod) -> str:
    return str(pod.spec.containers[0].name)


def _limit(pod: V1Pod, container: str) -> str:
    """The memory limit of a container, as in ``4Gi``; empty if it has none."""
    specs = [*(pod.spec.init_containers or []), *pod.spec.containers]
    resources = next(each.resources for each in specs if each.name == container)
    return str(((resources and resources.limits) or {}).get("memory", ""))


def _asked(pod: V1Pod) -> str:
    """What the pod's program requests, devices first: it is most often these that lack."""
    resources = pod.spec.containers[0].resources
    requests = dict((resources and resources.requests) or {})
    names = sorted(requests, key=lambda name: ("/" not in name, name))
    return ", ".join(f"{requests[name]} {name}" for name in names) or "nothing in particular"


def _unscheduled(pod: V1Pod) -> str:
    """The scheduler's words about a pod that it has found no node for."""
    for each in pod.status.conditions or []:
        if each.type == "PodScheduled" and each.status == "False":
            return str(each.message or "")
    return ""


def _last(events: Sequence[Any], reason: str) -> str:
    """The newest message of the events of a reason."""
    return next((str(each.message) for each in reversed(events) if each.reason == reason), "")


def _events_of(pod: V1Pod) -> str:
    return (
        f"kubectl --namespace {pod.metadata.namespace} get events "
        f"--field-selector involvedObject.name={pod.metadata.name}"
    )
