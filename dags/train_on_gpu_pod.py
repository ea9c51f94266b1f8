"""
### Train the delay model in a pod with a GPU

**What runs.** Would a cluster take this very pod? → is the data there, where a pod can read it? →
training set → the pod: `python -m flightdelays.train`, the command that also runs on a laptop →
report. XGBoost uses the GPU when it finds one, the CPU when not, and says which.

**How to start it.** By hand, with `model`, `rounds` (trees), `gpus`, `memory`, months. `k8s/`
makes what the pod needs in the namespace `ml-training`: the service account `trainer`, a ConfigMap
and a Secret named `flight-delays`. Image and namespace are the Variables `training_image` and
`training_namespace`. The cluster is that of the Connection `kubernetes_default`; without it the one
that Airflow runs in; else that of the file named by `KUBECONFIG`, or `~/.kube/config`, which
`kind create cluster` writes.

**When it fails.** The log says in words what the cluster means, while the pod still waits, and the
command that shows more. A pod that is taken away is tried again and goes on from its checkpoint.
After a lack of memory the next try has twice as much, once. A failed pod is kept.
"""

from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task, teardown
from kubernetes.client import models as k8s

from course_pipelines import DEFAULT_ARGS, MONTH, RETRIES, Tag
from flightdelays import pods
from flightdelays.settings import MODELS
from pod_retries import PodRetries
from training_pod import TrainingPod


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULT_ARGS,
    params={
        "model": Param("xgboost", enum=list(MODELS), description="only xgboost uses a GPU"),
        "rounds": Param(None, type=["null", "integer"], minimum=1, description="usual: 200"),
        "image": Param(None, type=["null", "string"], description="usual: training_image"),
        "gpus": Param(1, type="integer", minimum=1, maximum=8),
        "cpu": Param("1", type="string", pattern=r"^[1-9]\d*m?$"),
        "memory": Param("4Gi", type="string", pattern=r"^[1-9]\d*[MG]i$"),
        "train_from": Param(None, **MONTH, description="first month to train on, YYYY-MM"),
        "validation_month": Param(None, **MONTH, description="month after the training months"),
    },
    tags=[Tag.TRAINING, Tag.KUBERNETES],
    doc_md=__doc__,
)
def train_on_gpu_pod():
    @task(execution_timeout=timedelta(minutes=1))
    def check_cluster() -> str:
        """Address of the cluster, once it says that it would accept the training pod."""
        context = get_current_context()
        operator = deepcopy(context["dag"].get_task("train"))
        operator.arguments = []  # they name a training set that is yet to be built
        operator.render_template_fields(context)
        with pods.explained():
            pods.check_accepted(operator.client, operator.build_pod_request_obj(context))
        return operator.hook.api_client.configuration.host

    @task
    def check_availability() -> dict[str, str]:
        """Months to train on and to judge by, once all is there and where a pod can reach it."""
        from flightdelays import availability

        pods.check_reachable()
        params = get_current_context()["params"]
        return asdict(availability.check(params["train_from"], params["validation_month"]))

    @task(pool="memory")
    def build_training_set(window: dict[str, str]) -> str:
        """Address of the run's training set in the lake."""
        from flightdelays import dataset, runs, training_set

        return dataset.save(training_set.build(runs.Window(**window)), run_name())

    @task
    def report(window: dict[str, str], result: dict[str, Any]) -> str:
        """Path of the verdict."""
        from flightdelays import pages

        params = get_current_context()["params"]
        return pages.write(
            "train_on_gpu_pod",
            run_name(),
            headline=f"{result['model']} was trained on {result['rows']:,} flights in "
            f"{result['seconds']} s on node {result['node']}, device {result['device']}.",
            facts=[
                f"The flights are those of {window['train_from']} to {window['train_to']}.",
                f"The pod had {params['gpus']} GPU and {params['memory']} of memory.",
                f"The model is {result['address']} in MLflow, run {result['run_id']}.",
            ],
            data=result,
        )

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    window = check_availability()
    trained = train_pod()
    check_cluster() >> window
    build_training_set(window) >> trained
    report(window, trained.output) >> clean_up()


def train_pod() -> TrainingPod:
    """The task that is a pod: what it runs, what it needs, where it may go, what it may do."""
    devices = {"nvidia.com/gpu": "{{ params.gpus }}"}
    memory = {"memory": "{{ params.memory }}"}
    return TrainingPod(
        task_id="train",
        doc="The fitted model: MLflow run, address, rows, seconds, device and node.",
        name="train",
        namespace="{{ var.value.get('training_namespace', 'ml-training') }}",
        labels={"app.kubernetes.io/name": "flight-delays", "app.kubernetes.io/component": "train"},
        image="{{ params.image or var.value.get('training_image', 'flight-delays:0.1.0') }}",
        image_pull_policy="IfNotPresent",
        # [START command]
        cmds=["python", "-m", "flightdelays.train"],
        arguments=[
            "--source={{ ti.xcom_pull('build_training_set') }}",
            "--train-from={{ ti.xcom_pull('check_availability').train_from }}",
            "--train-to={{ ti.xcom_pull('check_availability').train_to }}",
            "--validation={{ ti.xcom_pull('check_availability').validation }}",
            "--model={{ params.model }}",
            "--rounds={{ params.rounds or 0 }}",
            "--run={{ run_id }}",
            "--result=/airflow/xcom/return.json",
        ],
        # [END command]
        env_vars=pods.ENVIRONMENT,
        # Addresses and credentials are in the cluster, never here.
        env_from=pods.configured_by("flight-delays"),
        # [START resources]
        # A GPU is whole and has no overcommitment: request and limit are the same.
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "{{ params.cpu }}", **memory, **devices}, limits={**memory, **devices}
        ),
        node_selector=pods.GPU_NODES,
        tolerations=pods.TOLERATED,
        affinity=pods.PREFER_SPOT,
        # [END resources]
        # It asks nothing of the cluster and writes nowhere but to /tmp and its result.
        service_account_name="trainer",
        automount_service_account_token=False,
        security_context=pods.NOT_ROOT,
        container_security_context=pods.HARDENED,
        xcom_sidecar_container_security_context=pods.HARDENED,
        volumes=[pods.SCRATCH],
        volume_mounts=[pods.SCRATCH_MOUNT],
        priority_class_name="ml-training",
        startup_timeout_seconds=600,
        # The pod ends by itself even if nobody is left to end it, and before the task does.
        active_deadline_seconds=55 * 60,
        execution_timeout=timedelta(hours=1),
        retries=3,
        retry_policy=PodRetries(rules=RETRIES.rules),
        deferrable=True,
        logging_interval=15,
        durable=True,
        do_xcom_push=True,
        termination_message_policy="FallbackToLogsOnError",
        on_finish_action="delete_succeeded_pod",
    )


def run_name() -> str:
    """Name of the run for files and MLflow, the same at every try."""
    return get_current_context()["run_id"]


train_on_gpu_pod()
