"""What the pipelines tell the metrics server, received on a UDP port while they run for real."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import states

Run = Callable[..., Any]
TRAINING = {"model": "logistic", "train_from": "2013-08", "validation_month": "2013-09"}


class Received:
    """The metrics that have arrived so far, the last value of each."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server

    def take(self) -> dict[str, float]:
        """The values since the last call, by name and tags."""
        values: dict[str, float] = {}
        try:
            while True:
                for line in self.server.recv(65_535).decode().splitlines():
                    found = re.fullmatch(r"airflow\.(.+):([-+\d.e]+)\|(?:g|c|ms)", line)
                    assert found, line
                    values[found.group(1)] = float(found.group(2))
        except BlockingIOError:
            return values


@pytest.fixture(scope="module")
def received(lake_of_nine_months: Any) -> Iterator[Received]:
    """A metrics server as the stack has it: tags, no old names. And a model of these tests' own."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    from flightdelays.settings import get_settings

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        values = {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(server.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "AIRFLOW__METRICS__LEGACY_NAMES_ON": "False",
            "FLIGHTDELAYS_MODEL_NAME": "measured",
        }
        for name, value in values.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        yield Received(server)
    get_settings.cache_clear()
    stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


def gate(patch: pytest.MonkeyPatch, auc: float) -> None:
    """Let every model pass the deployment gate, or none."""
    from flightdelays.settings import get_settings

    patch.setenv("FLIGHTDELAYS_GATE_AUC", str(auc))
    patch.setenv("FLIGHTDELAYS_GATE_PR_AUC", "0")
    get_settings.cache_clear()


def test_a_training_sends_what_it_did_and_what_it_deployed(
    received: Received, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate(monkeypatch, 0)
    received.take()
    before = int(time.time())
    done = run("train_delay_model", **TRAINING)
    assert done.state == "success"
    sent = received.take()
    assert 0.6 < sent["training.auc,dag_id=train_delay_model"] < 0.9
    assert 20_000 < sent["training.rows,dag_id=train_delay_model"] < 30_000
    assert sent["training.fit,dag_id=train_delay_model"] > 0
    assert sent["training.last_success,dag_id=train_delay_model"] >= before
    for alias in ("staging", "champion"):
        assert sent[f"model.version,alias={alias}"] == 1
        assert sent[f"model.deployments,alias={alias}"] == 1
        assert sent[f"model.deployed_at,alias={alias}"] >= before
    assert "gate.refused,dag_id=train_delay_model" not in sent


def test_a_refused_candidate_is_counted_and_the_training_succeeded_all_the_same(
    received: Received, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate(monkeypatch, 1)
    received.take()
    done = run("train_delay_model", **TRAINING)
    assert states(done)["alert"] == "success"
    sent = received.take()
    assert sent["gate.refused,dag_id=train_delay_model"] == 1
    assert "training.last_success,dag_id=train_delay_model" in sent
    assert not [name for name in sent if name.startswith("model.")]


def test_a_training_that_fails_has_no_success(received: Received, run: Run) -> None:
    received.take()
    done = run("train_delay_model", **TRAINING | {"validation_month": "2013-12"})
    assert done.state == "failed"
    assert not [name for name in received.take() if name.startswith("training.")]


def test_monitoring_sends_auc_and_psi_of_each_month_and_the_fall(
    received: Received, run: Run
) -> None:
    received.take()
    assert run("monitor_drift", month="2013-09").state == "success"
    sent = received.take()
    assert 0.6 < sent["drift.auc,month=2013-09"] < 0.9
    features = [name for name in sent if name.startswith("drift.psi,month=2013-09,feature=")]
    assert len(features) == 16
    # The month by which the champion was judged: it cannot have lost anything since.
    assert sent["drift.auc_fall"] == pytest.approx(0, abs=1e-9)


def test_a_promotion_sends_the_champions_version(received: Received, dagbag: Any) -> None:
    from flightdelays import registry

    service = registry.client()
    first = service.get_model_version("measured", "1")
    service.create_model_version("measured", first.source, first.run_id)
    service.set_registered_model_alias("measured", "staging", "2")
    promote = dagbag.dags["promote_model"].get_task("promote").python_callable
    received.take()
    promote({"challenger": 2, "champion": 1}, {"responded_by_user": {"name": "ann"}})
    sent = received.take()
    assert registry.alias_version("champion") == 2
    assert sent["model.version,alias=champion"] == 2
    assert "model.version,alias=staging" not in sent
    assert sent["drift.auc_fall"] == 0
