"""What a search for hyper-parameters tries: its spaces, the rows to fit on, boosting in steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from optuna.trial import Trial
from sklearn.metrics import average_precision_score

from flightdelays import dataset, models
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

ROUNDS, EVERY = 200, 20  # boosting rounds of a trial; PR-AUC is reported after every 20


@dataclass(frozen=True)
class Sample:
    """Rows to fit trials on and the later rows that judge them, ready for the library."""

    features: pd.DataFrame
    labels: pd.Series
    later_features: pd.DataFrame
    later_labels: pd.Series

    def score(self, probabilities: Any) -> float:
        """PR-AUC on the later rows."""
        return float(average_precision_score(self.later_labels, probabilities))


@dataclass(frozen=True)
class Space:
    """What is searched for one kind of model: parameters, where to begin, how to boost.

    ``boost`` yields the number of rounds so far and the PR-AUC on the later rows.
    """

    suggest: Callable[[Trial], dict[str, Any]]
    start: dict[str, Any]
    boost: Callable[[dict[str, Any], Sample, Settings], Iterator[tuple[int, float]]]


def _suggest_lightgbm(trial: Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 200, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
    }


def _boost_lightgbm(
    params: dict[str, Any], sample: Sample, settings: Settings
) -> Iterator[tuple[int, float]]:
    import lightgbm

    common = {
        "objective": "binary",
        "metric": "None",
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": settings.threads,
        "seed": settings.seed,
        "verbose": -1,
    }
    data = lightgbm.Dataset(sample.features, sample.labels, params=common)
    booster = lightgbm.Booster(common | params, data)
    booster.add_valid(data.create_valid(sample.later_features, sample.later_labels), "later")
    for finished in range(1, ROUNDS + 1):
        booster.update()
        if finished % EVERY == 0:
            # Its own sums over the trees: to predict would add up all of them again.
            found = booster.eval_valid(lambda answers, _: ("pr_auc", sample.score(answers), True))
            yield finished, found[0][2]


def _suggest_xgboost(trial: Trial) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 3, 10),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 50.0, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
    }


def _boost_xgboost(
    params: dict[str, Any], sample: Sample, settings: Settings
) -> Iterator[tuple[int, float]]:
    import xgboost

    common = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": settings.threads,
        "seed": settings.seed,
    }
    data = xgboost.DMatrix(sample.features, sample.labels)
    later = xgboost.DMatrix(sample.later_features)
    booster = xgboost.Booster(common | params, [data, later])
    for finished in range(1, ROUNDS + 1):
        booster.update(data, finished - 1)
        if finished % EVERY == 0:
            yield finished, sample.score(booster.predict(later))


SPACES = {
    "lightgbm": Space(
        _suggest_lightgbm,
        {
            "learning_rate": 0.06,
            "num_leaves": 31,
            "min_child_samples": 20,
            "colsample_bytree": 1.0,
            "reg_lambda": 1e-3,
        },
        _boost_lightgbm,
    ),
    "xgboost": Space(
        _suggest_xgboost,
        {
            "learning_rate": 0.08,
            "max_depth": 7,
            "min_child_weight": 1.0,
            "colsample_bytree": 1.0,
            "reg_lambda": 1.0,
        },
        _boost_xgboost,
    ),
}


def draw_sample(
    source: str, window: Window, model: str, rows: int, settings: Settings | None = None
) -> Sample:
    """At most ``rows`` rows from before the last training month, and all rows of that month."""
    settings = settings or get_settings()
    training, _ = dataset.split(dataset.load(source, settings), window)
    earlier = at_most(training[training["month"] < window.train_to], rows, settings)
    later = training[training["month"] == window.train_to]
    columns = feature_columns(list(training.columns))
    prepare = models.make(model, settings).named_steps["prepare"]
    return Sample(
        prepare.fit_transform(earlier[columns]),
        earlier[LABEL],
        prepare.transform(later[columns]),
        later[LABEL],
    )


def at_most(rows: pd.DataFrame, number: int, settings: Settings) -> pd.DataFrame:
    """The rows, or as many of them drawn at random, in their order."""
    if len(rows) <= number:
        return rows
    return rows.sample(number, random_state=settings.seed).sort_index()
