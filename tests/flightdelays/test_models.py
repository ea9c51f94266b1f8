"""The candidates: each fits real rows, bears gaps and new categories, survives MLflow."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from flightdelays import models
from flightdelays.dataset import CATEGORICAL, LABEL, feature_columns
from flightdelays.errors import CourseError
from flightdelays.settings import MODELS, Settings


@pytest.fixture(scope="module")
def some(rows: pd.DataFrame) -> pd.DataFrame:
    """5,000 real rows of January and February."""
    return rows[rows["month"] < "2013-03"].sample(5_000, random_state=2013)


@pytest.fixture(scope="module")
def later(rows: pd.DataFrame) -> pd.DataFrame:
    """500 rows of March: the first hundred with an airport, carrier and origin never seen.

    The second hundred know nothing at all of weather and delays.
    """
    asked = rows[rows["month"] == "2013-03"].sample(500, random_state=2013)
    asked = asked[feature_columns(list(rows.columns))].reset_index(drop=True)
    asked.loc[:99, list(CATEGORICAL)] = ["QQ", "QQQ", "ZZZ"]
    numbers = [name for name in asked.columns if name not in CATEGORICAL]
    asked.loc[100:199, numbers] = np.nan
    return asked


def fit(name: str, rows: pd.DataFrame) -> Any:
    model = models.make(name)
    with threadpool_limits(1):  # as in training; other processes may be using the cores
        return model.fit(rows[feature_columns(list(rows.columns))], rows[LABEL])


@pytest.fixture(scope="module", params=MODELS)
def fitted(request: pytest.FixtureRequest, some: pd.DataFrame) -> tuple[str, Any]:
    return request.param, fit(request.param, some)


def test_a_model_answers_with_probabilities_whatever_it_is_asked(
    fitted: tuple[str, Any], later: pd.DataFrame
) -> None:
    _, model = fitted
    answers = model.predict_proba(later)
    assert answers.shape == (500, 2)
    assert ((answers >= 0) & (answers <= 1)).all()
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-6)


def test_a_model_has_learnt_something(
    fitted: tuple[str, Any], some: pd.DataFrame, rows: pd.DataFrame
) -> None:
    from flightdelays import evaluation

    _, model = fitted
    march = rows[rows["month"] == "2013-03"].head(5_000)
    assert evaluation.measure(march[LABEL], evaluation.predict(model, march)).auc > 0.6


def test_fitting_again_gives_the_same_answers(
    fitted: tuple[str, Any], some: pd.DataFrame, later: pd.DataFrame
) -> None:
    name, model = fitted
    again = fit(name, some)
    np.testing.assert_array_equal(again.predict_proba(later), model.predict_proba(later))


def test_a_model_comes_back_from_mlflow_with_the_same_answers(
    fitted: tuple[str, Any], some: pd.DataFrame, later: pd.DataFrame, settings: Settings
) -> None:
    """Through skops, which refuses types that nobody declared trusted."""
    from flightdelays import registry

    name, model = fitted
    own = settings.model_copy(update={"experiment": "round-trip"})
    _, address = registry.log_candidate(model, name, some.head(100), {}, "round trip", own)
    back = registry.load_model(address, own)
    np.testing.assert_array_equal(back.predict_proba(later), model.predict_proba(later))


def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(CourseError) as caught:
        models.make("perceptron")
    assert str(caught.value) == (
        "there is no model 'perceptron': choose from logistic, hist_gradient, random_forest, "
        "xgboost, lightgbm, catboost"
    )


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("random_forest", "n_jobs"),
        ("xgboost", "n_jobs"),
        ("lightgbm", "n_jobs"),
        ("catboost", "thread_count"),
    ],
)
def test_threads_and_seed_are_those_of_the_settings(name: str, parameter: str) -> None:
    parameters = models.make(name, Settings(threads=3, seed=7)).named_steps["model"].get_params()
    assert parameters[parameter] == 3
    assert 7 in (parameters.get("random_state"), parameters.get("random_seed"))
