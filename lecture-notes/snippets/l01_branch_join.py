"""After a branch one side is skipped: four trigger rules, and what each makes of that."""

from airflow.sdk import Param, TriggerRule, dag, get_current_context, task


@dag(
    schedule=None,
    catchup=False,
    params={"auc": Param(0.76, type="number", description="quality of the candidate")},
    tags=["lecture"],
)
def l01_branch_join() -> None:
    @task
    def deploy() -> str:
        return "deployed"

    @task
    def alert() -> str:
        return "alerted"

    # [START branch_join]
    @task.branch
    def gate() -> str:
        return "deploy" if get_current_context()["params"]["auc"] >= 0.74 else "alert"

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report() -> str:
        return "written"

    outcomes = [deploy(), alert()]
    gate() >> outcomes >> report()
    # [END branch_join]

    for rule in (TriggerRule.ALL_SUCCESS, TriggerRule.ONE_SUCCESS, TriggerRule.ALL_DONE):

        @task(task_id=f"report_{rule.value}", trigger_rule=rule)
        def other_report() -> str:
            return "written"

        outcomes >> other_report()


l01_branch_join()
