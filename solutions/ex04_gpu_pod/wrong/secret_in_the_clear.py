"""The credentials are written into the DAG, and so into the repository, the UI and the pod.

Caught by: task 4, test_no_secret_stands_in_the_pod
"""

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Param, dag, task
from kubernetes.client import models as k8s

GPU = "nvidia.com/gpu"
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
    default_args={"owner": "you@example.com"},
)
def gpu_pod() -> None:
    size = {"memory": "{{ params.memory }}", GPU: "{{ params.gpus }}"}
    train = KubernetesPodOperator(
        task_id="train",
        name="train",
        namespace="ml-training",
        labels={"app.kubernetes.io/name": "flight-delays", "app.kubernetes.io/component": "train"},
        image="{{ params.image }}",
        cmds=["python", "-m", "flightdelays.train"],
        arguments=[
            "--source={{ params.source }}",
            "--train-from={{ params.train_from }}",
            "--train-to={{ params.train_to }}",
            "--validation={{ params.validation }}",
            "--model={{ params.model }}",
            "--run={{ run_id }}",
            "--result=/airflow/xcom/return.json",
        ],
        env_from=[
            k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name="flight-delays")),
        ],
        env_vars={"AWS_ACCESS_KEY_ID": "trainer", "AWS_SECRET_ACCESS_KEY": "not-so-secret"},
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "1", **size},
            limits=size,
        ),
        node_selector={"nvidia.com/gpu.present": "true"},
        tolerations=[
            k8s.V1Toleration(key=GPU, operator="Exists", effect="NoSchedule"),
            k8s.V1Toleration(
                key="cloud.google.com/gke-spot", operator="Exists", effect="NoSchedule"
            ),
        ],
        security_context=NOT_ROOT,
        container_security_context=NO_PRIVILEGES,
        xcom_sidecar_container_security_context=NO_PRIVILEGES,
        do_xcom_push=True,
        get_logs=True,
        on_finish_action="delete_succeeded_pod",
        startup_timeout_seconds=600,
        execution_timeout=timedelta(hours=1),
        retries=3,
        retry_delay=timedelta(seconds=30),
    )

    @task
    def report(result: dict) -> dict:
        return {name: result[name] for name in ("model", "rows", "device")}

    report(train.output)


gpu_pod()
