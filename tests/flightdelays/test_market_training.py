"""A market's rows are its own flights, with the features that all flights give."""

import pandas as pd
import pytest

from flightdelays import market_training, training_set
from flightdelays.errors import DataError
from flightdelays.markets import Market
from flightdelays.runs import Window
from flightdelays.settings import Settings


def test_a_market_has_the_rows_of_its_origin_and_carriers_and_no_other(
    settings: Settings, window: Window
) -> None:
    everything = training_set.prediction_rows(window, settings)
    delta = everything["carrier"].isin(["DL", "9E"])
    from_lga = everything["origin"] == "LGA"
    for origin, carriers, expected in (
        ("LGA", ["DL", "9E"], delta & from_lga),
        ("LGA", None, from_lga),
        (None, ["DL", "9E"], delta),
        (None, [], delta & ~delta),
    ):
        found = training_set.prediction_rows(window, settings, origin=origin, carriers=carriers)
        pd.testing.assert_frame_equal(
            found, everything[expected].reset_index(drop=True), check_dtype=bool(len(found))
        )


def test_a_market_without_flights_is_named(settings: Settings, window: Window) -> None:
    market = Market(origin="LGA", group="hawaiian", carriers=("HA",))
    with pytest.raises(DataError, match="LGA hawaiian: no flight of HA left LGA from 2013-01"):
        market_training.build(market, window, "empty", settings)
