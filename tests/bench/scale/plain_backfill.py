"""The functions behind two backfills, month after month in one process: what Airflow adds to.

``python plain_backfill.py ingest_flights`` or ``python plain_backfill.py backfill_feature VIEW``,
for all of 2013, in the lake that ``FLIGHTDELAYS_LAKE`` names.
"""

import sys

from flightdelays import backfill, source
from flightdelays.lake import months_between

YEAR = months_between("2013-01", "2013-12")


def ingest_flights() -> None:
    """Land every month."""
    for month in YEAR:
        source.land(month)


def backfill_feature(view: str) -> None:
    """Build every month of a view, publish it once it is whole, and report on each month."""
    for month in YEAR:
        backfill.require(view, month)
        built = backfill.build(view, month)
        if built["whole"]:
            backfill.publish(view)
        backfill.report(view, month, built, f"script-{month}")


if __name__ == "__main__":
    {"ingest_flights": ingest_flights, "backfill_feature": backfill_feature}[sys.argv[1]](
        *sys.argv[2:]
    )
