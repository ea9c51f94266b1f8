"""One task instance for each month of a list that another task makes."""

from airflow.sdk import Param, TriggerRule, dag, get_current_context, task

BROKEN = "2013-02"


@dag(
    schedule=None,
    catchup=False,
    params={"months": Param(["2013-01", "2013-02", "2013-03"], type="array")},
    tags=["lecture"],
)
def l05_mapping() -> None:
    # [START mapping]
    @task
    def months() -> list[str]:
        return get_current_context()["params"]["months"]

    @task(map_index_template="{{ task.op_kwargs['month'] }}", max_active_tis_per_dagrun=2)
    def count(month: str, table: str) -> dict[str, int]:
        if month == BROKEN:
            raise ValueError(f"{table} of {month} cannot be read")
        return {month: len(month)}

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def add_up(counts: list[dict[str, int]]) -> list[str]:
        return sorted(month for each in counts for month in each)

    add_up(count.partial(table="flights").expand(month=months()))
    # [END mapping]


l05_mapping()
