"""Judge a candidate: measure it beside the champion, draw the plots, log both to its run."""

from typing import Any

from flightdelays import dataset, evaluation, registry
from flightdelays.dataset import LABEL
from flightdelays.report import report_folder
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings


def evaluate(
    source: str,
    window: Window,
    candidate: dict[str, Any],
    run: str,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Measure a candidate and the champion on the same later rows, and draw the plots.

    ``candidate`` is what ``train`` returned. Returns the candidate's and the champion's
    metrics and the candidate's AUC by month; logs them and the plots to the candidate's run.
    """
    settings = settings or get_settings()
    rows = dataset.load(source, settings)
    _, validation = dataset.split(rows, window)
    model = registry.load_model(candidate["address"], settings)
    probabilities = evaluation.predict(model, rows)
    months = evaluation.monthly_auc(rows, probabilities)
    judged = probabilities[(rows["month"] == window.validation).to_numpy()]
    metrics = evaluation.measure(validation[LABEL], judged)
    curves = {candidate["model"]: (validation[LABEL], judged)}
    champion = None
    if (found := registry.load_alias(registry.CHAMPION, settings)) is not None:
        number, reigning = found
        answers = evaluation.predict(reigning, validation)
        champion = {"version": number} | evaluation.measure(validation[LABEL], answers).as_dict()
        curves[f"champion v{number}"] = (validation[LABEL], answers)
    folder = report_folder(run, settings)
    evaluation.plot(curves, months, window.validation, settings, folder)
    registry.log_evaluation(candidate["run_id"], metrics.as_dict(), folder, settings)
    return {
        "metrics": metrics.as_dict(),
        "champion": champion,
        "monthly_auc": months,
        "train_rows": candidate["rows"],
        "validation_rows": len(validation),
    }
