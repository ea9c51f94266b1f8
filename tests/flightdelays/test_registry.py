"""MLflow: one run per candidate, staging and champion, and the way back from a bad deployment.

Each test deploys under a registered model of its own name, so all share one database.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from flightdelays import models, registry, source
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import CourseError, DataError
from flightdelays.registry import CHAMPION, STAGING
from flightdelays.runs import Window
from flightdelays.settings import Settings


@pytest.fixture
def own(settings: Settings, request: pytest.FixtureRequest, rows: pd.DataFrame) -> Settings:
    """The shared MLflow, with a registered model and an experiment named after the test."""
    name = request.node.name.replace("[", "-").replace("]", "")
    return settings.model_copy(update={"model_name": name, "experiment": name})


@pytest.fixture(scope="module")
def fitted(rows: pd.DataFrame) -> Any:
    some = rows.head(3_000)
    return models.make("lightgbm").fit(some[feature_columns(list(some.columns))], some[LABEL])


@pytest.fixture(scope="module")
def sample(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.tail(50)


@pytest.fixture
def log(own: Settings, fitted: Any, sample: pd.DataFrame) -> Callable[[str], tuple[str, str]]:
    """Log the fitted model as a candidate of a run; gives the run's id and the address."""

    def act(run: str) -> tuple[str, str]:
        return registry.log_candidate(fitted, "lightgbm", sample, {"rows": 3_000}, run, own)

    return act


def aliases(settings: Settings) -> tuple[int | None, int | None]:
    return registry.alias_version(STAGING, settings), registry.alias_version(CHAMPION, settings)


def test_an_alias_that_nothing_has_is_none(own: Settings) -> None:
    assert aliases(own) == (None, None)
    assert registry.load_alias(CHAMPION, own) is None


def test_the_first_model_becomes_champion_and_the_second_waits_in_staging(
    own: Settings, log: Callable[[str], tuple[str, str]], sample: pd.DataFrame
) -> None:
    assert registry.deploy(*log("one"), sample, own) == (1, [STAGING, CHAMPION])
    assert aliases(own) == (1, 1)
    assert registry.deploy(*log("two"), sample, own) == (2, [STAGING])
    assert aliases(own) == (2, 1)


def test_deploying_again_keeps_version_and_aliases(
    own: Settings, log: Callable[[str], tuple[str, str]], sample: pd.DataFrame
) -> None:
    run_id, address = log("one")
    first = registry.deploy(run_id, address, sample, own)
    assert registry.deploy(run_id, address, sample, own) == first == (1, [STAGING, CHAMPION])
    second = registry.deploy(*log("two"), sample, own)
    assert second == (2, [STAGING])
    # The first try of a task was cut off after registering; the second finds what it did.
    assert registry.deploy(run_id, address, sample, own) == (1, [STAGING, CHAMPION])
    assert aliases(own) == (1, 1)


def test_what_is_behind_an_alias_answers_as_what_was_deployed(
    own: Settings, log: Callable[[str], tuple[str, str]], sample: pd.DataFrame, fitted: Any
) -> None:
    registry.deploy(*log("one"), sample, own)
    found = registry.load_alias(CHAMPION, own)
    assert found is not None
    number, model = found
    asked = sample[feature_columns(list(sample.columns))]
    assert number == 1
    np.testing.assert_array_equal(model.predict_proba(asked), fitted.predict_proba(asked))


def test_the_first_deployment_that_fails_leaves_no_alias(
    own: Settings, log: Callable[[str], tuple[str, str]], sample: pd.DataFrame
) -> None:
    with pytest.raises(MlflowException, match="distance"):
        registry.deploy(*log("one"), sample.drop(columns="distance"), own)
    assert aliases(own) == (None, None)


def test_a_later_deployment_that_fails_puts_staging_back(
    own: Settings, log: Callable[[str], tuple[str, str]], sample: pd.DataFrame
) -> None:
    for run in ("one", "two"):
        registry.deploy(*log(run), sample, own)
    assert aliases(own) == (2, 1)
    with pytest.raises(MlflowException, match="distance"):
        registry.deploy(*log("three"), sample.drop(columns="distance"), own)
    assert aliases(own) == (2, 1)


