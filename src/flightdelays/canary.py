"""A small training on a sample of the last months: does the way from lake to metric still work?

It stores no model: what counts is that it succeeds, how long it takes and how good it is.
"""

import time
from collections.abc import Mapping

from threadpoolctl import threadpool_limits

from flightdelays import alerts, availability, dataset, evaluation, models, pages, training_set
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.faults import FAULTS
from flightdelays.lake import open_lake
from flightdelays.pages import Table
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

MODEL = "logistic"
ROWS = 20_000
MONTHS = 3


def window(settings: Settings | None = None) -> Window:
    """The last landed months, at most three, of which the last one judges.

    Raises what ``availability.check`` raises if anything is missing.
    """
    landed = open_lake(settings).months("raw")[-MONTHS:]
    return availability.check(landed[0] if landed else None, None, settings)


def sample(window: Window, run: str, settings: Settings | None = None) -> str:
    """Write a sample of the window's flights with their features; returns its path."""
    settings = settings or get_settings()
    rows = training_set.prediction_rows(window, settings)
    few = rows.sample(min(ROWS, len(rows)), random_state=settings.seed).sort_index()
    joined = training_set.join_features(few.reset_index(drop=True), settings)
    return dataset.save(joined, run, settings)


def train(source: str, window: Window, settings: Settings | None = None) -> dict[str, float]:
    """Fit and judge: number of training ``rows``, ``seconds`` of the fit, metrics by name."""
    settings = settings or get_settings()
    training, validation = dataset.split(dataset.load(source, settings), window)
    columns = feature_columns(list(training.columns))
    pipeline = models.make(MODEL, settings)
    start = time.perf_counter()
    with threadpool_limits(settings.threads):
        pipeline.fit(training[columns], training[LABEL])
    seconds = time.perf_counter() - start
    metrics = evaluation.measure(validation[LABEL], evaluation.predict(pipeline, validation))
    return {"rows": len(training), "seconds": round(seconds, 3)} | metrics.as_dict()


def report(
    dag_id: str,
    run: str,
    window: Window,
    metrics: Mapping[str, float],
    fault: str,
    settings: Settings | None = None,
) -> str:
    """Write the page and the verdict of a run; returns the path of the verdict.

    ``metrics`` are those sent to the metrics server, by name. The messages are those of this
    run so far: the run has not succeeded yet.
    """
    messages = alerts.sent((dag_id, run), settings)
    told_of = [[message["at"], message["about"]] for message in messages]
    told = f"{len(messages)} message(s) were sent" if messages else "nobody had to be told"
    return pages.write(
        dag_id,
        run,
        headline=f"The training works: AUC {metrics['training.auc']:.3f} on a sample of "
        f"{window.validation}; {told} before the end of the run.",
        facts=[
            f"Fitted on {metrics['training.rows']:,.0f} flights of {window.train_from} to "
            f"{window.train_to} in {metrics['training.fit']:,.0f} ms; no model is stored.",
            f"Planted fault: {fault} ({FAULTS[fault]}).",
        ],
        tables={"Metrics sent": Table(["metric", "value"], list(metrics.items()))}
        | ({"Messages so far": Table(["sent at", "message"], told_of)} if messages else {}),
        data={"metrics": dict(metrics), "messages": messages, "fault": fault},
        settings=settings,
    )
