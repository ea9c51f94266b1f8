"""What a pipeline found, where people (a page) and programs (a JSON file) look for it.

Every pipeline but the training one, which has a page of its own, ends with ``write``: a
headline, the facts behind it, tables and plots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from flightdelays.lake import Lake, file_name
from flightdelays.settings import Settings, address, get_settings

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under columns; floats are shown with four digits, None as a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def folder(dag_id: str, run: str, settings: Settings | None = None) -> Path:
    """Where a run's page and plots are kept; made if it is absent."""
    path = Path((settings or get_settings()).site) / dag_id / file_name(run)
    path.mkdir(parents=True, exist_ok=True)
    return path


def write(
    dag_id: str,
    run: str,
    *,
    headline: str,
    facts: Sequence[str] = (),
    tables: Mapping[str, Table] | None = None,
    plots: Mapping[str, Path] | None = None,
    data: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> str:
    """Write ``verdict.json`` and the page of a run; returns the JSON file's path.

    ``headline`` is one sentence, ``facts`` are the sentences behind it. ``tables`` and
    ``plots`` (SVG files) are shown by title; ``data`` holds values for programs and is not
    shown.
    """
    settings = settings or get_settings()
    place = folder(dag_id, run, settings)
    verdict = {
        "dag_id": dag_id,
        "run_id": run,
        "headline": headline,
        "facts": list(facts),
        "tables": {title: asdict(table) for title, table in (tables or {}).items()},
        "data": dict(data or {}),
        "report_url": address(settings, f"{dag_id}/{file_name(run)}/index.html"),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    template = resources.files("flightdelays").joinpath("templates", "page.html.j2")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["cell"] = show
    # The plots are drawings of numbers by matplotlib; names from outside are only in `verdict`.
    drawn = [
        (title, Markup(only_svg(path.read_text("utf-8"))))  # noqa: S704
        for title, path in (plots or {}).items()
    ]
    page = environment.from_string(template.read_text("utf-8")).render(verdict=verdict, plots=drawn)
    site = Lake(str(place))
    site.write_text(site.path("index.html"), page)
    site.write_json(site.path("verdict.json"), verdict)
    return str(place / "verdict.json")


def show(value: Cell) -> str:
    """A value as a reader sees it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else value


def only_svg(text: str) -> str:
    """The ``<svg>`` element of a file, without the XML declaration that HTML does not know."""
    return text[text.index("<svg") :]
