"""Two tasks that join a short branch and a long one: one of them does not wait for both."""

from airflow.sdk import TriggerRule, dag, get_current_context, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l01_early_join() -> None:
    @task
    def flights() -> str:
        return "flights"

    @task
    def stations() -> str:
        return "stations"

    @task
    def hours(stations: str) -> str:
        return f"hours of {stations}"

    @task
    def weather(hours: str) -> str:
        return "weather"

    # [START early_join]
    @task(trigger_rule=TriggerRule.ONE_SUCCESS)
    def publish_early() -> list[str]:
        return what_is_there()

    @task  # trigger_rule=TriggerRule.ALL_SUCCESS, unless you say otherwise
    def publish() -> list[str]:
        return what_is_there()

    landed = [flights(), weather(hours(stations()))]
    landed >> publish_early()
    landed >> publish()
    # [END early_join]


def what_is_there() -> list[str]:
    """Which of the two tables has been landed when this is asked."""
    landed = get_current_context()["ti"].xcom_pull(task_ids=["flights", "weather"])
    return [table for table in landed if table]


l01_early_join()
