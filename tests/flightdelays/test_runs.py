"""A training run: its months, and its working files that go when it ends."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from flightdelays import dataset, runs
from flightdelays.errors import DataError
from flightdelays.runs import Window
from flightdelays.settings import Settings


@pytest.mark.parametrize(
    ("months", "message"),
    [
        (("2013-03", "2013-02", "2013-04"), "train_from 2013-03 is after train_to 2013-02"),
        (("2013-01", "2013-02", "2013-02"), "validation month 2013-02 is not after the last"),
        (("2013-01", "2013-02", "2012-12"), "validation month 2012-12 is not after the last"),
        (("2013-1", "2013-02", "2013-03"), "'2013-1' is not a month"),
        (("2013-01", "soon", "2013-03"), "'soon' is not a month"),
        (("2013-01", "2013-02", ""), "'' is not a month"),
    ],
)
def test_a_window_that_cannot_be_is_refused(months: tuple[str, str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Window(*months)


@pytest.mark.parametrize("run", ["one", "manual__2013-03-01T00:00:00+00:00", "..", ".", ""])
def test_cleaning_up_a_run_leaves_all_else(
    run: str,
    tmp_path: Path,
    make_settings: Callable[..., Settings],
    digests: Callable[[Path], dict[str, str]],
) -> None:
    settings = make_settings(tmp_path)
    rows = pd.DataFrame({"late": [0, 1]})
    dataset.save(rows, "another", settings)
    before = digests(tmp_path)
    dataset.save(rows, run, settings)
    assert digests(tmp_path) != before
    runs.clean_up(run, settings)
    assert digests(tmp_path) == before
    runs.clean_up(run, settings)
    assert digests(tmp_path) == before