def test_a_model_that_answers_no_probabilities_is_not_deployed(
    own: Settings, log: Callable[[str], tuple[str, str]], sample: pd.DataFrame, fitted: Any
) -> None:
    """A model logged by other hands: it answers late or not late, in one column."""
    registry.deploy(*log("one"), sample, own)
    mlflow.set_experiment(own.experiment)
    with mlflow.start_run() as active:
        logged = mlflow.sklearn.log_model(
            fitted,
            name="model",
            pyfunc_predict_fn="predict",
            pip_requirements=registry._requirements("lightgbm"),
            skops_trusted_types=registry._TRUSTED["lightgbm"],
        )
    with pytest.raises(CourseError) as caught:
        registry.deploy(active.info.run_id, logged.model_uri, sample, own)
    assert f"models:/{own.model_name}@staging answered (50, 1) values" in str(caught.value)
    assert aliases(own) == (1, 1)


def test_logging_again_leaves_one_run(
    own: Settings, log: Callable[[str], tuple[str, str]], fitted: Any, sample: pd.DataFrame
) -> None:
    first, _ = log("one")
    other, _ = log("another")
    second, _ = log("one")
    logistic = models.make("logistic")
    logistic.fit(sample[feature_columns(list(sample.columns))], [0, 1] * 25)
    beside, _ = registry.log_candidate(logistic, "logistic", sample, {}, "one", own)
    service = registry.client(own)
    experiment = service.get_experiment_by_name(own.experiment)
    assert experiment is not None
    active = {run.info.run_id for run in service.search_runs([experiment.experiment_id])}
    assert active == {second, other, beside}
    assert service.get_run(first).info.lifecycle_stage == "deleted"


@pytest.mark.parametrize("run", ["manual__2013-10-01T00:00:00+00:00", "it's", 'a "quoted" one'])
def test_any_name_of_a_run_is_found_again(
    run: str, own: Settings, log: Callable[[str], tuple[str, str]]
) -> None:
    same_experiment = own.model_copy(update={"experiment": "any name"})
    service = registry.client(same_experiment)
    first, _ = log(run)
    second, _ = log(run)
    found = service.get_run(second)
    assert found.data.tags["course.run"] == run
    assert service.get_run(first).info.lifecycle_stage == "deleted"


def test_a_run_holds_parameters_metrics_and_files(
    own: Settings, log: Callable[[str], tuple[str, str]], tmp_path: Path
) -> None:
    run_id, _ = log("one")
    (tmp_path / "roc.svg").write_text("<svg/>")
    for _ in range(2):  # a task that runs twice
        registry.log_evaluation(run_id, {"auc": 0.75, "pr_auc": 0.5}, tmp_path, own)
    service = registry.client(own)
    run = service.get_run(run_id)
    assert run.data.params == {"rows": "3000", "model": "lightgbm"}
    assert run.data.metrics == {"auc": 0.75, "pr_auc": 0.5}
    assert run.data.tags["course.model"] == "lightgbm"
    files = [file.path for file in service.list_artifacts(run_id, "evaluation")]
    assert files == ["evaluation/roc.svg"]


def test_every_model_of_the_list_has_its_trusted_types() -> None:
    assert set(registry._TRUSTED) == set(models.REGISTRY)


def test_bad_input_stops_the_chain_and_the_champion_stays(
    own: Settings,
    spoiled: Path,
    window: Window,
    training_file: str,
    log: Callable[[str], tuple[str, str]],
    sample: pd.DataFrame,
    rows: pd.DataFrame,
) -> None:
    """Whichever step meets the fault ends the chain with a message, before any deployment."""
    from flightdelays import quality, train

    rows = rows.head(12_000)
    registry.deploy(*log("one"), sample, own)
    (spoiled / "flights.csv").write_bytes(b"")
    unknown = Window("2013-01", "2013-02", "2013-12")

    def chain(
        folder: str, table: pd.DataFrame, model: str = "lightgbm", months: Any = window
    ) -> None:
        if folder != own.source:
            source.land("2013-01", own.model_copy(update={"source": folder}))
        quality.require(table, docs=False, settings=own)
        candidate = train.train(training_file, months, model, "two", own)
        registry.deploy(candidate["run_id"], candidate["address"], sample, own)

    for fault, error, arguments in (
        ("is empty", DataError, (str(spoiled), rows)),
        ("column 'origin'", DataError, (own.source, rows.assign(origin="PHL"))),
        ("there is no model 'oracle'", CourseError, (own.source, rows, "oracle")),
        ("no validation rows", DataError, (own.source, rows, "lightgbm", unknown)),
    ):
        with pytest.raises(error, match=fault):
            chain(*arguments)
        assert aliases(own) == (1, 1)
    # And without a fault the chain deploys: it was the fault that stopped it.
    chain(own.source, rows)
    assert aliases(own) == (2, 1)
