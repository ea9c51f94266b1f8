"""The candidates: six kinds of model behind one interface.

``make(name)`` gives a scikit-learn pipeline that takes the training set's feature columns
as they are (text and gaps included) and offers ``fit`` and ``predict_proba``. Each
library is imported only when its model is made: an import costs about as much as a fit.
"""

from collections.abc import Callable
from typing import Any

from flightdelays.errors import CourseError
from flightdelays.settings import Settings, get_settings


def _logistic(settings: Settings) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=300, random_state=settings.seed)


def _hist_gradient(settings: Settings) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=200,
        learning_rate=0.06,
        max_leaf_nodes=31,
        early_stopping=False,
        categorical_features=["carrier", "origin", "dest"],
        random_state=settings.seed,
    )


def _random_forest(settings: Settings) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=60,
        min_samples_leaf=20,
        max_samples=0.3,
        n_jobs=settings.threads,
        random_state=settings.seed,
    )


def _xgboost(settings: Settings) -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(
        n_estimators=200,
        learning_rate=0.08,
        max_depth=7,
        tree_method="hist",
        device=xgboost_device(),
        n_jobs=settings.threads,
        random_state=settings.seed,
    )


def _lightgbm(settings: Settings) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=200,
        learning_rate=0.06,
        num_leaves=31,
        deterministic=True,
        force_col_wise=True,
        n_jobs=settings.threads,
        random_state=settings.seed,
        verbose=-1,
    )


def _catboost(settings: Settings) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(
        iterations=300,
        learning_rate=0.1,
        depth=7,
        thread_count=settings.threads,
        random_seed=settings.seed,
        allow_writing_files=False,
        verbose=False,
    )


REGISTRY: dict[str, Callable[[Settings], Any]] = {
    "logistic": _logistic,
    "hist_gradient": _hist_gradient,
    "random_forest": _random_forest,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}


def make(name: str, settings: Settings | None = None) -> Any:
    """An unfitted scikit-learn ``Pipeline`` for one candidate.

    Raises CourseError with the known names if there is no such model.
    """
    settings = settings or get_settings()
    if name not in REGISTRY:
        raise CourseError(f"there is no model '{name}': choose from {', '.join(REGISTRY)}")
    from sklearn.pipeline import Pipeline

    prepare = _for_linear() if name == "logistic" else _for_trees()
    return Pipeline([("prepare", prepare), ("model", REGISTRY[name](settings))])


def xgboost_device() -> str:
    """``cuda`` if XGBoost was built with CUDA and finds a GPU, otherwise ``cpu``.

    Asks XGBoost itself: told to use a GPU, it says which device it will really use.
    """
    import json

    import numpy as np
    from xgboost import Booster, DMatrix, config_context

    with config_context(verbosity=0):
        data = DMatrix(np.zeros((1, 1)))  # the booster does not keep it alive
        asked = Booster({"device": "cuda"}, [data])
        told = json.loads(asked.save_config())["learner"]["generic_param"]["device"]
    return str(told).partition(":")[0]


def device(pipeline: Any) -> str:
    """The device a pipeline of ``make`` computes on: ``cuda`` or ``cpu``."""
    return str(pipeline.named_steps["model"].get_params().get("device") or "cpu")


def _for_trees() -> Any:
    """Category codes; a category that training never saw becomes a gap, like any unknown."""
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OrdinalEncoder

    from flightdelays.dataset import CATEGORICAL

    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=float("nan"),
        encoded_missing_value=float("nan"),
    )
    return make_column_transformer(
        (encoder, list(CATEGORICAL)),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")


def _for_linear() -> Any:
    """One column per category, gaps filled with the median, all on one scale."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from flightdelays.dataset import CATEGORICAL

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=50)
    return make_column_transformer(
        (categories, list(CATEGORICAL)),
        (numbers, make_column_selector(dtype_include="number")),
    )
