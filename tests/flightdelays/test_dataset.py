"""A training set as data: its columns, its split in time, its file in the lake."""

from pathlib import Path

import pandas as pd
import pytest

from flightdelays import dataset
from flightdelays.dataset import LABEL
from flightdelays.errors import DataError, LakeError
from flightdelays.runs import Window
from flightdelays.settings import Settings


def test_the_answer_and_identifiers_are_no_features(rows: pd.DataFrame) -> None:
    columns = dataset.feature_columns(list(rows.columns))
    assert LABEL not in columns
    assert {"flight", "tailnum", "event_timestamp", "scheduled_departure", "month"}.isdisjoint(
        columns
    )
    assert len(columns) + len(dataset.NOT_FEATURES) == rows.shape[1]


def test_nothing_measured_at_or_after_departure_is_a_column(rows: pd.DataFrame) -> None:
    later = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "arrived_at"}
    assert later.isdisjoint(rows.columns)


def test_every_validation_row_is_of_a_later_month(rows: pd.DataFrame, window: Window) -> None:
    training, validation = dataset.split(rows, window)
    assert set(training["month"]) == {"2013-01", "2013-02"}
    assert set(validation["month"]) == {"2013-03"}
    assert training["scheduled_departure"].max() < validation["scheduled_departure"].min()
    assert len(training) + len(validation) == len(rows)


@pytest.mark.parametrize(("part", "month"), [("training", "2013-03"), ("validation", "2013-01")])
def test_an_empty_part_is_named(part: str, month: str, rows: pd.DataFrame, window: Window) -> None:
    with pytest.raises(DataError, match=f"there are no {part} rows for Window"):
        dataset.split(rows[rows["month"] == month], window)


def test_training_rows_that_reach_past_the_validation_are_refused(
    rows: pd.DataFrame, window: Window
) -> None:
    turned = {"2013-01": "2013-03", "2013-03": "2013-01"}
    with pytest.raises(DataError, match="training rows reach past the validation rows"):
        dataset.split(rows.assign(month=rows["month"].replace(turned)), window)


def test_saving_twice_gives_the_same_file(rows: pd.DataFrame, copied: Settings) -> None:
    path = Path(dataset.save(rows, "one", copied))
    first = path.read_bytes()
    assert dataset.save(rows, "one", copied) == str(path)
    assert path.read_bytes() == first


def test_a_training_set_is_read_back_as_it_was_saved(
    rows: pd.DataFrame, training_file: str, settings: Settings
) -> None:
    pd.testing.assert_frame_equal(dataset.load(training_file, settings), rows)


def test_a_training_set_that_is_gone_is_named(settings: Settings) -> None:
    with pytest.raises(LakeError, match=r"/nowhere\.parquet is not in the lake"):
        dataset.load(f"{settings.lake}/nowhere.parquet", settings)


def test_a_training_set_is_described_by_its_rows(rows: pd.DataFrame) -> None:
    described = dataset.describe(rows)
    assert described["rows"] == len(rows)
    assert described["late_rate"] == pytest.approx(rows[LABEL].mean(), abs=5e-5)
    assert described["first"] == str(rows["event_timestamp"].iloc[0])
    assert described["last"] == str(rows["event_timestamp"].iloc[-1])
