"""Retries are set where the training is, not where the network is.

Caught by: task 2, test_a_fetch_that_fails_once_is_tried_again
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task

THRESHOLD = 0.85


@dag(
    dag_id="ex01_first_training_dag",
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["exercise"],
    params={"model": Param("balanced", enum=["plain", "balanced"])},
    default_args={
        "owner": "you@example.com",
    },
)
def first_training_dag() -> None:
    @task
    def fetch(params: dict) -> str:
        import sentiment

        return sentiment.fetch(params["model"])

    @task
    def preprocess(tweets: str) -> str:
        import sentiment

        return sentiment.preprocess(tweets)

    @task(multiple_outputs=True)
    def split(clear: str) -> dict[str, str]:
        import sentiment

        return sentiment.split(clear)

    @task(retries=2, retry_delay=timedelta(seconds=5))
    def train(table: str, params: dict) -> str:
        import sentiment

        return sentiment.train(table, params["model"])

    @task
    def evaluate(model: str, table: str) -> float:
        import sentiment

        return sentiment.evaluate(model, table)

    @task.branch
    def decide(accuracy: float) -> str:
        return "deploy" if accuracy > THRESHOLD else "alert"

    @task
    def deploy(model: str) -> str:
        import sentiment

        return sentiment.deploy(model)

    @task
    def alert(accuracy: float) -> None:
        print(f"Not deployed: accuracy {accuracy:.3f} is not above {THRESHOLD}")

    @task(trigger_rule="none_failed_min_one_success")
    def report(accuracy: float, params: dict) -> str:
        import sentiment

        return sentiment.write_report(
            {
                "model": params["model"],
                "accuracy": accuracy,
                "deployed": accuracy > THRESHOLD,
            }
        )

    tables = split(preprocess(fetch()))
    model = train(tables["train"])
    accuracy = evaluate(model, tables["test"])
    decide(accuracy) >> [deploy(model), alert(accuracy)] >> report(accuracy)


first_training_dag()
