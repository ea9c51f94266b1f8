"""How good a model is: metrics and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from flightdelays.dataset import LABEL, feature_columns
from flightdelays.errors import DataError
from flightdelays.settings import Settings

# 0 or 1 for each row
Labels = Sequence[int] | pd.Series


@dataclass(frozen=True)
class Metrics:
    """ROC AUC, area under precision-recall (average precision), log-loss in nats."""

    auc: float
    pr_auc: float
    log_loss: float

    def as_dict(self) -> dict[str, float]:
        """The three numbers by name."""
        return asdict(self)


def predict(model: Any, rows: pd.DataFrame) -> np.ndarray:
    """Probability of being late, shape (rows,), each in [0, 1]."""
    return np.asarray(model.predict_proba(rows[feature_columns(list(rows.columns))])[:, 1])


def measure(labels: Labels, probabilities: np.ndarray) -> Metrics:
    """Metrics of predicted probabilities against labels (0 or 1), both of shape (rows,)."""
    if len(set(labels)) < 2:
        raise DataError("all validation rows have the same label: no metric can be computed")
    return Metrics(
        auc=float(roc_auc_score(labels, probabilities)),
        pr_auc=float(average_precision_score(labels, probabilities)),
        log_loss=float(log_loss(labels, probabilities)),
    )


def monthly_auc(rows: pd.DataFrame, probabilities: np.ndarray) -> dict[str, float]:
    """ROC AUC of each month in ``rows``."""
    scored = rows[["month", LABEL]].assign(probability=probabilities)
    return {
        str(month): float(roc_auc_score(part[LABEL], part["probability"]))
        for month, part in scored.groupby("month")
    }


def plot(
    curves: Mapping[str, tuple[Labels, np.ndarray]],
    months: Mapping[str, float],
    validation_month: str,
    settings: Settings,
    folder: Path,
) -> list[Path]:
    """Draw ROC, precision-recall, calibration and monthly AUC as four SVG files.

    ``curves`` holds (labels, probabilities) by the model's name; returns the files' paths.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # Without a salt and a date two drawings of the same data differ.
    mpl.rcParams.update({"svg.hashsalt": "flightdelays", "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "font.size": 11})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, draw in {
        "roc": _draw_roc,
        "precision_recall": _draw_precision_recall,
        "calibration": _draw_calibration,
    }.items():
        figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
        for label, (labels, probabilities) in curves.items():
            draw(axes, label, labels, probabilities)
        axes.legend(frameon=False)
        drawn.append(_save(figure, folder / f"{name}.svg"))
    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    _draw_months(axes, months, validation_month, settings.gate_auc)
    drawn.append(_save(figure, folder / "monthly_auc.svg"))
    return drawn


def _draw_roc(axes: Any, label: str, labels: Labels, probabilities: np.ndarray) -> None:
    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    axes.plot(false_positive, true_positive, label=label)
    axes.axline((0, 0), slope=1, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="punctual flights called late", ylabel="late flights found", title="ROC")


def _draw_precision_recall(
    axes: Any, label: str, labels: Labels, probabilities: np.ndarray
) -> None:
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    axes.plot(recall, precision, label=label)
    axes.axhline(float(np.mean(labels)), color="grey", linestyle=":", linewidth=1)
    axes.set(
        xlabel="late flights found (recall)",
        ylabel="of those called late, truly late (precision)",
        title="Precision and recall",
        ylim=(0, 1.02),
    )


def _draw_calibration(axes: Any, label: str, labels: Labels, probabilities: np.ndarray) -> None:
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy="quantile")
    axes.plot(predicted, observed, marker="o", markersize=4, label=label)
    axes.axline((0, 0), slope=1, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="predicted probability", ylabel="share that was late", title="Calibration")


def _draw_months(
    axes: Any, months: Mapping[str, float], validation_month: str, floor: float
) -> None:
    names, values = list(months), list(months.values())
    judged = [name == validation_month for name in names]
    axes.bar(
        names,
        values,
        color=["#1f77b4" if later else "#c6dbef" for later in judged],
        edgecolor="#1f77b4",
    )
    for name, value in zip(names, values, strict=True):
        axes.annotate(f"{value:.2f}", (name, value), ha="center", va="bottom", fontsize=9)
    axes.axhline(floor, color="#d62728", linestyle="--", linewidth=1)
    axes.annotate("gate", (0, floor), color="#d62728", va="bottom", ha="right", fontsize=9)
    axes.set(title="AUC by month (pale: seen in training)", ylim=(0.5, 1), ylabel="AUC")
    axes.tick_params(axis="x", rotation=45)


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
    return path
