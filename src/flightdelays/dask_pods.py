"""Dask workers that are pods, for the time of one run.

Where Dask's operator is installed and we may use it, one DaskCluster resource says what is wanted.
Elsewhere pods and a Job do the same, and no other right is needed: the scheduler is a pod whose IP
is the address, the workers are those of a Job that belongs to it, so that the one takes the other
along when it is deleted.

Whoever reaches a scheduler's port can run code on its workers: let a NetworkPolicy keep it to the
pods of the namespace. All ports among these must be open, for XGBoost chooses its own.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kubernetes.client import (
    ApiClient,
    ApiException,
    ApisApi,
    BatchV1Api,
    CoreV1Api,
    CustomObjectsApi,
    V1Pod,
)
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from flightdelays import dask_objects, pod_trouble, pods
from flightdelays.dask_objects import GROUP, PLURAL, SCHEDULER, VERSION, WORKER
from flightdelays.errors import ServiceError
from flightdelays.pod_trouble import Kind, Trouble

log = logging.getLogger(__name__)
T = TypeVar("T")

_AT_ONCE = (2, 10)  # seconds to connect and to wait for an answer
_PASSING = {Kind.UNSCHEDULABLE, Kind.TAKEN_AWAY}  # time may mend these
# Said when the cluster says nothing, by whether there is any pod.
_NO_REASON = {
    True: "they are still starting",
    False: "none has been made yet; out of a DaskCluster, Dask's operator makes them, if it runs",
}
_GONE = 120  # seconds that pods may take to end


class _NotYetError(ServiceError):
    """Not all is as it should be, but it still may come."""


def start(
    api: ApiClient,
    namespace: str,
    image: str,
    run: str,
    workers: int,
    memory: str,
    cpu: str = "250m",
    patience: float = 600,
) -> str:
    """Start a Dask scheduler and its workers as pods; returns the scheduler's address.

    Each worker has one thread, at least ``cpu`` and at most ``memory``, as in ``500m`` and ``2Gi``.
    What an earlier try of the run left is removed first. Raises CourseError if the cluster refuses,
    and ServiceError if it is full, a pod cannot start, or not all run after ``patience`` seconds;
    nothing is left.
    """
    name = dask_objects.name_of(run)
    stop(api, namespace, run)
    try:
        with pods.explained():
            if check_accepted(api, namespace, image, run, workers, memory, cpu):
                CustomObjectsApi(api).create_namespaced_custom_object(
                    *(GROUP, VERSION, namespace, PLURAL),
                    dask_objects.dask_cluster(namespace, image, run, workers, memory, cpu),
                    _request_timeout=_AT_ONCE,
                )
                _wait(api, namespace, run, SCHEDULER, 1, patience)
                address = f"tcp://{name}-scheduler.{namespace}.svc:{dask_objects.PORT}"
            else:
                wanted = dask_objects.scheduler(namespace, image, run)
                CoreV1Api(api).create_namespaced_pod(namespace, wanted, _request_timeout=_AT_ONCE)
                (leader,) = _wait(api, namespace, run, SCHEDULER, 1, patience)
                address = f"tcp://{leader.status.pod_ip}:{dask_objects.PORT}"
                job = dask_objects.workers_of(leader, image, run, workers, memory, cpu, address)
                BatchV1Api(api).create_namespaced_job(namespace, job, _request_timeout=_AT_ONCE)
            _wait(api, namespace, run, WORKER, workers, patience)
            return address
    except BaseException:
        stop(api, namespace, run)
        raise


def check_accepted(
    api: ApiClient, namespace: str, image: str, run: str, workers: int, memory: str, cpu: str
) -> bool:
    """Ask the cluster to create the objects without doing it; True if it takes a DaskCluster.

    If not, it was asked for the pod and the Job. Raises what the Kubernetes client raises.
    """
    asked: dict[str, Any] = {"dry_run": "All", "_request_timeout": _AT_ONCE}
    if _has_operator(api):
        wanted = dask_objects.dask_cluster(namespace, image, run, workers, memory, cpu)
        try:
            CustomObjectsApi(api).create_namespaced_custom_object(
                GROUP, VERSION, namespace, PLURAL, wanted, **asked
            )
        except ApiException as error:
            if error.status not in {403, 404}:
                raise
        else:
            return True
    leader = dask_objects.scheduler(namespace, image, run)
    pods.check_accepted(CoreV1Api(api), leader)
    leader.metadata.uid = "not-yet"
    job = dask_objects.workers_of(leader, image, run, workers, memory, cpu, "tcp://not-yet:1")
    BatchV1Api(api).create_namespaced_job(namespace, job, **asked)
    return False


def stop(api: ApiClient, namespace: str, run: str) -> None:
    """Delete what ``start`` made for a run, and wait until it is gone; none need be there.

    Raises ServiceError if pods are left after two minutes.
    """
    name = dask_objects.name_of(run)
    cascade: dict[str, Any] = {"propagation_policy": "Background", "_request_timeout": _AT_ONCE}
    with pods.explained():
        if _has_operator(api):
            with _absent(403, 404):  # who may not delete one has made none
                CustomObjectsApi(api).delete_namespaced_custom_object(
                    GROUP, VERSION, namespace, PLURAL, name, **cascade
                )
        with _absent(404):
            BatchV1Api(api).delete_namespaced_job(name, namespace, **cascade)
        with _absent(404):
            CoreV1Api(api).delete_namespaced_pod(f"{name}-{SCHEDULER}", namespace, **cascade)

        def gone() -> None:
            left = [pod.metadata.name for pod in _pods(api, namespace, run)]
            if left:
                raise _NotYetError(
                    f"pods of the run are still in {namespace}: {', '.join(left)}. `kubectl "
                    f"--namespace {namespace} delete pods --selector "
                    f"{_selector(dask_objects.labels(run))}` ends them"
                )

        _until(gone, _GONE)


def _has_operator(api: ApiClient) -> bool:
    """Whether the cluster knows Dask's resources. Every account may ask for the API groups."""
    known = ApisApi(api).get_api_versions(_request_timeout=_AT_ONCE).groups
    return any(group.name == GROUP for group in known)


