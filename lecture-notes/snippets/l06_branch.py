"""Two outcomes of a gate, and the report that both lead to."""

from airflow.sdk import Param, TriggerRule, dag, get_current_context, task


@dag(
    schedule=None,
    catchup=False,
    params={"auc": Param(0.756, type="number")},
    tags=["lecture"],
)
def l06_branch() -> None:
    @task
    def evaluate() -> float:
        return get_current_context()["params"]["auc"]

    @task.branch
    def gate(auc: float) -> str:
        return "deploy" if auc >= 0.74 else "alert"

    @task
    def deploy() -> None:
        print("deployed")

    @task
    def alert() -> None:
        print("not deployed")

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def report() -> str:
        return "written"

    @task
    def impatient_report() -> str:
        return "never written"

    outcomes = [deploy(), alert()]
    gate(evaluate()) >> outcomes
    outcomes >> report()
    outcomes >> impatient_report()


l06_branch()
