"""One month of one feature view, and what is left of the view: the work of ``backfill_feature``.

The runs are independent: each replaces one partition. Whichever finds that no month of its view
is left to build publishes the view, and only that one.
"""

from typing import Any

from flightdelays import features, pages, store
from flightdelays.errors import DataError
from flightdelays.lake import month_number, open_lake
from flightdelays.pages import Table
from flightdelays.settings import Settings, get_settings

DAG_ID = "backfill_feature"


def require(view: str | None, month: str | None, settings: Settings | None = None) -> None:
    """Refuse a run that cannot end well, before it computes anything.

    DataError or CourseError says what is missing: the view or its known names, its query, its
    definition, or the month (``YYYY-MM``).
    """
    if view is None:
        known = ", ".join(features.views(settings))
        raise DataError(f"the run names no feature view: set the parameter view to one of {known}")
    store.check_complete(view, settings)
    if month is None:
        raise DataError("a run without a data interval needs the parameter month (YYYY-MM)")
    month_number(month)


def build(view: str, month: str, settings: Settings | None = None) -> dict[str, Any]:
    """Compute a month of a view: its number of ``rows``, and whether the view is ``whole``.

    It is once every landed month is built from today's data and SQL. Asked when the month is in
    the lake: of two runs that end together at least the later one finds the view whole, and if
    both do, both publish the same.
    """
    rows = features.build(view, month, settings)
    return {"rows": rows, "whole": not features.stale(settings)[view]}


def publish(view: str, settings: Settings | None = None) -> str:
    """Register a view and serve it online; returns the last landed month, up to which it is.

    No other view is touched. CourseError if query and definition name different columns.
    """
    last = open_lake(settings).months("raw")[-1]
    store.check_columns(view, settings)
    store.apply(settings, view)
    store.materialize(store.end_of_month(last), settings, view)
    return last


def report(
    view: str,
    month: str,
    built: dict[str, Any],
    run: str,
    settings: Settings | None = None,
) -> str:
    """Write the run's page: what it built and how far the view is; returns the verdict's path.

    ``built`` is what ``build`` returned; a view that was whole then is published now.
    """
    settings = settings or get_settings()
    lake = open_lake(settings)
    left = features.stale(settings)[view]
    months: list[list[pages.Cell]] = []
    for landed in lake.months("raw"):
        manifest = lake.manifest(features.table(view), landed)
        entry = lake.read_json(manifest) if lake.exists(manifest) else {}
        state = "to build" if landed in left else "built"
        months.append([landed, state, entry.get("rows"), entry.get("built_at")])
    done = f"{len(months) - len(left)} of {len(months)} landed months are built"
    if built["whole"]:
        headline = f"{month} of {view} is built, the view is whole and is served online."
    else:
        headline = f"{month} of {view} is built; {done}, and the last one publishes the view."
    if view in store.service_views(settings):
        read = f"The model reads {view}: its next training has these facts. This run started none."
    else:
        read = (
            f"No model reads {view}, and this run started no training: "
            f"add it to the feature service {store.SERVICE} to use it."
        )
    return pages.write(
        DAG_ID,
        run,
        headline=headline,
        facts=[
            f"The month has {built['rows']:,} facts; building it again gives the same file.",
            read,
        ],
        tables={f"Months of {view}": Table(["month", "state", "facts", "built at"], months)},
        data={"view": view, "month": month, "left": left, **built},
        settings=settings,
    )
