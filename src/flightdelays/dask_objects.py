"""The objects of a Dask cluster in Kubernetes: what ``flightdelays.dask_pods`` makes and deletes.

Their names and labels follow from the run alone, so that every try of a task finds the same.
"""

import hashlib
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client import models as k8s

from flightdelays import pods

PORT = 8786
# Named as Dask's operator looks them up. Its schema takes no number where a name may stand.
_PORTS = {"tcp-comm": PORT, "http-dashboard": 8787}
GROUP, VERSION, PLURAL = "kubernetes.dask.org", "v1", "daskclusters"
# Seconds after which all ends by itself, should nobody be left to end it.
LIFETIME = 3 * 60 * 60
# A worker that hears nothing of its scheduler for so many seconds ends.
SILENCE = 60
SCHEDULER, WORKER = "scheduler", "worker"
_COMMON = {
    "app.kubernetes.io/name": "flight-delays",
    "app.kubernetes.io/part-of": "airflow-ml-course",
}
ROLE = "flight-delays/dask"  # label that tells the two apart


def name_of(run: str) -> str:
    """Name of a run's cluster: short, and the same at every try."""
    return f"dask-{hashlib.sha256(run.encode()).hexdigest()[:10]}"


def labels(run: str, role: str = "") -> dict[str, str]:
    """Labels of the objects of a run, or of the pods of a role."""
    own = {"app.kubernetes.io/component": "dask", "app.kubernetes.io/instance": name_of(run)}
    return _COMMON | own | ({ROLE: role} if role else {})


def scheduler(namespace: str, image: str, run: str) -> k8s.V1Pod:
    """The pod of the scheduler. It stays off spot nodes: without it the training is lost."""
    spec = _scheduler_spec(image)
    spec.restart_policy = "Never"  # a new one would know nothing of the work of the old
    spec.active_deadline_seconds = LIFETIME
    return k8s.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=_metadata(namespace, run, SCHEDULER, f"{name_of(run)}-{SCHEDULER}"),
        spec=spec,
    )


def workers_of(
    leader: k8s.V1Pod, image: str, run: str, workers: int, memory: str, cpu: str, address: str
) -> k8s.V1Job:
    """The Job whose pods are the workers of a scheduler; one that is lost is replaced."""
    namespace = leader.metadata.namespace
    spec = _worker_spec(image, memory, cpu, address)
    spec.restart_policy = "Never"
    metadata = _metadata(namespace, run, WORKER, name_of(run))
    metadata.owner_references = [
        k8s.V1OwnerReference(
            api_version="v1", kind="Pod", name=leader.metadata.name, uid=leader.metadata.uid
        )
    ]
    lost = k8s.V1PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")
    return k8s.V1Job(
        api_version="batch/v1",
        kind="Job",
        metadata=metadata,
        spec=k8s.V1JobSpec(
            parallelism=workers,
            completions=workers,
            backoff_limit=2 * workers,
            # A node that is taken away is no failure of the worker.
            pod_failure_policy=k8s.V1PodFailurePolicy(
                rules=[k8s.V1PodFailurePolicyRule(action="Ignore", on_pod_conditions=[lost])]
            ),
            active_deadline_seconds=LIFETIME,
            ttl_seconds_after_finished=60,
            template=k8s.V1PodTemplateSpec(
                metadata=k8s.V1ObjectMeta(labels=labels(run, WORKER)), spec=spec
            ),
        ),
    )


