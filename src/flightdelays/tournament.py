"""A tournament: several models fitted on the same rows and judged on the same later rows.

PR-AUC decides. F1 is shown beside it; it needs a threshold, and that is the one with the best
F1 on the training rows: at 0.5 hardly any flight would be called late, and a threshold chosen
on the later rows would have seen the answers.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.metrics import f1_score, precision_recall_curve

from flightdelays import dataset, evaluation, pages, registry, tracking
from flightdelays.dataset import LABEL
from flightdelays.errors import CourseError, DataError
from flightdelays.lake import Lake, open_lake
from flightdelays.runs import Window, run_folder
from flightdelays.settings import Settings, get_settings
from flightdelays.train import train

DAG_ID = "model_tournament"
METRICS = ("pr_auc", "f1", "auc", "log_loss")

log = logging.getLogger(__name__)


def predictions_path(model: str, run: str, settings: Settings | None = None) -> str:
    """Where a candidate of a run leaves its answers.

    The file has one column, ``probability`` of being late, for each row of the training set
    in its order: training rows and later rows.
    """
    return open_lake(settings).path(*run_folder(run), "predictions", f"{model}.parquet")


def assignment(model: str, run: str, settings: Settings | None = None) -> dict[str, Any]:
    """All that a candidate needs to know that cannot import the course's code."""
    settings = settings or get_settings()
    return {
        "model": model,
        "predictions": predictions_path(model, run, settings),
        "not_features": list(dataset.NOT_FEATURES),
        "label": LABEL,
        "threads": settings.threads,
        "seed": settings.seed,
    }


def compete(
    source: str, window: Window, model: str, run: str, settings: Settings | None = None
) -> dict[str, Any]:
    """Fit one model of this environment and judge it; returns what ``judge`` does."""
    settings = settings or get_settings()
    fitted = train(source, window, model, run, settings)
    answers = evaluation.predict(
        registry.load_model(fitted["address"], settings), dataset.load(source, settings)
    )
    path = predictions_path(model, run, settings)
    open_lake(settings).write_table(path, pa.table({"probability": answers}))
    return judge(source, window, fitted | {"predictions": path}, run, settings)


