"""A training that was cut short goes on, and ends as if it had not been."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flightdelays import checkpoint, dataset, evaluation, models, registry, runs, train
from flightdelays.checkpoint import Checkpoints
from flightdelays.errors import CourseError
from flightdelays.runs import Window
from flightdelays.settings import Settings


class CutShortError(Exception):
    """What a test raises in mid-training."""


@pytest.fixture
def cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tree is kept, and after the 30th the training ends."""

    def after_iteration(self: Checkpoints, model: Any, epoch: int, _: Any) -> bool:
        self.keep(model)
        if epoch == 29:
            raise CutShortError
        return False

    monkeypatch.setattr(Checkpoints, "after_iteration", after_iteration)


@pytest.fixture
def own(settings: Settings) -> Settings:
    return settings.model_copy(update={"experiment": "resumed"})


def test_the_next_try_makes_the_very_model_of_an_undisturbed_one(
    training_file: str,
    window: Window,
    own: Settings,
    rows: pd.DataFrame,
    cut_short: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CutShortError):
        train.train(training_file, window, "xgboost", "one", own, rounds=40)
    monkeypatch.undo()
    resumed = train.train(training_file, window, "xgboost", "one", own, rounds=40)
    whole = train.train(training_file, window, "xgboost", "two", own, rounds=40)
    assert (resumed["resumed"], whole["resumed"]) == (30, 0)
    answers = [
        evaluation.predict(registry.load_model(each["address"], own), rows.tail(1_000))
        for each in (resumed, whole)
    ]
    np.testing.assert_array_equal(*answers)


def test_a_checkpoint_of_something_else_is_left_alone(
    training_file: str,
    window: Window,
    own: Settings,
    cut_short: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CutShortError):
        train.train(training_file, window, "xgboost", "three", own, rounds=40)
    monkeypatch.undo()
    other = train.train(training_file, window, "xgboost", "three", own, rounds=35)
    assert other["resumed"] == 0


def test_it_goes_with_the_working_files_of_the_run(own: Settings, rows: pd.DataFrame) -> None:
    kept = Checkpoints("four", {"rows": 1}, own)
    assert kept.load() is None
    pipeline = models.make("xgboost", own).set_params(model__n_estimators=3)
    some = rows.head(500)
    pipeline.fit(some[dataset.feature_columns(list(some.columns))], some[dataset.LABEL])
    kept.keep(pipeline.named_steps["model"].get_booster())
    again = Checkpoints("four", {"rows": 1}, own).load()
    assert again is not None
    assert again.num_boosted_rounds() == 3
    assert (
        again.attributes().keys() == pipeline.named_steps["model"].get_booster().attributes().keys()
    )
    runs.clean_up("four", own)
    assert Checkpoints("four", {"rows": 1}, own).load() is None


def test_one_is_written_when_its_time_has_come(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Checkpoints, "keep", lambda self, model: written.append(model))
    kept = Checkpoints("five", {}, own, interval=5)
    for clock[0], model in ((4.9, "early"), (5.0, "due")):
        assert kept.after_iteration(model, 0, None) is False
    assert written == ["due"]


def test_only_xgboost_takes_a_number_of_trees(
    training_file: str, window: Window, own: Settings, tmp_path: Path
) -> None:
    with pytest.raises(CourseError, match="rounds is the number of trees of xgboost: logistic"):
        train.train(training_file, window, "logistic", "six", own, rounds=40)