def _wait(
    api: ApiClient, namespace: str, run: str, role: str, number: int, patience: float
) -> list[V1Pod]:
    """The pods of a role, once so many are ready."""

    def ready() -> list[V1Pod]:
        there = [
            pod for pod in _pods(api, namespace, run, role) if not pod.metadata.deletion_timestamp
        ]
        running = [pod for pod in there if _is_ready(pod)]
        if len(running) >= number:
            return running
        trouble = _trouble(api, there)
        error = _NotYetError if trouble is None or trouble.kind in _PASSING else ServiceError
        why = trouble or _refusal(api, namespace, run) or _NO_REASON[bool(there)]
        raise error(f"{len(running)} of {number} pods of Dask's {role} run in {namespace}: {why}")

    return _until(ready, patience)


def _is_ready(pod: V1Pod) -> bool:
    return pod.status.phase == "Running" and all(
        each.ready for each in pod.status.container_statuses or []
    )


def _trouble(api: ApiClient, there: list[V1Pod]) -> Trouble | None:
    """What is wrong with the first pod that has something wrong."""
    core = CoreV1Api(api)
    for pod in there:
        events = pod_trouble.events_about(core, pod.metadata.name, pod.metadata.namespace)
        trouble = pod_trouble.of(pod, events)
        if trouble:
            return trouble
    return None


def _refusal(api: ApiClient, namespace: str, run: str) -> str:
    """Why the cluster makes no pods out of a run's Job or Deployments; empty if it does not say."""
    listed = CoreV1Api(api).list_namespaced_event(
        namespace, field_selector="reason=FailedCreate", _request_timeout=_AT_ONCE
    )
    name = dask_objects.name_of(run)
    said = [event for event in listed.items if event.involved_object.name.startswith(name)]
    newest = max(said, key=lambda event: event.metadata.creation_timestamp, default=None)
    return str(newest.message) if newest else ""


def _pods(api: ApiClient, namespace: str, run: str, role: str = "") -> list[V1Pod]:
    selector = _selector(dask_objects.labels(run, role))
    listed = CoreV1Api(api).list_namespaced_pod(
        namespace, label_selector=selector, _request_timeout=_AT_ONCE
    )
    return list(listed.items)


def _selector(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _until(look: Callable[[], T], patience: float, pause: float = 1) -> T:
    """What ``look`` returns once it raises _NotYetError no more; after ``patience`` that error."""
    return Retrying(
        retry=retry_if_exception_type(_NotYetError),
        stop=stop_after_delay(patience),
        wait=wait_fixed(pause),
        before_sleep=_say_once(),
        reraise=True,
    )(look)


def _say_once() -> Callable[[RetryCallState], None]:
    """Logs why something is waited for whenever the reason changes."""
    told = ""

    def say(state: RetryCallState) -> None:
        nonlocal told
        reason = str(state.outcome.exception()) if state.outcome else ""
        if reason != told:
            log.info("%s", reason)
            told = reason

    return say


@contextmanager
def _absent(*statuses: int) -> Iterator[None]:
    """An answer with such a status is as good as success."""
    try:
        yield
    except ApiException as error:
        if error.status not in statuses:
            raise
