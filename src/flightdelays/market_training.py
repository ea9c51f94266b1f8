"""One market's model: trained on its own flights, judged against its own late rate."""

from typing import Any

import pandas as pd

from flightdelays import dataset, evaluation, pages, registry, training_set
from flightdelays import train as training
from flightdelays.dataset import LABEL
from flightdelays.errors import DataError
from flightdelays.markets import CARRIERS, Market
from flightdelays.pages import Table
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

TAG = "course.market"


def build(market: Market, window: Window, run: str, settings: Settings | None = None) -> str:
    """Write the training set of a market's flights alone; returns its path.

    The features are those of all flights: how late a carrier has been is known to everyone.
    Raises DataError if the market had no flight in these months.
    """
    settings = settings or get_settings()
    rows = training_set.prediction_rows(
        window, settings, origin=market.origin, carriers=market.carriers
    )
    if rows.empty:
        raise DataError(
            f"{market.title}: no flight of {', '.join(market.carriers)} left {market.origin} from "
            f"{window.train_from} to {window.validation}: mend its entry in the list of markets"
        )
    return dataset.save(training_set.join_features(rows, settings), run, settings)


def train(
    market: Market,
    source: str,
    window: Window,
    model: str,
    run: str,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Fit ``model`` and log it to MLflow with the market as a tag; returns what ``train`` does."""
    settings = settings or get_settings()
    candidate = training.train(source, window, model, run, settings)
    registry.client(settings).set_tag(candidate["run_id"], TAG, market.dag_id)
    return candidate


def evaluate(
    source: str, window: Window, candidate: dict[str, Any], settings: Settings | None = None
) -> dict[str, Any]:
    """Metrics on the later month, beside those of always answering the market's late rate.

    Returns ``metrics`` and ``base`` (both by name), ``late_rate`` of that month and the number
    of ``rows``; logs them to the candidate's MLflow run. The constant knows the late rate of
    the training rows only.
    """
    settings = settings or get_settings()
    rows, validation = dataset.split(dataset.load(source, settings), window)
    model = registry.load_model(candidate["address"], settings)
    metrics = evaluation.measure(validation[LABEL], evaluation.predict(model, validation))
    constant = pd.Series(float(rows[LABEL].mean()), index=validation.index)
    base = evaluation.measure(validation[LABEL], constant.to_numpy())
    service = registry.client(settings)
    for key, value in metrics.as_dict().items():
        service.log_metric(candidate["run_id"], key, value)
        service.log_metric(candidate["run_id"], f"base_{key}", base.as_dict()[key])
    return {
        "metrics": metrics.as_dict(),
        "base": base.as_dict(),
        "late_rate": float(validation[LABEL].mean()),
        "rows": len(validation),
    }


def report(
    market: Market,
    window: Window,
    candidate: dict[str, Any],
    evaluated: dict[str, Any],
    run: str,
    settings: Settings | None = None,
) -> str:
    """Write the page and the verdict of a market's run; returns the path of the verdict."""
    metrics, base = evaluated["metrics"], evaluated["base"]
    better = metrics["log_loss"] < base["log_loss"]
    times = metrics["pr_auc"] / evaluated["late_rate"]
    headline = (
        f"{market.title}: {candidate['model']} ranks the flights of {window.validation} with an "
        f"AUC of {metrics['auc']:.3f}; its probabilities are {'better' if better else 'no better'} "
        "than the market's late rate alone."
    )
    facts = [
        f"From {market.origin}: {', '.join(f'{CARRIERS[c]} ({c})' for c in market.carriers)}.",
        f"Trained on {candidate['rows']:,} flights of {window.train_from} to {window.train_to} in "
        f"{candidate['seconds']} s, judged on {evaluated['rows']:,} of {window.validation}, of "
        f"which {evaluated['late_rate']:.1%} were late.",
        f"PR-AUC is {times:.1f} times that of guessing.",
        f"Logged to MLflow as run {candidate['run_id']}; nothing is deployed.",
    ]
    rows = [
        [label, metrics[key], base[key]]
        for label, key in (("AUC", "auc"), ("PR-AUC", "pr_auc"), ("log-loss", "log_loss"))
    ]
    return pages.write(
        market.dag_id,
        run,
        headline=headline,
        facts=facts,
        tables={"Model and base rate": Table(["metric", "model", "always the late rate"], rows)},
        data={"market": market.model_dump(), "candidate": candidate, **evaluated},
        settings=settings,
    )
