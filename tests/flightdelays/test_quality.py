"""The quality gate: real data pass it, and each expectation catches the fault it is there for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flightdelays.errors import QualityError
from flightdelays.settings import Settings

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


def first(column: str, value: Any, rows: int = 1) -> Spoil:
    """Put a value into the first rows of a column."""

    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).to_numpy(copy=True)
        values[:rows] = value
        kind = table[column].dtype if value is not np.nan else "float64"
        return table.assign(**{column: pd.Series(values, index=table.index).astype(kind)})

    return spoil


# For each expectation (its kind and column) one fault and what the message must say of it.
FAULTS: dict[tuple[str, str], tuple[Spoil, list[str]]] = {
    ("expect_table_row_count_to_be_between", ""): (
        lambda table: table.head(9_999),
        ["table row count to be between", "10000", "found 9999"],
    ),
    ("expect_compound_columns_to_be_unique", "scheduled_departure, carrier, flight, origin"): (
        lambda table: pd.concat([table, table.head(1)]),
        ["2 of 12001 rows do not", "'carrier': 'UA'", "'flight': 1545", "'origin': 'EWR'"],
    ),
    ("expect_column_values_to_be_in_set", "late"): (
        first("late", 2),
        ["1 of 12000 rows do not, for example 2"],
    ),
    ("expect_column_values_to_not_be_null", "late"): (
        first("late", np.nan),
        ["not be null", "1 of 12000 rows do not"],
    ),
    ("expect_column_mean_to_be_between", "late"): (
        lambda table: table.assign(late=0),
        ["0.08", "0.45", "found 0.0"],
    ),
    ("expect_column_values_to_be_in_set", "origin"): (
        first("origin", "PHL"),
        ["'EWR', 'JFK', 'LGA'", "1 of 12000 rows do not, for example PHL"],
    ),
    ("expect_column_value_lengths_to_equal", "dest"): (
        first("dest", "ATLANTA"),
        ["'value': 3", "1 of 12000 rows do not, for example ATLANTA"],
    ),
    ("expect_column_values_to_be_between", "distance"): (
        first("distance", 17.0),
        ["'min_value': 80", "1 of 12000 rows do not, for example 17"],
    ),
    ("expect_column_values_to_not_be_null", "temp"): (
        first("temp", np.nan, rows=400),
        ["not be null", "0.97", "rows do not"],
    ),
    ("expect_column_values_to_not_be_null", "origin_late_rate_24h"): (
        first("origin_late_rate_24h", np.nan, rows=500),
        ["not be null", "0.97", "rows do not"],
    ),
    ("expect_column_values_to_be_between", "carrier_late_rate_24h"): (
        first("carrier_late_rate_24h", 1.5),
        ["'max_value': 1", "for example 1.5"],
    ),
    ("expect_column_values_to_be_between", "tailnum_idle_minutes"): (
        first("tailnum_idle_minutes", -1.0),
        ["'min_value': 0", "for example -1.0"],
    ),
}


@pytest.fixture(scope="module")
def some(rows: pd.DataFrame) -> pd.DataFrame:
    """12,000 real rows: enough to pass, few enough to check often."""
    return rows.head(12_000)


def failures(rows: pd.DataFrame, settings: Settings) -> list[str]:
    from flightdelays import quality

    return quality.check(rows, docs=False, settings=settings).failures


def test_three_real_months_pass(rows: pd.DataFrame, settings: Settings) -> None:
    from flightdelays import quality

    report = quality.require(rows, docs=False, settings=settings)
    assert report == quality.Report(passed=len(FAULTS), failures=[], page="")


def test_there_is_a_fault_for_every_expectation() -> None:
    from flightdelays import quality

    suite = [expectation.configuration for expectation in quality.expectations()]
    named = {
        (
            item.type,
            item.kwargs.get("column") or ", ".join(item.kwargs.get("column_list", [])),
        )
        for item in suite
    }
    assert named == set(FAULTS)
    assert len(suite) == len(FAULTS)


def test_the_rows_that_are_spoiled_pass_before_that(some: pd.DataFrame, settings: Settings) -> None:
    assert failures(some, settings) == []


@pytest.mark.parametrize("expectation", FAULTS, ids=lambda key: f"{key[0]} {key[1]}".strip())
def test_each_expectation_alone_catches_its_fault(
    expectation: tuple[str, str], some: pd.DataFrame, settings: Settings
) -> None:
    kind, column = expectation
    spoil, parts = FAULTS[expectation]
    (failure,) = failures(spoil(some), settings)
    words = kind.removeprefix("expect_").replace("_", " ")
    assert failure.startswith(f"column '{column}': {words}" if column else words)
    for part in parts:
        assert part in failure


def test_a_column_that_is_gone_is_named(some: pd.DataFrame, settings: Settings) -> None:
    (failure,) = failures(some.drop(columns="temp"), settings)
    assert failure.startswith("column 'temp': column values to not be null")
    assert 'The column "temp" in BatchData does not exist' in failure


def test_no_rows_at_all_do_not_pass(some: pd.DataFrame, settings: Settings) -> None:
    assert "found 0" in failures(some.head(0), settings)[0]


def test_a_leak_is_caught_as_negative_idle_time(some: pd.DataFrame, settings: Settings) -> None:
    """A join that looks at the next fact instead of the last one would give this."""
    leaked = some.assign(tailnum_idle_minutes=-some["tailnum_idle_minutes"])
    (failure,) = failures(leaked, settings)
    assert failure.startswith("column 'tailnum_idle_minutes'")


def test_every_failure_is_told_at_once(some: pd.DataFrame, settings: Settings) -> None:
    from flightdelays import quality

    spoiled = first("distance", 17.0)(first("origin", "PHL")(some))
    with pytest.raises(QualityError) as caught:
        quality.require(spoiled, docs=False, settings=settings)
    message = str(caught.value)
    assert message.startswith("2 expectation(s) on the training set failed: ")
    assert "column 'origin'" in message
    assert "column 'distance'" in message
    assert "Data Docs" not in message


def test_data_docs_name_the_suite_and_the_message_names_the_page(
    some: pd.DataFrame, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    from flightdelays import quality

    settings = make_settings(tmp_path)
    first_report = quality.require(some, settings=settings)
    docs = tmp_path / "site" / "data_docs"
    page = tmp_path / "site" / first_report.page
    assert page.is_relative_to(docs / "validations" / quality.NAME)
    text = page.read_text("utf-8")
    assert quality.NAME in text
    assert "tailnum_idle_minutes" in text
    assert (docs / "expectations" / f"{quality.NAME}.html").is_file()
    assert quality.NAME in (docs / "index.html").read_text("utf-8")
    # Again, and now it fails: the same suite, one more validation, the page named.
    again = quality.check(some, settings=settings)
    assert (again.passed, again.failures) == (first_report.passed, [])
    with pytest.raises(QualityError) as caught:
        quality.require(first("origin", "PHL")(some), settings=settings)
    assert f". Data Docs: file://{docs}/validations/{quality.NAME}/" in str(caught.value)
    assert len(list(docs.glob("expectations/*.html"))) == 1
    pages = list(docs.glob("validations/**/*.html"))
    assert len(pages) == 3
    assert sum("PHL" in page.read_text("utf-8") for page in pages) == 1
