"""Training in pods: where they may run and what they may do, and a plain word when they cannot.

Written with Kubernetes' own classes, so that a pipeline, a test and a check of the cluster talk
of the same pod.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.client import ApiException, CoreV1Api
from kubernetes.client import models as k8s
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from flightdelays.errors import CourseError, ServiceError
from flightdelays.settings import Settings, get_settings

# Seconds to connect and to wait for an answer. The client connects up to four times.
_AT_ONCE = (1, 4)

# NVIDIA's GPU feature discovery gives nodes this label.
GPU_NODES = {"nvidia.com/gpu.present": "true"}

# How clouds mark nodes that are cheap and may be taken away: GKE, AKS, Karpenter (EKS).
_SPOT = {
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
    "karpenter.sh/capacity-type": "spot",
}
TOLERATED = [
    k8s.V1Toleration(key=key, operator="Exists", effect="NoSchedule")
    for key in ("nvidia.com/gpu", *_SPOT)
]
PREFER_SPOT = k8s.V1Affinity(
    node_affinity=k8s.V1NodeAffinity(
        preferred_during_scheduling_ignored_during_execution=[
            k8s.V1PreferredSchedulingTerm(
                weight=100,
                preference=k8s.V1NodeSelectorTerm(
                    match_expressions=[
                        k8s.V1NodeSelectorRequirement(key=key, operator="In", values=[value])
                    ]
                ),
            )
            for key, value in _SPOT.items()
        ]
    )
)

NOT_ROOT = k8s.V1PodSecurityContext(
    run_as_non_root=True,
    run_as_user=1000,
    run_as_group=1000,
    seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
)
HARDENED = k8s.V1SecurityContext(
    allow_privilege_escalation=False,
    read_only_root_filesystem=True,
    capabilities=k8s.V1Capabilities(drop=["ALL"]),
)
# The only place that a hardened container can write to, besides its result.
SCRATCH = k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource(size_limit="2Gi"))
SCRATCH_MOUNT = k8s.V1VolumeMount(name="tmp", mount_path="/tmp")  # noqa: S108
ENVIRONMENT = [
    k8s.V1EnvVar(name="HOME", value=SCRATCH_MOUNT.mount_path),
    k8s.V1EnvVar(
        name="NODE_NAME",
        value_from=k8s.V1EnvVarSource(
            field_ref=k8s.V1ObjectFieldSelector(field_path="spec.nodeName")
        ),
    ),
]


def configured_by(name: str) -> list[k8s.V1EnvFromSource]:
    """Environment out of the namespace's ConfigMap and Secret of that name."""
    return [
        k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name=name)),
        k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name)),
    ]


def check_accepted(api: CoreV1Api, pod: k8s.V1Pod) -> None:
    """Ask the cluster to create a pod without doing it: rights, quota, policies, service account.

    Takes the right to create pods and no other. Raises what the Kubernetes client raises.
    """
    api.create_namespaced_pod(pod.metadata.namespace, pod, dry_run="All", _request_timeout=_AT_ONCE)


@contextmanager
def explained() -> Iterator[None]:
    """Turns what goes wrong with a cluster within it into a CourseError that says what to do."""
    try:
        yield
    except (ConfigException, HTTPError) as error:
        reason = getattr(error, "reason", None) or error
        raise CourseError(
            f"no Kubernetes cluster answers ({reason}): make one with `kind create cluster --name "
            "course`, or name yours in the Airflow connection kubernetes_default"
        ) from error
    except ApiException as error:
        raise_refusal(error)
        raise


def raise_refusal(error: Exception) -> None:
    """Say in words why the cluster refuses a pod; returns if it is not that which went wrong.

    A quota that is used up is free again when others have trained: a ServiceError. All else that
    the cluster refuses is for a person to mend: a CourseError.
    """
    if not isinstance(error, ApiException) or error.status not in {400, 403, 404, 422}:
        return
    message = _message(error)
    if "exceeded quota" in message:
        raise ServiceError(
            f"the namespace has no room for the pod now: {message}. `kubectl --namespace "
            "ml-training get resourcequotas,pods` shows who has it"
        ) from error
    raise CourseError(
        f"the cluster does not take the training pod: {message}. What it needs there is made by "
        "`kubectl apply --kustomize k8s/overlays/local`"
    ) from error


def _message(error: ApiException) -> str:
    """What the API server says, without the headers around it."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def check_reachable(settings: Settings | None = None) -> None:
    """CourseError unless lake and MLflow have addresses: a pod sees no folder of this machine."""
    from flightdelays.lake import open_lake  # not above: this module is imported at parse time

    settings = settings or get_settings()
    if open_lake(settings).is_local:
        raise CourseError(
            f"a pod cannot read the lake {settings.lake}: set FLIGHTDELAYS_LAKE to an S3 address, "
            "s3://bucket/prefix"
        )
    if not settings.mlflow_tracking_uri.startswith("http"):
        raise CourseError(
            f"a pod cannot log to MLflow at {settings.mlflow_tracking_uri}: set "
            "FLIGHTDELAYS_MLFLOW_TRACKING_URI to the address of a server"
        )
