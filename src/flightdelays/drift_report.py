"""What monitoring found, for people and for programs: verdict, table, plots."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from flightdelays import pages
from flightdelays.drift import Month, judge, mean_psi, moved_most
from flightdelays.pages import Table
from flightdelays.registry import Trained
from flightdelays.settings import Settings, get_settings

FOLDER = "monitor_drift"


def write(
    months: Mapping[str, Month],
    month: str,
    reigning: Trained,
    run: str,
    settings: Settings | None = None,
) -> str:
    """Write verdict and page of a monitored month; returns the JSON file's path."""
    settings = settings or get_settings()
    window = reigning.window
    reason = judge(months, month, reigning, settings)
    index = months[month]["psi"]
    moved = [feature for feature, value in index.items() if value > settings.drift_psi]
    return pages.write(
        FOLDER,
        run,
        headline=_headline(months[month], month, reigning, settings, reason is not None),
        facts=[
            f"The champion is a {reigning.model} trained on {window.train_from} to "
            f"{window.train_to}; it was deployed by what it did in {window.validation}.",
            f"A fall of AUC by more than {settings.drift_auc_fall:g} asks for a retraining, and so "
            f"does a mean PSI of the delay features above {settings.drift_psi:g}.",
            f"In {month} the mean is {mean_psi(months[month]):.2f}; the PSI of {len(moved)} of "
            f"{len(index)} features is above {settings.drift_psi:g}.",
        ],
        tables={
            "Months after the training": Table(
                ("month", "rows", "late", "AUC", "mean PSI", "largest PSI", "of feature"),
                [
                    (name, m["rows"], m["late_rate"], m["auc"], mean_psi(m), value, feature)
                    for name, m in months.items()
                    for feature, value in [moved_most(m)]
                ],
            )
        },
        plots=plot(months, reigning, settings, pages.folder(FOLDER, run, settings)),
        data={
            "champion": asdict(reigning),
            "month": month,
            "drifted": reason is not None,
            "reason": reason,
            "months": dict(months),
        },
        settings=settings,
    )


def _headline(
    found: Month, month: str, reigning: Trained, settings: Settings, drifted: bool
) -> str:
    name, auc, before = f"champion v{reigning.version}", found["auc"], reigning.metrics["auc"]
    if drifted and before - auc > settings.drift_auc_fall:
        return (
            f"{name} has fallen to AUC {auc:.3f} in {month} ({before:.3f} when it was deployed): "
            "retraining requested"
        )
    if drifted:
        return (
            f"{name} met other flights in {month} than in its training (mean PSI "
            f"{mean_psi(found):.2f}, AUC {auc:.3f}): retraining requested"
        )
    if month <= reigning.window.validation:
        return (
            f"{name} was deployed by what it did in {month} (AUC {auc:.3f}): drift can be judged "
            "when a later month has landed"
        )
    return (
        f"{name} still does its work: AUC {auc:.3f} in {month}, {before:.3f} when it was deployed"
    )


def plot(
    months: Mapping[str, Month], reigning: Trained, settings: Settings, folder: Path
) -> dict[str, Path]:
    """Draw AUC by month and PSI by feature and month as SVG files; their paths by title."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # Without a salt and a date two drawings of the same data differ.
    mpl.rcParams.update({"svg.hashsalt": "flightdelays", "font.size": 11})
    drawn = {}
    for title, name, draw, size in (
        ("AUC by month", "auc", _draw_auc, (6, 4)),
        ("PSI by feature and month", "psi", _draw_psi, (8, 6)),
    ):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes, months, reigning, settings)
        drawn[title] = folder / f"{name}.svg"
        figure.savefig(drawn[title], format="svg", metadata={"Date": None})
        plt.close(figure)
    return drawn


def _draw_auc(
    axes: Any, months: Mapping[str, Month], reigning: Trained, settings: Settings
) -> None:
    before = reigning.metrics["auc"]
    values = [month["auc"] for month in months.values()]
    least = before - settings.drift_auc_fall
    axes.plot(values, marker="o", color="#1f77b4")
    for place in enumerate(values):
        axes.annotate(f"{place[1]:.3f}", place, (0, 6), textcoords="offset points", ha="center")
    for level, colour, text in (
        (before, "grey", f"when deployed: {before:.3f}"),
        (least, "#d62728", f"asks for retraining: {least:.3f}"),
    ):
        axes.axhline(level, color=colour, linestyle="--", linewidth=1, label=text)
    axes.margins(x=0.1, y=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(range(len(months)), list(months), rotation=45)
    axes.legend(frameon=False, fontsize=9)
    axes.set(title=f"AUC of champion v{reigning.version}", ylabel="AUC")


def _draw_psi(
    axes: Any, months: Mapping[str, Month], reigning: Trained, settings: Settings
) -> None:
    table = pd.DataFrame({name: month["psi"] for name, month in months.items()})
    # The colours end at twice the threshold: one extreme value must not pale all others.
    image = axes.imshow(table, cmap="Oranges", vmin=0, vmax=2 * settings.drift_psi, aspect="auto")
    for row, values in enumerate(table.to_numpy()):
        for column, value in enumerate(values):
            strong = value > settings.drift_psi
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                fontweight="bold" if strong else "normal",
                color="white" if value > 1.5 * settings.drift_psi else "black",
            )
    axes.set_xticks(range(len(table.columns)), table.columns, rotation=45)
    axes.set_yticks(range(len(table)), table.index)
    axes.set_title(f"PSI against the training rows (bold: above {settings.drift_psi:g})")
    axes.figure.colorbar(image, ax=axes, extend="max", shrink=0.6)
