"""The device that a model is fitted on is the one that XGBoost itself says it used."""

import json

import pandas as pd
import pytest

from flightdelays import models
from flightdelays.dataset import LABEL, feature_columns


@pytest.mark.filterwarnings("ignore:.*Device is changed from GPU to CPU")
def test_the_device_asked_for_is_the_one_that_a_fit_uses(rows: pd.DataFrame) -> None:
    """With a GPU and without one: a fit that wants the GPU falls back in the same cases."""
    some = rows.head(500)
    pipeline = models.make("xgboost").set_params(model__n_estimators=2)
    chosen = models.device(pipeline)
    assert chosen == models.xgboost_device()
    pipeline.set_params(model__device="cuda")
    pipeline.fit(some[feature_columns(list(rows.columns))], some[LABEL])
    config = json.loads(pipeline.named_steps["model"].get_booster().save_config())
    assert config["learner"]["generic_param"]["device"].partition(":")[0] == chosen


def test_a_build_without_cuda_means_the_cpu() -> None:
    from xgboost import build_info

    if build_info()["USE_CUDA"]:
        pytest.skip("this XGBoost is built with CUDA")
    assert models.xgboost_device() == "cpu"


@pytest.mark.parametrize("name", ["logistic", "hist_gradient", "lightgbm", "catboost"])
def test_the_other_models_run_on_the_cpu(name: str) -> None:
    assert models.device(models.make(name)) == "cpu"
