"""Is everything there that a training needs? Asked first, because it is cheap."""

from flightdelays import features, store
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import check_contiguous, open_lake, previous_month
from flightdelays.runs import Window
from flightdelays.service import check_mlflow
from flightdelays.settings import Settings, get_settings


def check(
    train_from: str | None = None,
    validation: str | None = None,
    settings: Settings | None = None,
) -> Window:
    """The months to train on and to judge by, after a look at data, features, lake and MLflow.

    Without arguments the last landed month judges and all earlier ones train. Raises
    DataError or CourseError with what is missing and the command that brings it, or
    ServiceError with the address that does not answer.
    """
    settings = settings or get_settings()
    lake = open_lake(settings)
    landed = lake.months("raw")
    if len(landed) < 2:
        raise DataError(
            f"{len(landed)} month(s) landed in {lake.root}, training needs at least two: "
            "run `make demo`, or the DAG ingest_flights"
        )
    validation = validation or landed[-1]
    window = Window(train_from or landed[0], previous_month(validation), validation)
    for month in (window.train_from, window.validation):
        if month not in landed:
            raise DataError(f"{month} has not landed; landed so far: {', '.join(landed)}")
    used = [month for month in landed if window.train_from <= month <= window.validation]
    check_contiguous(used, "landed months")
    # What the model does not read may still be on its way: a new feature is being backfilled.
    read = store.service_views(settings)
    stale = [month for month in features.stale_months(settings, read) if month in used]
    if stale:
        raise CourseError(
            f"the features of {', '.join(stale)} are absent or older than their data: "
            "run the DAG build_features"
        )
    lake.check_writable()
    check_mlflow(settings)
    return window
