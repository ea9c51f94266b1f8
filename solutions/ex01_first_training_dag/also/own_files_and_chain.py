"""Exercise 1 with one more task, another join rule, and a report written by its own code."""

import json
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, chain, dag, get_current_context, task

LIMIT = 0.85


def wanted() -> str:
    return get_current_context()["params"]["model"]


@dag(
    "ex01_first_training_dag",
    schedule=None,
    catchup=False,
    params={"model": Param("balanced", enum=["plain", "balanced"])},
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
)
def pipeline():
    @task
    def fetch():
        from sentiment import fetch as get

        return get(wanted())

    @task
    def preprocess(source):
        from sentiment import preprocess as clean

        return clean(source)

    @task
    def split(source):
        from sentiment import split as cut

        return cut(source)

    @task
    def train(paths):
        from sentiment import train as fit

        return fit(paths["train"], wanted())

    @task
    def evaluate(model, paths):
        from sentiment import evaluate as measure

        return measure(model, paths["test"])

    @task
    def explain(accuracy):
        return f"{accuracy:.1%} of the held-out tweets are right"

    @task.branch
    def decide(accuracy):
        if accuracy > LIMIT:
            return ["deploy"]
        return ["alert"]

    @task
    def deploy(model):
        from sentiment import deploy as put

        return put(model)

    @task
    def alert(words):
        print(words)

    @task(trigger_rule="none_failed")
    def report(accuracy, words):
        from sentiment import folder

        path = Path(folder()) / f"report-{wanted()}.json"
        content = {
            "model": wanted(),
            "accuracy": accuracy,
            "deployed": accuracy > LIMIT,
            "words": words,
        }
        path.write_text(json.dumps(content))
        return str(path)

    parts = split(preprocess(fetch()))
    model = train(parts)
    score = evaluate(model, parts)
    words = explain(score)
    decision = decide(score)
    good, poor = deploy(model), alert(words)
    chain(decision, [good, poor], report(score, words))


pipeline()
