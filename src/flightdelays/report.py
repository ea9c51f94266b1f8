"""The verdict on a candidate, where people (a page) and programs (a JSON file) find it."""

from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from flightdelays.gate import gate
from flightdelays.lake import Lake, file_name
from flightdelays.pages import only_svg
from flightdelays.runs import Window
from flightdelays.settings import Settings, address, get_settings

FOLDER = "train_delay_model"

PLOTS = {
    "roc": "ROC curve",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "monthly_auc": "AUC by month",
}
"""Files that ``assessment.evaluate`` draws, and their titles on the page."""


def write(
    window: Window,
    candidate: dict[str, Any],
    evaluated: dict[str, Any],
    deployed: dict[str, Any] | None,
    quality_page: str,
    run: str,
    settings: Settings | None = None,
) -> str:
    """Write ``verdict.json`` and the HTML report of a run; returns the JSON file's path.

    ``deployed`` holds the version and its aliases, or is None if the gate kept it out;
    ``quality_page`` is the page of the quality gate, below the site folder.
    """
    settings = settings or get_settings()
    champion = evaluated["champion"]
    reasons = gate(evaluated["metrics"], champion, settings).reasons
    verdict = {
        "run_id": run,
        "model": candidate["model"],
        "train_from": window.train_from,
        "train_to": window.train_to,
        "validation_month": window.validation,
        "train_rows": evaluated["train_rows"],
        "validation_rows": evaluated["validation_rows"],
        "fit_seconds": candidate["seconds"],
        "metrics": evaluated["metrics"],
        "gate": {"auc": settings.gate_auc, "pr_auc": settings.gate_pr_auc},
        "champion": champion,
        "monthly_auc": evaluated["monthly_auc"],
        "deployed": deployed is not None,
        "version": deployed["version"] if deployed else None,
        "aliases": deployed["aliases"] if deployed else [],
        "reasons": reasons,
        "mlflow_run_id": candidate["run_id"],
        "report_url": address(settings, f"{FOLDER}/{file_name(run)}/index.html"),
        "data_docs_url": address(settings, quality_page),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder = report_folder(run, settings)
    if not all((folder / f"{name}.svg").exists() for name in PLOTS):
        from flightdelays import registry  # not above: on one machine nothing has to be fetched

        registry.fetch_evaluation(candidate["run_id"], folder, settings)
    site = Lake(str(folder))
    site.write_text(site.path("index.html"), render(verdict, folder))
    site.write_json(site.path("verdict.json"), verdict)
    return str(folder / "verdict.json")


def render(verdict: dict[str, Any], folder: Path) -> str:
    """The HTML report: verdict first, then the plots that stand in ``folder``, inlined."""
    plots = [(title, (folder / f"{name}.svg").read_text("utf-8")) for name, title in PLOTS.items()]
    template = resources.files("flightdelays").joinpath("templates", "report.html.j2")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    # The plots are matplotlib's own drawings of numbers; names from outside are only in `verdict`.
    page: str = environment.from_string(template.read_text("utf-8")).render(
        verdict=verdict,
        plots=[(title, Markup(only_svg(svg))) for title, svg in plots],  # noqa: S704
    )
    return page


def report_folder(run: str, settings: Settings) -> Path:
    """Where a run's report and plots are kept for people to open."""
    return Path(settings.site) / FOLDER / file_name(run)
