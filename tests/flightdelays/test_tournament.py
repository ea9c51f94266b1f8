import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flightdelays import dataset, registry, tournament
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import open_lake
from flightdelays.runs import Window
from flightdelays.settings import Settings

RUN = "a contest"


def average_precision(labels: np.ndarray, answers: np.ndarray) -> float:
    """Sum over the thresholds of precision times the recall gained, without scikit-learn."""
    frame = pd.DataFrame({"late": labels, "answer": answers}).groupby("answer")["late"]
    steps = frame.agg(["sum", "count"]).sort_index(ascending=False)
    found, called = steps["sum"].cumsum(), steps["count"].cumsum()
    return float((found / called * steps["sum"]).sum() / labels.sum())


def f1(labels: np.ndarray, called: np.ndarray) -> float:
    hits = int((labels & called).sum())
    return 2 * hits / (int(labels.sum()) + int(called.sum()))


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The lake of all tests here, with a site and a registry of this module's own."""
    root = tmp_path_factory.mktemp("tournament")
    changes = {"site": str(root / "site"), "mlflow_tracking_uri": f"sqlite:///{root}/mlflow.db"}
    return settings.model_copy(update=changes)


@pytest.fixture(scope="module")
def answers(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Two simple candidates: the late rate of the carrier, and of the airport in the last hours."""
    columns = {"carrier": "carrier_late_rate_3h", "airport": "origin_late_rate_3h"}
    return {name: rows[column].fillna(0.2).to_numpy() for name, column in columns.items()}


@pytest.fixture(scope="module")
def results(
    answers: dict[str, np.ndarray], training_file: str, window: Window, own: Settings
) -> list[dict[str, Any]]:
    judged = []
    for name, values in answers.items():
        path = tournament.predictions_path(name, RUN, own)
        open_lake(own).write_table(path, pa.table({"probability": values}))
        fitted = {"model": name, "predictions": path, "seconds": 0.0}
        judged.append(tournament.judge(training_file, window, fitted, RUN, own))
    return judged


def test_scores_are_those_of_the_later_rows_recomputed_by_hand(
    results: list[dict[str, Any]], answers: dict[str, np.ndarray], rows: pd.DataFrame, own: Settings
) -> None:
    late, later = rows["late"].to_numpy() == 1, (rows["month"] == "2013-03").to_numpy()
    for result in results:
        values = answers[result["model"]]
        assert result["pr_auc"] == pytest.approx(average_precision(late[later], values[later]))
        assert result["f1"] == pytest.approx(f1(late[later], values[later] >= result["threshold"]))
        # No threshold does better on the training rows; some do on the later ones.
        seen = [f1(late[~later], values[~later] >= t) for t in np.unique(values)]
        at_threshold = f1(late[~later], values[~later] >= result["threshold"])
        assert at_threshold == pytest.approx(max(seen))
        logged = registry.client(own).get_run(result["run_id"]).data.metrics
        assert logged["f1"] == result["f1"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: {"probability": values[:-1]},
        lambda values: {"probability": np.append(values[:-1], np.nan)},
        lambda values: {"probability": np.append(values[:-1], 1.01)},
        lambda values: {"score": values},
    ],
    ids=["too few", "a gap", "above one", "another column"],
)
def test_answers_that_are_no_probabilities_are_refused(
    spoil: Any, answers: dict[str, np.ndarray], settings: Settings
) -> None:
    values = answers["carrier"]
    path = tournament.predictions_path("spoiled", RUN, settings)
    open_lake(settings).write_table(path, pa.table(spoil(values)))
    with pytest.raises(DataError, match=r"spoiled\.parquet has"):
        tournament.read_predictions(path, len(values), settings)


def test_the_best_is_on_top_and_twice_leaves_one_tournament(
    results: list[dict[str, Any]], training_file: str, window: Window, own: Settings
) -> None:
    asked = ["carrier", "airport", "absent"]
    first, second = (
        tournament.compare(training_file, window, given, asked, RUN, own)
        for given in (results, results[::-1])
    )
    assert {**first, "run_id": ""} == {**second, "run_id": ""}
    scores = [standing["pr_auc"] for standing in first["standings"]]
    assert scores == sorted(scores, reverse=True)
    assert first["winner"] == max(results, key=lambda result: result["pr_auc"])["model"]
    assert first["missing"] == ["absent"]
    service = registry.client(own)
    (found,) = service.search_runs(["1"], "tags.`course.kind` = 'tournament'")
    assert found.data.tags["course.winner"] == first["winner"]
    assert {file.path for file in service.list_artifacts(found.info.run_id)} == {
        "comparison.csv",
        "precision_recall.svg",
        "scores.svg",
    }
    for result in results:
        tags = service.get_run(result["run_id"]).data.tags
        assert tags["mlflow.parentRunId"] == found.info.run_id
        assert tags["course.winner"] == str(result["model"] == first["winner"]).lower()
    verdict = json.loads(Path(tournament.report(window, second, RUN, own)).read_text("utf-8"))
    assert verdict["headline"].startswith(f"{first['winner']} won of 2")
    assert any("absent" in fact for fact in verdict["facts"])
    table = pd.read_csv(Path(own.site) / "model_tournament" / "a_contest" / "comparison.csv")
    assert list(table["pr_auc"]) == pytest.approx(scores)


def test_nobody_finished(training_file: str, window: Window, settings: Settings) -> None:
    with pytest.raises(CourseError, match=r"none of the 2 candidates \(a, b\) finished"):
        tournament.compare(training_file, window, [], ["a", "b"], RUN, settings)


def test_a_foreign_candidate_is_told_what_no_model_may_see(settings: Settings) -> None:
    told = tournament.assignment("perpetual", RUN, settings)
    assert set(told["not_features"]) == set(dataset.NOT_FEATURES)
    assert json.loads(json.dumps(told)) == told
