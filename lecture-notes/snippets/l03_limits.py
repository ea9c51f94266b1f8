"""Every limit that can keep a task from being queued, in one DAG."""

from airflow.sdk import dag, task


# [START limits]
@dag(
    schedule=None,
    max_active_runs=2,  # runs of this DAG at work; more wait as `queued`
    max_active_tasks=4,  # tasks of one run, queued or running
    catchup=False,
    tags=["lecture"],
)
def l03_limits() -> None:
    @task(
        pool="l03_cores",  # shared with every DAG that names it
        max_active_tis_per_dag=3,  # instances of this task, over all runs of the DAG
        priority_weight=1,
        weight_rule="absolute",
    )
    def search(number: int) -> int:
        return number

    @task(pool="l03_cores")  # weighs 2: itself and `deploy`, which waits for it
    def train() -> str:
        return "model"

    @task
    def deploy(model: str) -> str:
        return model

    search.expand(number=[1, 2, 3, 4, 5, 6])
    deploy(train())
    # [END limits]


l03_limits()
