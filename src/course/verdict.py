"""What a pipeline found: the verdict on a model, or the page that any other pipeline writes."""

from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from course.console import console
from course.errors import CourseError
from flightdelays.pages import show as cell

METRICS = {"auc": "AUC", "pr_auc": "PR-AUC", "log_loss": "log loss"}


Written = TypeVar("Written", bound=BaseModel)


def _read(kind: type[Written], place: str) -> Written:
    try:
        if place.startswith("http://"):
            answer = httpx.get(place, timeout=10, trust_env=False).raise_for_status()
            return kind.model_validate_json(answer.text)
        return kind.model_validate_json(Path(place).read_text())
    except (OSError, httpx.HTTPError, ValidationError) as error:
        raise CourseError(
            f"The verdict {place} cannot be read: {error}", "make doctor, then: make demo"
        ) from error


class Champion(BaseModel):
    """The model in production, judged on the same rows."""

    version: int | str
    auc: float
    pr_auc: float
    log_loss: float


class Verdict(BaseModel):
    """What the report task of ``train_delay_model`` writes."""

    run_id: str
    model: str
    train_from: str
    train_to: str
    validation_month: str
    train_rows: int
    validation_rows: int
    metrics: dict[str, float]
    gate: dict[str, float]
    champion: Champion | None
    deployed: bool
    aliases: list[str]
    version: int | str | None
    reasons: list[str]
    report_url: str
    data_docs_url: str

    @classmethod
    def read(cls, place: str) -> "Verdict":
        """Read what the report task wrote: a file, or the address of one."""
        return _read(cls, place)

    @property
    def addresses(self) -> dict[str, str]:
        """Pages about it."""
        return {"Data Docs": self.data_docs_url, "Report": self.report_url}

    def show(self) -> None:
        """Print it as a table."""
        show(self)

    @property
    def headline(self) -> str:
        """One line: deployed or not."""
        if self.deployed:
            aliases = " and ".join(self.aliases)
            return f"{self.model} deployed as version {self.version}, alias {aliases}"
        return f"{self.model} not deployed"

    @property
    def because(self) -> list[str]:
        """Why: what the gate objected to, or what it was content with."""
        if self.reasons or not self.deployed:
            return self.reasons
        passed = [
            f"{METRICS.get(key, key)} {self.metrics[key]:.3f} is at least {least:.3f}"
            for key, least in self.gate.items()
        ]
        rival = "it is better than the champion" if self.champion else "there is no champion yet"
        return [*passed, rival]


def show(verdict: Verdict) -> None:
    """Print the verdict as a table."""
    console.print(
        f"\nVerdict on {verdict.model}: trained on {verdict.train_from} to {verdict.train_to} "
        f"({verdict.train_rows:,} flights), judged on {verdict.validation_month} "
        f"({verdict.validation_rows:,} flights)",
        markup=False,
        soft_wrap=True,
    )
    table = Table()
    table.add_column("")
    for title in ("candidate", "gate", "champion"):
        table.add_column(title, justify="right")
    for key, title in METRICS.items():
        # Log loss has no gate, and is the only one where less is better.
        gate = f"≥ {verdict.gate[key]:.3f}" if key in verdict.gate else "-"
        champion = f"{getattr(verdict.champion, key):.3f}" if verdict.champion else "none yet"
        table.add_row(title, f"{verdict.metrics[key]:.3f}", gate, champion)
    console.print(table)
    colour = "green" if verdict.deployed else "yellow"
    console.print(f"[bold {colour}]{verdict.headline}[/]")
    for reason in verdict.because:
        console.print(f"  because {reason}", markup=False, soft_wrap=True)
    console.print()


class PageTable(BaseModel):
    """A table of a page."""

    columns: list[str]
    rows: list[list[str | int | float | None]]


class Page(BaseModel):
    """What ``flightdelays.pages.write`` leaves: the verdict of every pipeline but the training."""

    dag_id: str
    run_id: str
    headline: str
    facts: list[str]
    tables: dict[str, PageTable] = {}
    data: dict[str, Any] = {}
    report_url: str = ""

    @classmethod
    def read(cls, place: str) -> "Page":
        """Read what the report task wrote: a file, or the address of one."""
        return _read(cls, place)

    @property
    def addresses(self) -> dict[str, str]:
        """Pages about it."""
        return {"Report": self.report_url} if self.report_url else {}

    def show(self) -> None:
        """Print headline, tables and facts."""
        console.print()
        for title, content in self.tables.items():
            table = Table(title=title, title_justify="left")
            for number, column in enumerate(content.columns):
                side: Any = "right" if number else "left"
                # Nothing is cut where the screen is narrow.
                table.add_column(Text(column), justify=side, overflow="fold")
            for row in content.rows:
                table.add_row(*(Text(cell(value)) for value in row))
            console.print(table)
        console.print(f"[bold]{escape(self.headline)}[/]", soft_wrap=True)
        for fact in self.facts:
            console.print(f"  {fact}", markup=False, soft_wrap=True)
        console.print()
