"""Exercise 4: train the delay model in a Kubernetes pod that has a GPU."""

from airflow.sdk import Param, dag, task
from kubernetes.client import models as k8s

MONTH = {"type": "string", "pattern": r"^\d{4}-\d{2}$"}

# The namespace takes no pod that can become root: the first is for the pod, the second for each of
# its containers.
NOT_ROOT = k8s.V1PodSecurityContext(
    run_as_non_root=True,
    run_as_user=50000,
    seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
)
NO_PRIVILEGES = k8s.V1SecurityContext(
    allow_privilege_escalation=False,
    capabilities=k8s.V1Capabilities(drop=["ALL"]),
)


@dag(
    dag_id="ex04_gpu_pod",
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["exercise"],
    params={
        "image": Param("flight-delays:0.1.0", type="string"),
        "source": Param("s3://lake/runs/demo/training_set.parquet", type="string"),
        "train_from": Param("2013-01", **MONTH),
        "train_to": Param("2013-08", **MONTH),
        "validation": Param("2013-09", **MONTH),
        "model": Param("xgboost", enum=["xgboost", "hist_gradient", "logistic"]),
        "gpus": Param(1, type="integer", minimum=1, maximum=8),
        "memory": Param("4Gi", type="string", pattern=r"^[1-9]\d*[MG]i$"),
    },
    # TODO 6: a task whose node was taken away is tried again.
    default_args={"owner": "you@example.com"},
)
def gpu_pod() -> None:
    # TODO 1: make `train` a pod that runs `python -m flightdelays.train` with its options.
    # TODO 2: give the pod the GPUs and the memory that the run asks for.
    # TODO 3: let it go to nodes that have a GPU, cheap ones too, and to no others.
    # TODO 4: take the environment from the ConfigMap and the Secret `flight-delays`.
    # TODO 7: label the pod, show its log while it runs, and keep it if it fails.
    @task
    def train() -> dict:
        return {}

    # TODO 5: return the pod's model, rows and device.
    @task
    def report(result: dict) -> dict:
        return {}

    report(train())


gpu_pod()
