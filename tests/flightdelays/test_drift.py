"""Drift of the champion: PSI by hand and by another formula, the rule, the request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from confluent_kafka import Producer
from scipy.special import rel_entr

from flightdelays import delivery, drift, drift_report, evaluation, registry
from flightdelays.dataset import LABEL
from flightdelays.drift import Month, psi
from flightdelays.errors import CourseError, DataError, ServiceError
from flightdelays.registry import CHAMPION, Trained
from flightdelays.requests import Priority, parse
from flightdelays.runs import Window
from flightdelays.settings import Settings

DEPLOYED = Trained(
    7,
    "lightgbm",
    Window("2013-01", "2013-02", "2013-03"),
    {"auc": 0.75, "pr_auc": 0.5, "log_loss": 0.4},
)


def month(auc: float, **index: float) -> Month:
    return Month(rows=100, late_rate=0.2, auc=auc, psi=index or {"carrier_delay_3h": 0.1})


def test_psi_of_an_example_computed_by_hand() -> None:
    reference = np.arange(1.0, 101)  # ten in each decile
    current = np.array([1.0, 100.0])  # half in the first, half in the last
    # Two bins grew from 0.1 to 0.5; eight fell from 0.1 to none, which counts as 0.0001:
    # 2 (0.5 - 0.1) ln 5 + 8 (0.0001 - 0.1) ln 0.001 = 1.28755 + 5.52068
    assert psi(reference, current) == pytest.approx(6.80823, abs=1e-5)


def test_missing_values_are_a_bin_of_their_own() -> None:
    reference = np.tile([1.0, 2.0, np.nan, np.nan], 25)
    current = np.tile([1.0, 2.0, 2.0, np.nan], 25)
    # 2 grew from 1/4 to 1/2, missing fell from 1/2 to 1/4: twice 1/4 ln 2
    assert psi(reference, current) == pytest.approx(0.34657, abs=1e-5)


def test_values_never_seen_and_values_gone_are_finite() -> None:
    reference = np.repeat([0.0, 1.0], 50)
    assert psi(reference, np.full(10, np.nan)) == pytest.approx(
        # Both halves gone, and all of it in the bin of missing values.
        2 * (1e-4 - 0.5) * np.log(1e-4 / 0.5) + (1 - 1e-4) * np.log(1 / 1e-4)
    )
    assert psi(reference, np.full(10, 1e9)) > 1


def test_the_same_rows_have_not_moved() -> None:
    values = np.append(np.random.default_rng(2013).normal(size=999), np.nan)
    assert psi(values, values) == 0
    assert psi(values, np.random.default_rng(0).permutation(values)) == 0


def test_nothing_to_compare_is_an_error() -> None:
    for reference, current in ([], [1.0]), ([np.nan], [1.0]), ([1.0], []):
        with pytest.raises(DataError, match="PSI"):
            psi(np.array(reference), np.array(current))


@pytest.mark.parametrize(
    "feature", ["origin_departure_delay_1h", "carrier_late_rate_14d", "tailnum_idle_minutes"]
)
def test_psi_of_real_features_agrees_with_relative_entropies_of_pandas_bins(
    rows: pd.DataFrame, feature: str
) -> None:
    before, after = rows[rows["month"] < "2013-03"][feature], rows[rows["month"] == "2013-03"]
    limits = sorted(set(before.quantile(np.arange(1, 10) / 10)))
    bins = [-np.inf, *limits, np.inf]
    p, q = (
        pd.cut(values, bins).value_counts(normalize=True, dropna=False).sort_index()
        for values in (before, after[feature])
    )
    p, q = p.align(q, fill_value=0)
    p, q = p.clip(lower=1e-4), q.clip(lower=1e-4)
    # Jeffreys' divergence: PSI under the name that statistics has for it.
    expected = rel_entr(p, q).sum() + rel_entr(q, p).sum()
    found = psi(before.to_numpy(), after[feature].to_numpy())
    assert found == pytest.approx(expected, rel=1e-9)
    assert found > 0.01


@pytest.mark.parametrize(
    ("auc", "when", "drifted"),
    [
        (0.719, "2013-04", True),
        (0.721, "2013-04", False),
        (0.800, "2013-04", False),
        # A training judged by this month would give the same model again.
        (0.600, "2013-03", False),
    ],
)
def test_drift_is_a_fall_of_auc_after_the_deployment(auc: float, when: str, drifted: bool) -> None:
    months = {when: month(auc, carrier_delay_3h=0.1, origin_delay_3h=3.0)}
    reason = drift.judge(months, when, DEPLOYED, Settings(drift_auc_fall=0.03, drift_psi=2))
    assert (reason is not None) is drifted
    if reason:
        assert "champion v7 fell by 0.031 to 0.719 in 2013-04 (0.750 when" in reason
        assert "mean PSI" not in reason
        assert "origin_delay_3h, PSI 3.00" in reason


@pytest.mark.parametrize(
    ("index", "when", "drifted"),
    # The average with a feature that stands still, at 0.1.
    [(0.31, "2013-04", True), (0.29, "2013-04", False), (0.31, "2013-03", False)],
)
def test_drift_is_also_a_shift_of_the_delay_features(
    index: float, when: str, drifted: bool
) -> None:
    months = {when: month(0.75, carrier_delay_3h=0.1, origin_delay_3h=index)}
    reason = drift.judge(months, when, DEPLOYED, Settings(drift_psi=0.2))
    assert (reason is not None) is drifted
    if reason:
        assert "mean PSI of 0.21 against the training of champion v7 (0.2 is allowed)" in reason
        assert "fell" not in reason


def test_the_same_drift_is_the_same_event_and_another_is_another() -> None:
    months = {name: month(0.5) for name in ("2013-04", "2013-05")}
    asked = drift.request(months, "2013-04", DEPLOYED)
    assert drift.request(months, "2013-04", DEPLOYED) == asked
    assert (asked.event_id, asked.month, asked.model) == (
        *("drift-v7-2013-04", "2013-04", "lightgbm"),
    )
    assert asked.priority is Priority.HIGH
    assert parse(asked.model_dump_json()) == asked
    later = Trained(8, DEPLOYED.model, DEPLOYED.window, DEPLOYED.metrics)
    others = {
        drift.request(months, "2013-05", DEPLOYED).event_id,
        drift.request(months, "2013-04", later).event_id,
    }
    assert len(others | {asked.event_id}) == 3


def test_without_drift_there_is_no_request() -> None:
    with pytest.raises(CourseError, match="champion v7 has not drifted in 2013-04"):
        drift.request({"2013-04": month(0.75)}, "2013-04", DEPLOYED)


@pytest.fixture(scope="module")
def reigning(
    settings: Settings,
    candidate: dict[str, Any],
    rows: pd.DataFrame,
    window: Window,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Settings, dict[str, float]]:
    """The shared candidate as champion of a registered model of its own, and its metrics."""
    own = settings.model_copy(update={"model_name": "drifting"})
    judged = rows[rows["month"] == window.validation]
    answers = evaluation.predict(registry.load_model(candidate["address"], own), judged)
    metrics = evaluation.measure(judged[LABEL], answers).as_dict()
    folder = tmp_path_factory.mktemp("evaluation")
    registry.log_evaluation(candidate["run_id"], metrics, folder, own)
    registry.deploy(candidate["run_id"], candidate["address"], judged.tail(5), own)
    return own, metrics


def test_the_champion_is_measured_on_the_months_after_its_training(
    reigning: tuple[Settings, dict[str, float]], training_file: str, rows: pd.DataFrame
) -> None:
    own, metrics = reigning
    champion, last = drift.champion(settings=own)
    assert (champion.version, champion.model, last) == (1, "lightgbm", "2013-03")
    assert champion.metrics == metrics
    months = drift.measure(training_file, champion, own)
    assert list(months) == ["2013-03"]
    march = months["2013-03"]
    assert march["auc"] == pytest.approx(metrics["auc"], abs=1e-12)
    assert march["rows"] == (rows["month"] == "2013-03").sum()
    assert len(march["psi"]) == 16
    assert all(name.startswith(drift.PREFIXES) for name in march["psi"])


def test_the_page_shows_each_month_and_the_same_twice(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    own = make_settings(tmp_path)
    months = {"2013-03": month(0.75), "2013-04": month(0.6, carrier_delay_3h=0.9)}
    path = Path(drift_report.write(months, "2013-04", DEPLOYED, "run", own))
    first = {file.name: file.read_bytes() for file in path.parent.glob("*.svg")}
    page = path.with_name("index.html").read_text("utf-8")
    assert "champion v7 has fallen to AUC 0.600 in 2013-04 (0.750 when it was deployed)" in page
    assert page.count("<svg") == 2
    assert "the mean is 0.90; the PSI of 1 of 1 features is above 0.2" in page
    drift_report.write(months, "2013-04", DEPLOYED, "run", own)
    assert {file.name: file.read_bytes() for file in path.parent.glob("*.svg")} == first
    quiet = drift_report.write({"2013-03": month(0.75)}, "2013-03", DEPLOYED, "other", own)
    assert "drift can be judged when a later month has landed" in Path(quiet).read_text("utf-8")


def test_without_a_champion_the_message_says_what_to_run(settings: Settings) -> None:
    own = settings.model_copy(update={"model_name": "nobody"})
    with pytest.raises(CourseError, match=r"nobody has no champion.*run the DAG train_delay_model"):
        drift.champion(settings=own)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("2013-02", "trained on 2013-01 to 2013-02"), ("2013-09", "2013-09 has not landed")],
)
def test_a_month_that_says_nothing_is_refused(
    reigning: tuple[Settings, dict[str, float]], wrong: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        drift.champion(wrong, reigning[0])


def test_a_champion_without_metrics_is_named(
    reigning: tuple[Settings, dict[str, float]], candidate: dict[str, Any]
) -> None:
    own, _ = reigning
    service = registry.client(own)
    other = own.model_copy(update={"model_name": "unmeasured"})
    service.create_registered_model(other.model_name)
    run = service.create_run("0")
    service.log_param(run.info.run_id, "model", "lightgbm")
    service.create_model_version(other.model_name, candidate["address"], run_id=run.info.run_id)
    service.set_registered_model_alias(other.model_name, CHAMPION, "1")
    with pytest.raises(CourseError, match="unmeasured version 1 has no train_from"):
        drift.champion(settings=other)


def test_a_broker_that_does_not_answer_is_named(
    free_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PATIENCE", 1)
    servers = free_address.removeprefix("http://")
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    asked = drift.request({"2013-04": month(0.5)}, "2013-04", DEPLOYED)
    with pytest.raises(ServiceError, match=f"no Kafka broker answers at {servers}"):
        delivery.deliver(producer, asked, servers)
