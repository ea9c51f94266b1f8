"""monitor_drift on real months: a champion of February, judged by March, met by April."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from course import kafka
from course.ports import any_free

from .conftest import states

Run = Callable[..., Any]
MONTH = "2013-04"
TRAINING = ("2013-02", "2013-02", "2013-03")


def verdict(dag_run: Any) -> dict[str, Any]:
    """What the report task of a run wrote."""
    from flightdelays import pages

    place = pages.folder(dag_run.dag_id, dag_run.run_id)
    return json.loads((place / "verdict.json").read_text("utf-8"))


def use(patch: pytest.MonkeyPatch, **settings: object) -> None:
    """Give the tasks other settings."""
    from flightdelays.settings import get_settings

    for name, value in settings.items():
        patch.setenv(f"FLIGHTDELAYS_{name.upper()}", str(value))
    get_settings.cache_clear()


def connect(patch: pytest.MonkeyPatch, port: int) -> None:
    """Point the connection kafka_default at a port of this machine."""
    extra = {"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0}
    value = json.dumps({"conn_type": "kafka", "extra": extra})
    patch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", value)


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    from flightdelays.settings import get_settings

    with pytest.MonkeyPatch.context() as patch:
        yield patch
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def nobody_reigns(lake_of_nine_months: Any, module_patch: pytest.MonkeyPatch) -> None:
    """A registered model of these tests' own, without a version so far."""
    use(module_patch, model_name="watched")


@pytest.fixture(scope="module")
def without_champion(nobody_reigns: None, run: Run) -> Any:
    """A run from before there was a champion."""
    return run("monitor_drift")


@pytest.fixture(scope="module")
def champion(without_champion: Any) -> dict[str, float]:
    """A champion as a training would deploy it; its metrics on the month it was judged by."""
    from flightdelays import assessment, dataset, registry, runs, training_set
    from flightdelays.train import train

    window = runs.Window(*TRAINING)
    rows = training_set.build(window)
    source = dataset.save(rows, "champion")
    candidate = train(source, window, "hist_gradient", "champion")
    metrics = assessment.evaluate(source, window, candidate, "champion")["metrics"]
    registry.deploy(candidate["run_id"], candidate["address"], rows.tail(5))
    runs.clean_up("champion")
    return metrics


@pytest.fixture(scope="module")
def broker() -> Iterator[int]:
    """Port of a broker with the topics of the course."""
    from confluent_kafka import KafkaException

    port = any_free()
    process = subprocess.Popen([sys.executable, "-m", "course.broker", str(port)])
    deadline = time.monotonic() + 30
    try:
        while True:
            try:
                if set(kafka.TOPICS) <= set(kafka.topics(f"127.0.0.1:{port}", timeout=1)):
                    break
            except KafkaException:
                assert time.monotonic() < deadline
        yield port
    finally:
        process.terminate()
        process.wait(10)


def messages(port: int) -> list[dict[str, Any]]:
    """Every training request that the broker holds."""
    from confluent_kafka import Consumer, TopicPartition

    from flightdelays.requests import TOPIC

    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "test"})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=10)
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        found = consumer.consume(end, timeout=20) if end else []
        return [json.loads(message.value()) for message in found]
    finally:
        consumer.close()


def test_without_a_champion_nothing_is_computed(without_champion: Any) -> None:
    outcome = states(without_champion)
    assert outcome.pop("find_champion") == "failed"
    assert outcome.pop("clean_up") == "success"
    assert set(outcome.values()) == {"upstream_failed"}


def test_a_champion_that_holds_asks_for_nothing(
    champion: dict[str, float],
    broker: int,
    run: Run,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, broker)
    use(monkeypatch, drift_auc_fall=0.2, drift_psi=2)
    done = run("monitor_drift", month=MONTH)
    assert done.state == "success"
    assert states(done)["publish"] == "skipped"
    assert states(done)["all_well"] == "success"
    assert messages(broker) == []
    found = verdict(done)
    assert found["data"]["drifted"] is False
    months = found["data"]["months"]
    assert list(months) == ["2013-03", "2013-04"]
    # The month it was judged by, joined and predicted anew, gives what the registry remembers.
    assert months["2013-03"]["auc"] == pytest.approx(champion["auc"], abs=1e-9)
    assert len(months[MONTH]["psi"]) == 16
    assert f"AUC {months[MONTH]['auc']:.3f} in {MONTH}" in found["headline"]
    assert list((workplace / "lake/runs").iterdir()) == []


def test_a_champion_that_has_fallen_asks_once_for_a_retraining(
    champion: dict[str, float],
    broker: int,
    run: Run,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, broker)
    use(monkeypatch, drift_auc_fall=0.001)
    done = run("monitor_drift", month=MONTH)
    assert done.state == "success"
    assert states(done)["all_well"] == "skipped"
    found = verdict(done)
    assert found["data"]["drifted"] is True
    auc = found["data"]["months"][MONTH]["auc"]
    assert champion["auc"] - auc > 0.001
    assert found["headline"] == (
        f"champion v1 has fallen to AUC {auc:.3f} in {MONTH} "
        f"({champion['auc']:.3f} when it was deployed): retraining requested"
    )
    page = (Path(workplace) / "site" / "monitor_drift").rglob("index.html")
    assert any("PSI by feature and month" in file.read_text("utf-8") for file in page)
    (message,) = messages(broker)
    assert message["event_id"] == f"drift-v1-{MONTH}"
    assert (message["month"], message["priority"]) == (MONTH, "high")
    assert message["model"] == "hist_gradient"
    assert message["reason"] == found["data"]["reason"]
    assert f"fell by {champion['auc'] - auc:.3f}" in message["reason"]
    assert list((workplace / "lake/runs").iterdir()) == []


def test_without_a_broker_the_run_fails_by_name_and_leaves_no_working_files(
    champion: dict[str, float],
    dagbag: Any,
    run: Run,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from flightdelays import delivery

    port = any_free()
    connect(monkeypatch, port)
    use(monkeypatch, drift_auc_fall=0.001)
    monkeypatch.setattr(delivery, "PATIENCE", 1)
    # Here the waits between the tries would only cost time.
    publish = dagbag.dags["monitor_drift"].get_task("publish")
    assert publish.retries == 2
    monkeypatch.setattr(publish, "retries", 0)
    done = run("monitor_drift", month=MONTH)
    assert done.state == "failed"
    assert states(done)["publish"] == "failed"
    assert states(done)["report"] == "upstream_failed"
    assert list((workplace / "lake/runs").iterdir()) == []
    assert f"no Kafka broker answers at 127.0.0.1:{port}" in "".join(capfd.readouterr())
