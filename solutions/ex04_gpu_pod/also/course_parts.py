"""Exercise 4 with the parts of the course's own pipeline; deferrable, so no worker waits."""

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Param, dag, task
from kubernetes.client import models as k8s

from course_pipelines import RETRIES
from flightdelays import pods
from pod_retries import PodRetries

GPU = "nvidia.com/gpu"
MONTH = {"type": "string", "pattern": r"^\d{4}-\d{2}$"}


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
        env_vars=pods.ENVIRONMENT,
        env_from=pods.configured_by("flight-delays"),
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "1", **size},
            limits=size,
        ),
        node_selector=pods.GPU_NODES,
        tolerations=pods.TOLERATED,
        affinity=pods.PREFER_SPOT,
        service_account_name="trainer",
        automount_service_account_token=False,
        security_context=pods.NOT_ROOT,
        container_security_context=pods.HARDENED,
        xcom_sidecar_container_security_context=pods.HARDENED,
        volumes=[pods.SCRATCH],
        volume_mounts=[pods.SCRATCH_MOUNT],
        active_deadline_seconds=55 * 60,
        do_xcom_push=True,
        deferrable=True,
        logging_interval=15,
        on_finish_action="delete_succeeded_pod",
        startup_timeout_seconds=600,
        execution_timeout=timedelta(hours=1),
        retries=3,
        retry_policy=PodRetries(rules=RETRIES.rules),
    )

    @task
    def report(result: dict) -> dict:
        return {name: result[name] for name in ("model", "rows", "device")}

    report(train.output)


gpu_pod()
