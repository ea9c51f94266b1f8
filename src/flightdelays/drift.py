"""Is the champion still what it was when it was deployed? AUC and feature drift by month.

Either of two things asks for a retraining. The outcome of a flight is known within hours, so the
AUC of a month can be measured: it may fall by ``drift_auc_fall`` below that of the month by which
the champion was judged. And the population stability index (PSI) of the delay features, averaged
over them, may not pass ``drift_psi``. The average, because delays have seasons: for champions of
January to February and of January to August the largest index of a single feature passes 0.2 in
every later month, and in five months of the training itself, for a month holds few independent
values of a rate over two weeks. The average passes it in 5 of the 10 later months and 3 of the 4. A
false alarm costs one training: the gate keeps a challenger out that is no better.

PSI as in N. Siddiqi, Credit Risk Scorecards (2006): the sum over bins of (p - q) ln(p / q), with p
and q the shares of rows now and in the reference. For how it varies by chance, which the rule of
thumb 0.2 leaves out, see B. Yurdakul, Statistical Properties of Population Stability Index (2018).
"""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from flightdelays import availability, dataset, evaluation, registry
from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import open_lake
from flightdelays.registry import CHAMPION, Trained
from flightdelays.requests import Priority, TrainingRequest
from flightdelays.settings import Settings, get_settings

PREFIXES = ("origin_", "carrier_", "tailnum_")
BINS = 10
LEAST_SHARE = 1e-4
"""Share that an empty bin counts as: the logarithm of 0 is infinite."""


class Month(TypedDict):
    """One month as the champion met it: ``late_rate`` is the share of late flights."""

    rows: int
    late_rate: float
    auc: float
    psi: dict[str, float]


def moved_most(month: Month) -> tuple[str, float]:
    """The feature with the largest PSI, and that."""
    return max(month["psi"].items(), key=lambda item: item[1])


def mean_psi(month: Month) -> float:
    """PSI of the delay features of a month, averaged over them."""
    return float(np.mean(list(month["psi"].values())))


def champion(month: str | None = None, settings: Settings | None = None) -> tuple[Trained, str]:
    """The champion and the month to monitor: the given one, or the last that landed.

    Raises CourseError if there is no champion, if it was trained on the month, or if data or
    features are missing; ServiceError if MLflow does not answer.
    """
    settings = settings or get_settings()
    number = registry.alias_version(CHAMPION, settings)
    if number is None:
        raise CourseError(
            f"{settings.model_name} has no champion to monitor: run the DAG train_delay_model, "
            "the first model to pass its gate becomes the champion"
        )
    reigning = registry.describe(number, settings)
    landed = open_lake(settings).months("raw")
    month = month or (landed[-1] if landed else reigning.window.validation)
    if month <= reigning.window.train_to:
        raise DataError(
            f"champion v{number} was trained on {reigning.window.train_from} to "
            f"{reigning.window.train_to}: {month} says nothing about it, give a later month"
        )
    availability.check(reigning.window.train_from, month, settings)
    return reigning, month


def measure(source: str, reigning: Trained, settings: Settings | None = None) -> dict[str, Month]:
    """AUC and PSI of each month after the champion's training.

    ``source`` is a training set that begins with the champion's training rows; these are the
    reference of the PSI.
    """
    settings = settings or get_settings()
    model = registry.load_model(f"models:/{settings.model_name}/{reigning.version}", settings)
    rows = dataset.load(source, settings)
    reference, later = (
        rows[rows["month"].between(reigning.window.train_from, reigning.window.train_to)],
        rows[rows["month"] > reigning.window.train_to],
    )
    features = [c for c in feature_columns(list(rows.columns)) if c.startswith(PREFIXES)]
    return {
        str(month): Month(
            rows=len(part),
            late_rate=float(part[LABEL].mean()),
            auc=evaluation.measure(part[LABEL], evaluation.predict(model, part)).auc,
            psi={f: psi(reference[f].to_numpy(), part[f].to_numpy()) for f in features},
        )
        for month, part in later.groupby("month")
    }


def psi(reference: np.ndarray, current: np.ndarray) -> float:
    """Population stability index of numbers of shape (rows,), NaN where a value is missing.

    The bins are the deciles of ``reference``, each with its upper limit; deciles that coincide
    are one bin. Missing values are a bin of their own.
    """
    present = reference[~np.isnan(reference)]
    if not len(present) or not len(current):
        raise DataError("PSI needs reference values and rows to compare with them")
    limits = np.unique(np.quantile(present, np.arange(1, BINS) / BINS))
    expected, actual = (_shares(values, limits) for values in (reference, current))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def _shares(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Share of rows in each bin and, last, of missing values; shape (len(limits) + 2,)."""
    missing = np.isnan(values)
    bins = np.searchsorted(limits, values[~missing], side="left")
    counts = np.append(np.bincount(bins, minlength=len(limits) + 1), missing.sum())
    return np.maximum(counts / len(values), LEAST_SHARE)


def judge(
    months: Mapping[str, Month], month: str, reigning: Trained, settings: Settings | None = None
) -> str | None:
    """Why the champion must be trained again after ``month``, in one sentence; None if all is well.

    The month by which the champion was judged cannot ask for it: a training judged by that month
    gives the same model.
    """
    settings = settings or get_settings()
    if month <= reigning.window.validation:
        return None
    now, before = months[month]["auc"], reigning.metrics["auc"]
    moved = mean_psi(months[month])
    feature, index = moved_most(months[month])
    reasons = []
    if before - now > settings.drift_auc_fall:
        reasons.append(
            f"AUC of champion v{reigning.version} fell by {before - now:.3f} to {now:.3f} in "
            f"{month} ({before:.3f} when it was deployed, a fall of {settings.drift_auc_fall:g} "
            "is allowed)"
        )
    if moved > settings.drift_psi:
        reasons.append(
            f"the delay features of {month} have a mean PSI of {moved:.2f} against the training "
            f"of champion v{reigning.version} ({settings.drift_psi:g} is allowed)"
        )
    if not reasons:
        return None
    return "; ".join(reasons) + f"; the feature that moved most is {feature}, PSI {index:.2f}"


def request(
    months: Mapping[str, Month], month: str, reigning: Trained, settings: Settings | None = None
) -> TrainingRequest:
    """The request for a training; asking again because of the same month is the same event.

    Raises CourseError if ``judge`` finds nothing to ask for.
    """
    reason = judge(months, month, reigning, settings)
    if reason is None:
        raise CourseError(f"champion v{reigning.version} has not drifted in {month}")
    return TrainingRequest(
        event_id=f"drift-v{reigning.version}-{month}",
        month=month,
        model=reigning.model,
        reason=reason,
        priority=Priority.HIGH,
    )
