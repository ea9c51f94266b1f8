"""Two months of features in an online store, and the flights whose features are read."""

from pathlib import Path
from typing import Any

from flightdelays import features, source, store
from flightdelays.runs import Window
from flightdelays.settings import Settings
from flightdelays.training_set import prediction_rows

MONTHS = ("2013-08", "2013-09")


def settings_in(root: Path, **changes: str) -> Settings:
    """Settings with every place of the features below ``root``."""
    places = {
        "lake": str(root / "lake"),
        "site": str(root / "site"),
        "feast_registry": str(root / "feast" / "registry.db"),
        "feast_online": str(root / "feast" / "online.db"),
    }
    return Settings(**(places | changes))


def build(settings: Settings) -> None:
    """Land two months and build their features."""
    for month in MONTHS:
        source.land(month, settings)
    for month in MONTHS:
        for view in features.views(settings):
            features.build(view, month, settings)


def fill(settings: Settings) -> None:
    """Materialise the features as they were known at the end of the second month."""
    store.apply(settings)
    store.materialize(store.end_of_month(MONTHS[-1]), settings)


def asked(number: int, settings: Settings) -> list[dict[str, Any]]:
    """Join keys of flights of the second month, drawn with the seed of the settings."""
    keys = store.join_keys(store.open_store(settings))
    flights = prediction_rows(Window(MONTHS[0], MONTHS[0], MONTHS[1]), settings)
    flights = flights[flights["month"] == MONTHS[1]].dropna(subset=keys)
    return flights.sample(number, random_state=settings.seed)[keys].to_dict("records")
