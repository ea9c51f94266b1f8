"""One pipeline per theme, on Celery, S3, Redis, Kafka and MLflow, each to its verdict."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import fsspec
import httpx
import pandas as pd
import pytest

from course.containers.demo import lake_environment, state_of
from course.containers.sandbox import Sandbox, wait
from course.kafka import send
from flightdelays import registry
from flightdelays.requests import DEAD_LETTERS, TOPIC
from flightdelays.settings import Settings

pytestmark = pytest.mark.stack
TRAIN = "train_delay_model"


@pytest.fixture(scope="module")
def settings(stack: Sandbox) -> Settings:
    """MLflow of the stack, as it is reached from this machine."""
    return Settings(mlflow_tracking_uri=stack.settings.url("MLFLOW_PORT"))


def demo(stack: Sandbox, *arguments: str) -> dict[str, Any]:
    """Run a demo; the verdict that it wrote."""
    done = stack.course("demo-stack", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((stack.settings.home / "demo.json").read_text())
    return dict(content["verdict"])


def server(stack: Sandbox) -> dict[str, int | None]:
    """The versions that the model server answers with, by alias."""
    aliases = stack.get("MODEL_PORT", "/")["aliases"]
    return {alias: found["version"] for alias, found in aliases.items()}


def example(settings: Settings) -> dict[str, Any]:
    """A question to the model, out of the example that was logged with it."""
    model = registry.client(settings).get_model_version_by_alias(settings.model_name, "staging")
    import mlflow

    info = mlflow.models.get_model_info(model.source)
    rows = mlflow.pyfunc.load_model(model.source).input_example
    assert info.signature is not None
    return {"dataframe_split": json.loads(pd.DataFrame(rows).to_json(orient="split", index=False))}


@contextmanager
def questions(stack: Sandbox, alias: str, body: Any, threads: int = 4) -> Iterator[list[Any]]:
    """Ask the model server without a pause; yields the list of answers (status, version)."""
    answers: list[Any] = []
    over = threading.Event()
    url = f"{stack.settings.url('MODEL_PORT')}/{alias}/invocations"

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not over.is_set():
                try:
                    answer = client.post(url, json=body)
                    answers.append((answer.status_code, answer.headers.get("X-Model-Version")))
                except httpx.TransportError as error:
                    answers.append((repr(error), None))
                time.sleep(0.05)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(ask) for _ in range(threads)]
        try:
            yield answers
        finally:
            over.set()
        for future in running:
            future.result()


def test_production(stack: Sandbox, settings: Settings) -> None:
    assert server(stack) == {"champion": None, "staging": None}
    none_yet = httpx.post(
        f"{stack.settings.url('MODEL_PORT')}/champion/invocations", json={}, trust_env=False
    )
    assert none_yet.status_code == 503
    verdict = demo(stack)
    assert verdict["deployed"]
    assert verdict["aliases"] == ["staging", "champion"]
    # The same rows and the same seed as on a laptop give the same model.
    assert verdict["train_rows"] == 217_727
    assert verdict["metrics"]["auc"] == pytest.approx(0.7557, abs=0.002)
    wait(lambda: server(stack) == {"champion": 1, "staging": 1}, "the model server has version 1")
    assert registry.alias_version("champion", settings) == 1
    report = httpx.get(verdict["report_url"], trust_env=False)
    assert report.status_code == 200
    assert "hist_gradient" in report.text
    assert httpx.get(verdict["data_docs_url"], trust_env=False).status_code == 200


def test_the_server_answers_as_the_model_does(stack: Sandbox, settings: Settings) -> None:
    question = example(settings)
    answer = httpx.post(
        f"{stack.settings.url('MODEL_PORT')}/champion/invocations", json=question, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == "1"
    loaded = registry.load_alias("champion", settings)
    assert loaded is not None
    rows = pd.DataFrame(**question["dataframe_split"])
    served = pd.DataFrame(answer.json()["predictions"]).to_numpy()
    assert served == pytest.approx(loaded[1].predict_proba(rows))
    wrong = {"dataframe_split": {"columns": ["carrier"], "data": [["UA"]]}}
    refused = httpx.post(
        f"{stack.settings.url('MODEL_PORT')}/champion/invocations", json=wrong, trust_env=False
    )
    assert refused.status_code == 400


def test_what_lies_where(stack: Sandbox, settings: Settings) -> None:
    values = lake_environment(stack.settings)
    lake = fsspec.filesystem(
        "s3",
        key=values["AWS_ACCESS_KEY_ID"],
        secret=values["AWS_SECRET_ACCESS_KEY"],
        client_kwargs={"endpoint_url": values["AWS_ENDPOINT_URL"], "region_name": "us-east-1"},
    )
    months = lake.glob("lake/raw/flights/month=*/part.parquet")
    assert len(months) == 9
    assert lake.glob("lake/features/tailnum_delays/month=*/part.parquet")
    logs = lake.glob(f"logs/tasks/dag_id={TRAIN}/**/attempt=1.log")
    assert {log.rpartition("task_id=")[2].partition("/")[0] for log in logs} >= {"train", "deploy"}
    model = registry.client(settings).get_model_version("flight-delay", "1")
    assert lake.find("mlflow"), "MLflow keeps its artefacts in S3"
    assert model.run_id is not None
    [run] = [stack.api.runs(TRAIN)[-1]]
    tasks = {t["task_id"]: t for t in stack.api.task_instances(TRAIN, run["dag_run_id"])}
    # Of a task that has ended the pages show what lies in S3.
    assert any("hist_gradient" in line or "rows" in line for line in stack.api.log(tasks["train"]))
    assert len({task["hostname"] for task in tasks.values() if task["hostname"]}) == 2


def test_online_features_come_from_redis(stack: Sandbox) -> None:
    told = stack.python(
        "worker",
        "from flightdelays import store; import json;"
        "print(json.dumps(store.online_features("
        "[{'origin': 'EWR', 'carrier': 'UA', 'tailnum': 'N14228'}]), default=str))",
    )
    values = json.loads(told.strip().splitlines()[-1])
    assert values["origin"] == ["EWR"]
    assert values["carrier_late_rate_14d"][0] is not None
    keys = stack.docker(
        *("exec", stack.container("redis"), "sh", "-c"),
        "REDISCLI_AUTH=$(sed -n 's/^requirepass //p' /run/course/redis.conf) redis-cli -n 1 dbsize",
    )
    assert int(keys.split()[-1]) > 1000


def test_a_gate_that_refuses_leaves_the_old_model(stack: Sandbox, settings: Settings) -> None:
    verdict = demo(stack, "--model", "logistic")
    assert not verdict["deployed"]
    assert server(stack) == {"champion": 1, "staging": 1}
    assert registry.alias_version("staging", settings) == 1


def test_a_change_over_drops_no_request(stack: Sandbox, settings: Settings) -> None:
    with questions(stack, "staging", example(settings)) as answers:
        verdict = demo(stack, "--model", "catboost")
        assert verdict["deployed"]
        assert verdict["version"] == 2
        wait(lambda: server(stack)["staging"] == 2, "the model server has version 2")
        enough = len(answers) + 100
        wait(lambda: len(answers) > enough, "answers of the new version")
    assert Counter(status for status, _ in answers) == {200: len(answers)}
    versions = [version for _, version in answers]
    assert versions[0] == "1"
    assert versions[-1] == "2"
    assert set(versions) == {"1", "2"}
    assert len(answers) > 1000
    # A person has not agreed yet.
    assert server(stack)["champion"] == 1


def test_a_person_makes_the_champion(stack: Sandbox, settings: Settings) -> None:
    demo(stack, "promote_model", "--answer", "yes")
    wait(lambda: server(stack)["champion"] == 2, "the model server has the new champion")


@pytest.mark.long
def test_mapping(stack: Sandbox) -> None:
    verdict = demo(stack, "model_tournament")
    [table] = [table for table in verdict["tables"].values() if "model" in table["columns"]][:1]
    assert len(table["rows"]) >= 5


def test_events(stack: Sandbox) -> None:
    servers = state_of(stack.settings).bootstrap_servers
    send(servers, TOPIC, "this is no request")
    verdict = demo(stack, "retrain_on_event")
    assert "1 training served 1 request" in verdict["headline"]
    end = wait(lambda: dead_letters(servers), "the dead letter")
    assert end == 1


def dead_letters(servers: str) -> int:
    """How many messages lie in the topic of dead letters."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "looks-only"})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, 0), timeout=10)
    finally:
        consumer.close()
    return int(high - low)


def test_drift_is_watched(stack: Sandbox) -> None:
    """October is judged by the champion, which was judged on September.

    After the events: what drift asks for would be taken together with their message.
    """
    for dag_id, conf in (
        ("ingest_flights", {"month": "2013-10"}),
        ("build_features", {}),
        ("monitor_drift", {"month": "2013-10"}),
    ):
        stack.api.pause(dag_id, paused=False)
        # A month that lands starts the next one by itself, and that one the training.
        stack.api.pause(TRAIN)
        run_id = stack.api.trigger(dag_id, conf)
        assert stack.finish(dag_id, run_id)["state"] == "success"
    page = stack.api.xcom("monitor_drift", run_id, "report")
    assert page.startswith("/opt/course/site/monitor_drift/")


@pytest.mark.long
def test_a_file(stack: Sandbox) -> None:
    verdict = demo(stack, "retrain_on_file")
    assert "1 request" in verdict["headline"]


@pytest.mark.long
def test_distributed(stack: Sandbox) -> None:
    verdict = demo(stack, "distributed_training")
    assert verdict["headline"].startswith("2 workers")
