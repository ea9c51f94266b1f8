"""Feast's view of the features: what is known about an origin, a carrier, an aircraft, and when.

Each view has its query beside this file, ``<view>.sql``; the tables are built by the DAGs
``build_features`` and ``backfill_feature``. README.md tells how to add a feature. A time-to-live
(TTL) says how old a fact may be at prediction time and still be used; past it the feature is
missing, which every model of the course understands.
"""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.types import Float64, Int32, Int64, PrimitiveFeastType
from feast.value_type import ValueType

from flightdelays.features import table
from flightdelays.lake import open_lake

origin = Entity(name="origin", value_type=ValueType.STRING, description="airport of departure")
carrier = Entity(name="carrier", value_type=ValueType.STRING, description="two-letter airline code")
tailnum = Entity(name="tailnum", value_type=ValueType.STRING, description="aircraft registration")


def events(view: str) -> FileSource:
    """All months of a view's table in the lake."""
    return FileSource(
        name=view,
        path=open_lake().partitions(table(view)),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
    )


def view(
    name: str, entity: Entity, ttl: timedelta, description: str, **types: PrimitiveFeastType
) -> FeatureView:
    """A feature view over the table of the same name."""
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=ttl,
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in types.items()],
        source=events(name),
        online=True,
        description=description,
    )


# Weather comes every hour and about 54 hours of the year are missing at each airport, rarely
# more than a few together: six hours bridge those, older weather says nothing of now.
origin_weather = view(
    "origin_weather",
    origin,
    timedelta(hours=6),
    "hourly weather at the origin, known once its hour is over",
    temp=Float64,
    humid=Float64,
    wind_dir=Float64,
    wind_speed=Float64,
    precip=Float64,
    pressure=Float64,
    visib=Float64,
)

# Published every full hour, day and night. Three hours forgive two late publications; after
# that something is broken, and a missing value is more honest than this morning's delays.
origin_delays = view(
    "origin_delays",
    origin,
    timedelta(hours=3),
    "delays of departures and arrivals at the origin in the last hours",
    origin_departure_delay_1h=Float64,
    origin_departure_late_rate_1h=Float64,
    origin_departures_1h=Int64,
    origin_departure_delay_3h=Float64,
    origin_late_rate_3h=Float64,
    origin_delay_3h=Float64,
    origin_late_rate_24h=Float64,
)

# Published every full hour as well, for each carrier that arrived anywhere in two weeks.
carrier_delays = view(
    "carrier_delays",
    carrier,
    timedelta(hours=3),
    "delays of the carrier's flights in the last hours and weeks",
    carrier_late_rate_3h=Float64,
    carrier_delay_3h=Float64,
    carrier_late_rate_24h=Float64,
    carrier_late_rate_14d=Float64,
)

# An aircraft comes back to New York after hours or after weeks; its longest window is two
# weeks, so a fact older than that describes nothing any more.
tailnum_delays = view(
    "tailnum_delays",
    tailnum,
    timedelta(days=14),
    "what the aircraft last did and how it fared in two weeks",
    tailnum_last_arrival=Int64,
    tailnum_last_delay=Int32,
    tailnum_late_rate_24h=Float64,
    tailnum_late_rate_14d=Float64,
    tailnum_flights_14d=Int64,
)

delay_model = FeatureService(
    name="delay_model",
    features=[origin_weather, origin_delays, carrier_delays, tailnum_delays],
    description="everything the delay model reads from the feature store",
)
