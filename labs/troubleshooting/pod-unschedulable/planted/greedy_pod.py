"""
### A pod that asks for more GPUs than any node has

**What runs.** One pod, which says hello.

**How to start it.** By hand, with the number of GPUs.

**When it fails.** After an hour of waiting. Until then the pod is pending, and the scheduler of the
cluster says why: `kubectl describe pod`.
"""

from datetime import timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Param, dag
from kubernetes.client import models as k8s

from course_pipelines import DEFAULT_ARGS, Tag


@dag(
    dag_id="lab_greedy_pod",
    schedule=None,
    catchup=False,
    default_args=DEFAULT_ARGS,
    params={"gpus": Param(64, type="integer", minimum=0, description="GPUs to ask for")},
    tags=[Tag.KUBERNETES],
    doc_md=__doc__,
)
def greedy_pod():
    """One task that is a pod."""
    devices = {"nvidia.com/gpu": "{{ params.gpus }}"}
    KubernetesPodOperator(
        task_id="train",
        name="lab-greedy-pod",
        image="busybox:1.37",
        image_pull_policy="IfNotPresent",
        cmds=["echo", "hello from the pod"],
        container_resources=k8s.V1ResourceRequirements(requests=devices, limits=devices),
        startup_timeout_seconds=3600,
        execution_timeout=timedelta(hours=2),
        # While it waits it takes no place from other tasks.
        deferrable=True,
        on_finish_action="delete_pod",
    )


greedy_pod()
