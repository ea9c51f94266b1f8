"""Two ways to say what is mapped: each with each, and a whole argument list for each instance."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["lecture"])
def l05_expansions() -> None:
    @task
    def assignments() -> list[dict[str, str]]:
        return [
            {"model": "logistic", "month": "2013-08"},
            {"model": "lightgbm", "month": "2013-09"},
        ]

    @task
    def score(model: str, month: str) -> str:
        return f"{model} {month}"

    models, months = ["logistic", "lightgbm"], ["2013-07", "2013-08", "2013-09"]
    score.override(task_id="each_with_each").expand(model=models, month=months)
    score.override(task_id="one_line_each").expand_kwargs(assignments())


l05_expansions()