def judge(
    source: str,
    window: Window,
    fitted: dict[str, Any],
    run: str,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Metrics of a fitted candidate on the later rows, logged to its MLflow run.

    ``fitted`` holds ``model``, ``predictions`` (a path), ``seconds`` and, if its model lies in
    MLflow, ``run_id``; one without gets a run of its own. Returns these four with the metrics
    ``pr_auc``, ``f1``, ``auc``, ``log_loss`` and the ``threshold`` of F1.
    """
    settings = settings or get_settings()
    rows = dataset.load(source, settings)
    probabilities = read_predictions(fitted["predictions"], len(rows), settings)
    training, validation = dataset.split(rows, window)
    later = probabilities[validation.index]
    threshold = best_threshold(training[LABEL], probabilities[training.index])
    called = later >= threshold
    metrics = evaluation.measure(validation[LABEL], later).as_dict() | {
        "f1": float(f1_score(validation[LABEL], called, zero_division=0)),
        "threshold": threshold,
    }
    if "run_id" in fitted:
        run_id = fitted["run_id"]
        service = registry.client(settings)
        for name, value in metrics.items():
            service.log_metric(run_id, name, value)
    else:
        params = {"model": fitted["model"], "validation": window.validation}
        run_id = tracking.log_run(
            fitted["model"], run, params=params, metrics=metrics, settings=settings
        )
    kept = {key: fitted[key] for key in ("model", "predictions", "seconds")}
    return kept | {"run_id": run_id} | metrics


def read_predictions(path: str, rows: int, settings: Settings | None = None) -> np.ndarray:
    """A candidate's probabilities, shape (rows,); DataError if they are not that."""
    table = open_lake(settings).read_table(path)
    if table.column_names != ["probability"]:
        raise DataError(f"{path} has the columns {table.column_names}: expected 'probability'")
    values = table["probability"].to_numpy()
    if len(values) != rows or not bool(np.all((values >= 0) & (values <= 1))):
        raise DataError(
            f"{path} has {len(values)} values between {values.min()} and {values.max()}: "
            f"expected {rows} probabilities, one for each row of the training set"
        )
    return np.asarray(values)


def best_threshold(labels: evaluation.Labels, probabilities: np.ndarray) -> float:
    """The threshold with the highest F1; a row is called late at or above it."""
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    # The last point of the curve, recall 0, has no threshold. F1 of nothing found is 0.
    total = np.maximum(precision + recall, np.finfo(float).tiny)[:-1]
    return float(thresholds[np.argmax(2 * precision[:-1] * recall[:-1] / total)])


def compare(
    source: str | None,
    window: Window | None,
    results: Sequence[dict[str, Any]],
    asked: Sequence[str],
    run: str,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """The standings of those that finished, best PR-AUC first, as a table, plots and MLflow run.

    ``results`` are what ``judge`` returned, ``asked`` the names of all that were to compete.
    Returns ``winner``, ``standings``, ``missing`` and the ``run_id`` of the tournament's run;
    CourseError if no candidate finished.
    """
    settings = settings or get_settings()
    if source is None or window is None or not results:
        raise CourseError(
            f"none of the {len(asked)} candidates ({', '.join(asked)}) finished: the log of each "
            "says why, or that of a task before them; mend it and clear the run"
        )
    standings = sorted(results, key=lambda result: (-result["pr_auc"], result["model"]))
    winner = standings[0]
    missing = sorted(set(asked) - {result["model"] for result in standings})
    folder = pages.folder(DAG_ID, run, settings)
    frame = pd.DataFrame(standings)[["model", *METRICS, "threshold", "seconds"]]
    Lake(str(folder)).write_text(str(folder / "comparison.csv"), frame.to_csv(index=False))
    log.info("standings on %s:\n%s", window.validation, frame.round(4).to_string(index=False))
    if missing:
        log.warning("did not finish: %s", ", ".join(missing))
    plots = draw(source, window, standings, folder, settings)
    run_id = tracking.log_run(
        "tournament",
        run,
        params={
            "train_from": window.train_from,
            "train_to": window.train_to,
            "validation": window.validation,
            "candidates": ", ".join(asked),
        },
        metrics={name: winner[name] for name in METRICS},
        tags={"course.winner": winner["model"]},
        files=[folder / "comparison.csv", *plots],
        settings=settings,
    )
    service = registry.client(settings)
    for result in standings:
        won = str(result is winner).lower()
        service.set_tag(result["run_id"], "course.winner", won)
        # MLflow's page then lists the candidates below their tournament.
        service.set_tag(result["run_id"], "mlflow.parentRunId", run_id)
    return {
        "winner": winner["model"],
        "standings": standings,
        "missing": missing,
        "run_id": run_id,
    }


def draw(
    source: str,
    window: Window,
    standings: Sequence[dict[str, Any]],
    folder: Path,
    settings: Settings,
) -> list[Path]:
    """Draw the candidates' precision-recall curves and their scores as two SVG files."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # Without a salt and a date two drawings of the same data differ.
    mpl.rcParams.update({"svg.hashsalt": "flightdelays", "font.size": 11})
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    rows = dataset.load(source, settings)
    _, validation = dataset.split(rows, window)
    labels = validation[LABEL]

    curves, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for result in standings:
        answers = read_predictions(result["predictions"], len(rows), settings)
        precision, recall, _ = precision_recall_curve(labels, answers[validation.index])
        # A few hundred points look like 28,000 and make a page that opens at once.
        shown = np.unique(np.searchsorted(-recall, -np.linspace(0, 1, 400)))
        axes.plot(
            recall[shown], precision[shown], label=f"{result['model']} {result['pr_auc']:.3f}"
        )
    axes.axhline(float(labels.mean()), color="grey", linestyle=":", linewidth=1)
    axes.set(
        xlabel="late flights found (recall)",
        ylabel="of those called late, truly late (precision)",
        title=f"Precision and recall, {window.validation}",
        ylim=(0, 1.02),
    )
    axes.legend(frameon=False, title="PR-AUC")

    scores, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    names = [result["model"] for result in standings]
    for offset, metric, label in ((-0.2, "pr_auc", "PR-AUC"), (0.2, "f1", "F1")):
        bars = axes.barh(
            np.arange(len(names)) + offset, [r[metric] for r in standings], 0.38, label=label
        )
        axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(title="Scores, winner on top", xlim=(0, 1.2 * max(r["f1"] for r in standings) + 0.2))
    axes.legend(frameon=False, loc="lower right")

    paths = []
    for name, figure in (("precision_recall", curves), ("scores", scores)):
        paths.append(folder / f"{name}.svg")
        figure.savefig(paths[-1], format="svg", metadata={"Date": None})
        plt.close(figure)
    return paths


def report(
    window: Window, compared: dict[str, Any], run: str, settings: Settings | None = None
) -> str:
    """Write the page of a tournament; returns the path of its verdict."""
    settings = settings or get_settings()
    standings, missing = compared["standings"], compared["missing"]
    best = standings[0]
    facts = [
        f"Trained on {window.train_from} to {window.train_to}, judged on {window.validation}.",
        f"F1 of {best['model']}: {best['f1']:.4f} at the threshold {best['threshold']:.3f}, "
        "the one with the best F1 on the training rows.",
        "Nothing was deployed: train_delay_model does that, told to train that model.",
    ]
    if missing:
        facts.append(f"Did not finish: {', '.join(missing)}; the log of each says why.")
    table = pages.Table(
        ["model", "PR-AUC", "F1", "AUC", "log-loss", "threshold", "fit, s"],
        [
            [r["model"], *(r[name] for name in METRICS), r["threshold"], f"{r['seconds']:.1f}"]
            for r in standings
        ],
    )
    folder = pages.folder(DAG_ID, run, settings)
    return pages.write(
        DAG_ID,
        run,
        headline=f"{best['model']} won of {len(standings)} with PR-AUC {best['pr_auc']:.4f}.",
        facts=facts,
        tables={"Standings": table},
        plots={
            "Precision and recall": folder / "precision_recall.svg",
            "Scores": folder / "scores.svg",
        },
        data=compared,
        settings=settings,
    )
