"""The same clean-up twice: as a last task that always runs, and as a teardown."""

from airflow.sdk import TriggerRule, dag, task, teardown


@dag(schedule=None, catchup=False, tags=["lecture"])
def l01_clean_up_always() -> None:
    @task
    def train() -> str:
        return "model"

    # [START always]
    @task(trigger_rule=TriggerRule.ALL_DONE)
    def clean_up() -> None:
        print("working files removed")

    # [END always]
    train() >> clean_up()


@dag(schedule=None, catchup=False, tags=["lecture"])
def l01_clean_up_teardown() -> None:
    @task
    def train() -> str:
        return "model"

    # [START teardown]
    @teardown
    def clean_up() -> None:
        print("working files removed")

    # [END teardown]
    train() >> clean_up()


l01_clean_up_always()
l01_clean_up_teardown()
