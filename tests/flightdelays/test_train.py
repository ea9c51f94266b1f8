"""Fitting one candidate, as a function and as the command that a pod runs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from flightdelays import evaluation, registry, train
from flightdelays.errors import CourseError, LakeError
from flightdelays.runs import Window
from flightdelays.settings import REPOSITORY, Settings, get_settings


def test_a_candidate_says_what_it_is(
    candidate: dict[str, Any], rows: pd.DataFrame, settings: Settings
) -> None:
    assert candidate["model"] == "lightgbm"
    assert candidate["rows"] == (rows["month"] < "2013-03").sum()
    assert candidate["seconds"] > 0
    run = registry.client(settings).get_run(candidate["run_id"])
    assert not run.info.artifact_uri.startswith(str(REPOSITORY))  # or these tests would litter it
    assert run.data.params == {
        "train_from": "2013-01",
        "train_to": "2013-02",
        "validation": "2013-03",
        "rows": str(candidate["rows"]),
        "seed": "2013",
        "model": "lightgbm",
    }


def test_training_twice_leaves_one_run_with_the_same_model(
    training_file: str, settings: Settings, rows: pd.DataFrame
) -> None:
    own = settings.model_copy(update={"experiment": "twice"})
    february = Window("2013-02", "2013-02", "2013-03")
    asked = rows.tail(1_000)
    answers = []
    for _ in range(2):
        fitted = train.train(training_file, february, "logistic", "one", own)
        answers.append(evaluation.predict(registry.load_model(fitted["address"], own), asked))
    np.testing.assert_array_equal(*answers)
    service = registry.client(own)
    experiment = service.get_experiment_by_name("twice")
    assert experiment is not None
    runs = service.search_runs([experiment.experiment_id])
    assert [run.info.run_id for run in runs] == [fitted["run_id"]]


def test_a_training_set_that_is_gone_is_named(window: Window, settings: Settings) -> None:
    with pytest.raises(LakeError, match=r"/gone\.parquet is not in the lake"):
        train.train(f"{settings.lake}/gone.parquet", window, "lightgbm", "one", settings)


def test_an_unknown_model_is_refused_before_any_run_is_logged(
    training_file: str, window: Window, settings: Settings
) -> None:
    own = settings.model_copy(update={"experiment": "never"})
    with pytest.raises(CourseError, match="there is no model 'oracle'"):
        train.train(training_file, window, "oracle", "one", own)
    assert registry.client(own).get_experiment_by_name("never") is None


# The command in this process, for the faults that need no process of their own.


@pytest.fixture
def invoke(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, pod: Any
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    app = typer.Typer()
    app.command()(train.main)

    def act(arguments: list[str], **changes: str) -> tuple[int, str, str]:
        for name, value in pod.environment(settings.model_copy(update=changes)).items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        done = CliRunner().invoke(app, arguments)
        return done.exit_code, done.stdout, done.stderr

    yield act
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "oracle"}, "there is no model 'oracle': choose from logistic, "),
        ({"validation": "2013-02"}, "validation month 2013-02 is not after the last training"),
        ({"validation": "2013-12"}, "there are no validation rows for Window("),
        ({"train-from": "January"}, "'January' is not a month: write it as YYYY-MM"),
    ],
)
def test_each_fault_of_the_input_is_one_line_and_exit_code_two(
    change: dict[str, str],
    message: str,
    training_file: str,
    invoke: Callable[..., tuple[int, str, str]],
    pod: Any,
) -> None:
    code, out, error = invoke(pod.options(training_file, **change))
    assert code == 2  # a service that is away is another matter: trying again helps
    assert out == ""
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_mlflow_that_is_down_is_one_line_with_its_address(
    training_file: str, free_address: str, invoke: Callable[..., tuple[int, str, str]], pod: Any
) -> None:
    code, _, error = invoke(pod.options(training_file), mlflow_tracking_uri=free_address)
    assert code == 1
    assert error.startswith(f"error: MLflow at {free_address} does not answer")
    assert error.count("\n") == 1


def test_a_file_that_is_no_training_set_is_one_line(
    settings: Settings, tmp_path: Path, invoke: Callable[..., tuple[int, str, str]], pod: Any
) -> None:
    path = tmp_path / "training_set.parquet"
    path.write_text("carrier,late\nUA,0\n")
    code, _, error = invoke(pod.options(str(path)))
    assert code == 2
    assert error.startswith(f"error: {path} is not a readable Parquet file")
    assert error.count("\n") == 1


def test_a_missing_option_is_a_mistake_in_using_the_command(
    training_file: str, invoke: Callable[..., tuple[int, str, str]], pod: Any
) -> None:
    code, _, error = invoke(pod.options(training_file)[:-1])
    assert code == 2
    assert "--run" in error


# The command as a pod runs it: the fixture started it long ago.


def test_the_command_prints_its_result_as_json(
    commands: dict[str, subprocess.Popen[str]], training_file: str, candidate: dict[str, Any]
) -> None:
    process = commands[training_file]
    out, error = process.communicate()
    assert process.returncode == 0, error
    result = json.loads(out)
    assert set(result) == {
        "run_id",
        "model",
        "address",
        "rows",
        "seconds",
        "device",
        "resumed",
        "node",
    }
    assert result["run_id"] != candidate["run_id"]
    assert (result["model"], result["rows"]) == ("lightgbm", candidate["rows"])


def test_the_command_ends_with_one_line_when_the_input_is_bad(
    commands: dict[str, subprocess.Popen[str]], settings: Settings
) -> None:
    gone = f"{settings.lake}/gone.parquet"
    process = commands[gone]
    assert process.communicate() == ("", f"error: {gone} is not in the lake\n")
    assert process.returncode == 2
