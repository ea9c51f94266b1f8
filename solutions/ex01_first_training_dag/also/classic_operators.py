"""Exercise 1 with operators in place of TaskFlow: the same tasks, wired by hand."""

from datetime import timedelta

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import DAG, Param

THRESHOLD = 0.85


def fetch(model):
    import sentiment

    return sentiment.fetch(model)


def preprocess(tweets):
    import sentiment

    return sentiment.preprocess(tweets)


def split(clear):
    import sentiment

    return sentiment.split(clear)


def train(model, ti):
    import sentiment

    return sentiment.train(ti.xcom_pull(task_ids="split")["train"], model)


def evaluate(ti):
    import sentiment

    model, tables = ti.xcom_pull(task_ids=["train", "split"])
    return sentiment.evaluate(model, tables["test"])


def decide(ti):
    return "deploy" if ti.xcom_pull(task_ids="evaluate") > THRESHOLD else "alert"


def deploy(ti):
    import sentiment

    return sentiment.deploy(ti.xcom_pull(task_ids="train"))


def alert(ti):
    print(f"accuracy {ti.xcom_pull(task_ids='evaluate'):.3f} is too low")


def report(model, ti):
    import sentiment

    accuracy = ti.xcom_pull(task_ids="evaluate")
    content = {"model": model, "accuracy": accuracy, "deployed": accuracy > THRESHOLD}
    return sentiment.write_report(content)


with DAG(
    "ex01_first_training_dag",
    schedule=None,
    catchup=False,
    tags=["exercise"],
    params={"model": Param("balanced", enum=["plain", "balanced"])},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
):
    model = {"model": "{{ params.model }}"}
    first = PythonOperator(task_id="fetch", python_callable=fetch, op_kwargs=model)
    second = PythonOperator(
        task_id="preprocess", python_callable=preprocess, op_args=[first.output]
    )
    third = PythonOperator(task_id="split", python_callable=split, op_args=[second.output])
    fourth = PythonOperator(task_id="train", python_callable=train, op_kwargs=model)
    fifth = PythonOperator(task_id="evaluate", python_callable=evaluate)
    branch = BranchPythonOperator(task_id="decide", python_callable=decide)
    good = PythonOperator(task_id="deploy", python_callable=deploy)
    poor = PythonOperator(task_id="alert", python_callable=alert)
    last = PythonOperator(
        task_id="report",
        python_callable=report,
        op_kwargs=model,
        trigger_rule="none_failed_min_one_success",
    )
    third >> fourth >> fifth >> branch >> [good, poor] >> last
