"""Exercise 4 with a whole pod as a dictionary, and the secret key by key."""

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import DAG, Param, task

GPU = "nvidia.com/gpu"
MONTH = {"type": "string", "pattern": r"^\d{4}-\d{2}$"}


def from_config(name):
    """An environment variable out of the ConfigMap."""
    return {
        "name": name,
        "valueFrom": {"configMapKeyRef": {"name": "flight-delays", "key": name}},
    }


NO_PRIVILEGES = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "labels": {
            "app.kubernetes.io/name": "flight-delays",
            "app.kubernetes.io/component": "train",
        }
    },
    "spec": {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 50000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "base",
                "securityContext": NO_PRIVILEGES,
                "env": [
                    from_config("FLIGHTDELAYS_LAKE"),
                    from_config("FLIGHTDELAYS_MLFLOW_TRACKING_URI"),
                ],
            }
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "nvidia.com/gpu.present",
                                    "operator": "In",
                                    "values": ["true"],
                                }
                            ]
                        }
                    ]
                }
            }
        },
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
    },
}

with DAG(
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
    default_args={"owner": "you@example.com", "retries": 2},
):
    train = KubernetesPodOperator(
        task_id="train",
        namespace="ml-training",
        image="{{ params.image }}",
        pod_template_dict=POD,
        cmds=["sh", "-c"],
        arguments=[
            "python -m flightdelays.train --source {{ params.source }} --model {{ params.model }} "
            "--train-from {{ params.train_from }} --train-to {{ params.train_to }} "
            "--validation {{ params.validation }} --run '{{ run_id }}' "
            "--result /airflow/xcom/return.json"
        ],
        container_resources={
            "requests": {"cpu": "1"},
            "limits": {"memory": "{{ params.memory }}", GPU: "{{ params.gpus }}"},
        },
        secrets=[
            Secret("env", "AWS_ACCESS_KEY_ID", "flight-delays", "AWS_ACCESS_KEY_ID"),
            Secret("env", "AWS_SECRET_ACCESS_KEY", "flight-delays", "AWS_SECRET_ACCESS_KEY"),
        ],
        do_xcom_push=True,
        xcom_sidecar_container_security_context=NO_PRIVILEGES,
        on_finish_action="delete_succeeded_pod",
        startup_timeout_seconds=900,
        execution_timeout=timedelta(minutes=90),
    )

    @task
    def report(ti) -> dict:
        result = ti.xcom_pull(task_ids="train")
        return {"model": result["model"], "rows": result["rows"], "device": result["device"]}

    train >> report()
