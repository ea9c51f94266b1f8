"""Three independent checks fan out from one task and join in another."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l01_fan_out() -> None:
    # [START fan_out]
    @task
    def land() -> str:
        return "2013-01"

    @task
    def check(month: str, table: str) -> int:
        return len(month) + len(table)

    @task
    def publish(counts: list[int]) -> int:
        return sum(counts)

    month = land()
    publish([check(month, table) for table in ("flights", "weather", "planes")])
    # [END fan_out]


l01_fan_out()
