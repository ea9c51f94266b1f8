"""
### Train one model on workers that are pods

**What runs.** Would a cluster take these pods? → are lake and MLflow where a pod reaches them? →
training set, written in parts → a Dask scheduler and `workers` workers start as pods → a pod, their
client, trains XGBoost on all of them, another one on a single worker → both judged on the same
later month → report. Whatever happened, the workers are stopped and the run's files removed.

**How to start it.** By hand with `workers`, `memory` and `cpu` (of each), `rounds` (trees), months.
Cluster, image, namespace and what they need are as for `train_on_gpu_pod`.
With Dask's operator the pods come of a DaskCluster, else of a Job. Each run has workers of its own.

**When it fails.** `start_workers` waits ten minutes for its pods and says why they do not run: no
node has room, a quota is used up, no image. A worker that is lost is replaced, and `train` is tried
again. Workers that run out of memory: more of them hold less each. After the run, clearing `train`
starts workers for it, too, and stops them.
"""

from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, setup, task, teardown

from course_pipelines import DEFAULT_ARGS, MONTH, RETRIES, Tag
from flightdelays import dask_objects, dask_pods, pods
from pod_retries import PodRetries
from training_pod import TrainingPod

IMAGE = "{{ var.value.get('training_image', 'flight-delays:0.1.0') }}"
NAMESPACE = "{{ var.value.get('training_namespace', 'ml-training') }}"


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "workers": Param(2, type="integer", minimum=2, maximum=64),
        "memory": Param("2Gi", type="string", pattern=r"^[1-9]\d*[MG]i$", description="of each"),
        "cpu": Param("250m", type="string", pattern=r"^[1-9]\d*m?$", description="of each"),
        "rounds": Param(200, type="integer", minimum=1, description="number of trees"),
        "train_from": Param(None, **MONTH, description="first month to train on, YYYY-MM"),
        "validation_month": Param(None, **MONTH, description="later month to judge by, YYYY-MM"),
    },
    tags=[Tag.TRAINING, Tag.KUBERNETES],
    doc_md=__doc__,
)
def distributed_training_on_pods():
    @task(execution_timeout=timedelta(minutes=1))
    def check_cluster(image: str, namespace: str) -> str:
        """Address of the cluster, once it says that it would accept all pods of the run."""
        context = get_current_context()
        operator = deepcopy(context["dag"].get_task("train"))
        operator.arguments = []  # they name what is yet to be made
        operator.render_template_fields(context)
        with pods.explained():
            pods.check_accepted(operator.client, operator.build_pod_request_obj(context))
            dask_pods.check_accepted(cluster_api(), namespace, image, run_name(), *wanted())
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
        """Folder of the run's training set: training rows in parts, validation rows apart."""
        from flightdelays import distributed, runs, training_set

        months = runs.Window(**window)
        return distributed.write_parts(training_set.build(months), months, run_name())

    @setup
    @task(execution_timeout=timedelta(minutes=25))
    def start_workers(image: str, namespace: str) -> str:
        """Address of the Dask scheduler, once it and its workers run."""
        return dask_pods.start(cluster_api(), namespace, image, run_name(), *wanted())

    @task
    def evaluate(source: str, candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each with its metrics, all on the same rows."""
        from flightdelays import distributed

        return distributed.evaluate(source, candidates)

    @task
    def report(window: dict[str, str], judged: list[dict[str, Any]]) -> str:
        """Path of the verdict."""
        from flightdelays import distributed, pages

        return pages.write(
            "distributed_training_on_pods", run_name(), **distributed.describe(judged, window)
        )

    @teardown
    def stop_workers(namespace: str) -> None:
        """Delete the workers and their scheduler, and see that they are gone."""
        dask_pods.stop(cluster_api(), namespace, run_name())

    @teardown
    def clean_up() -> None:
        """Remove the run's working files."""
        from flightdelays import runs

        runs.clean_up(run_name())

    window = check_availability()
    check_cluster(IMAGE, NAMESPACE) >> window
    source = build_training_set(window)
    # [START workers]
    started = start_workers(IMAGE, NAMESPACE)
    several = train_on("{{ params.workers }}", "train")
    one = train_on("1", "train_on_one_worker")
    # Not at once: they would share what is being compared.
    source >> started >> several >> one
    one >> stop_workers(NAMESPACE).as_teardown(setups=started)
    # [END workers]
    report(window, evaluate(source, [one.output, several.output])) >> clean_up()


def train_on(workers: str, task_id: str) -> TrainingPod:
    """A task that is a pod: the client of the workers, which fits and logs the model."""
    return TrainingPod(
        task_id=task_id,
        doc="The model of so many workers: address in MLflow, rows, seconds.",
        name=task_id.replace("_", "-"),
        namespace=NAMESPACE,
        image=IMAGE,
        cmds=["python", "-m", "flightdelays.distributed"],
        arguments=[
            "--source={{ ti.xcom_pull('build_training_set') }}",
            f"--workers={workers}",
            "--rounds={{ params.rounds }}",
            "--run={{ run_id }}",
            "--scheduler-address={{ ti.xcom_pull('start_workers') }}",
            # A worker that was taken away needs another node, and that its image.
            "--patience=300",
            "--result=/airflow/xcom/return.json",
        ],
        # What it is configured by and what it may do: as the scheduler and the workers.
        full_pod_spec=dask_objects.client(),
        xcom_sidecar_container_security_context=pods.HARDENED,
        container_resources=dask_objects.resources("100m", "2Gi"),
        startup_timeout_seconds=600,
        active_deadline_seconds=55 * 60,
        execution_timeout=timedelta(hours=1),
        retry_policy=PodRetries(rules=RETRIES.rules),
        deferrable=True,
        logging_interval=15,
        durable=True,
        do_xcom_push=True,
        on_finish_action="delete_succeeded_pod",
    )


def cluster_api() -> Any:
    """The API of the cluster that the pods of the tasks run in."""
    return deepcopy(get_current_context()["dag"].get_task("train")).hook.api_client


def wanted() -> tuple[int, str, str]:
    """Number of workers, and memory and CPU of each."""
    params = get_current_context()["params"]
    return params["workers"], params["memory"], params["cpu"]


def run_name() -> str:
    """Name of the run for files and MLflow, the same at every try."""
    return get_current_context()["run_id"]


distributed_training_on_pods()