def dask_cluster(
    namespace: str, image: str, run: str, workers: int, memory: str, cpu: str
) -> dict[str, Any]:
    """The resource out of which Dask's operator makes the same."""
    ports = [
        {"name": name, "protocol": "TCP", "port": number, "targetPort": name}
        for name, number in _PORTS.items()
    ]
    body: dict[str, Any] = ApiClient().sanitize_for_serialization(
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "DaskCluster",
            "metadata": _metadata(namespace, run, "", name_of(run)),
            "spec": {
                "idleTimeout": LIFETIME,
                "scheduler": {
                    "metadata": {"labels": {ROLE: SCHEDULER}},
                    "spec": _scheduler_spec(image),
                    "service": {
                        "type": "ClusterIP",
                        "selector": {
                            "dask.org/cluster-name": name_of(run),
                            "dask.org/component": "scheduler",
                        },
                        "ports": ports,
                    },
                },
                # The operator puts the scheduler's address into the environment.
                "worker": {
                    "metadata": {"labels": {ROLE: WORKER}},
                    "replicas": workers,
                    "spec": _worker_spec(image, memory, cpu),
                },
            },
        }
    )
    return body


def client() -> k8s.V1Pod:
    """The pod that trains on the workers, but for its command, image and resources."""
    container = _container("base", None, None, None)
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(labels=_COMMON | {"app.kubernetes.io/component": "train"}),
        spec=_pod_spec(container),
    )


def resources(cpu: str, memory: str) -> k8s.V1ResourceRequirements:
    """So much CPU at least, and more where it is free; so much memory and no more."""
    return k8s.V1ResourceRequirements(
        requests={"cpu": cpu, "memory": memory}, limits={"memory": memory}
    )


def _metadata(namespace: str, run: str, role: str, name: str) -> k8s.V1ObjectMeta:
    return k8s.V1ObjectMeta(
        name=name,
        namespace=namespace,
        labels=labels(run, role),
        annotations={"flight-delays/run": run},
    )


def _scheduler_spec(image: str) -> k8s.V1PodSpec:
    command = ["dask", "scheduler", f"--port={PORT}", "--no-dashboard"]
    container = _container(SCHEDULER, image, command, resources("50m", "1Gi"))
    container.ports = [
        k8s.V1ContainerPort(name=name, container_port=number, protocol="TCP")
        for name, number in _PORTS.items()
    ]
    # A connection to the port of the workers would be a line in the log each time.
    container.readiness_probe = k8s.V1Probe(
        http_get=k8s.V1HTTPGetAction(path="/health", port="http-dashboard"), period_seconds=2
    )
    return _pod_spec(container)


def _worker_spec(image: str, memory: str, cpu: str, address: str = "") -> k8s.V1PodSpec:
    """A pod tells the others the IP by which it reaches the scheduler: its own."""
    command = [
        *("dask", "worker", *([address] if address else [])),
        *("--nthreads=1", f"--memory-limit={memory}B", "--no-dashboard"),
        *(f"--local-directory={pods.SCRATCH_MOUNT.mount_path}", f"--death-timeout={SILENCE}"),
    ]
    spec = _pod_spec(_container(WORKER, image, command, resources(cpu, memory)))
    # They may be taken away, but a GPU is not for them.
    spec.tolerations = [each for each in pods.TOLERATED if each.key != "nvidia.com/gpu"]
    spec.affinity = pods.PREFER_SPOT
    return spec


def _container(
    name: str,
    image: str | None,
    command: list[str] | None,
    needs: k8s.V1ResourceRequirements | None,
) -> k8s.V1Container:
    return k8s.V1Container(
        name=name,
        image=image,
        image_pull_policy="IfNotPresent",
        command=command,
        env=pods.ENVIRONMENT,
        env_from=pods.configured_by("flight-delays"),
        resources=needs,
        security_context=pods.HARDENED,
        volume_mounts=[pods.SCRATCH_MOUNT],
        termination_message_policy="FallbackToLogsOnError",
    )


def _pod_spec(container: k8s.V1Container) -> k8s.V1PodSpec:
    return k8s.V1PodSpec(
        containers=[container],
        service_account_name="trainer",
        # As any training: it makes room for what serves people.
        priority_class_name="ml-training",
        automount_service_account_token=False,
        # Dask takes every DASK_… of the environment for a setting, those of its Service too.
        enable_service_links=False,
        security_context=pods.NOT_ROOT,
        volumes=[pods.SCRATCH],
    )
