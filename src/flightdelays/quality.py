"""The quality gate: what must hold of a training set before a model may learn from it.

Great Expectations checks it and writes Data Docs, pages on which a person reads what was
expected and what was found.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pandas as pd

# Read at import; without it every run reports to the maker's analytics.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.checkpoint.actions import ValidationAction
from great_expectations.core import ExpectationSuite
from great_expectations.data_context import AbstractDataContext
from great_expectations.data_context.types.base import ProgressBarsConfig

from flightdelays.dataset import LABEL
from flightdelays.errors import QualityError
from flightdelays.settings import DATA_DOCS, Settings, address, get_settings

NAME = "training_set"


@dataclass(frozen=True)
class Report:
    """Outcome of the gate: how many expectations held, and a sentence for each that did not.

    ``page`` is the result in Data Docs, as a path below the site folder; empty without docs.
    """

    passed: int
    failures: list[str]
    page: str


def expectations() -> list[Any]:
    """The suite. Each one stands for a fault that would spoil a model without an error."""
    return [
        # The training set of one month has about 27,000 rows; far fewer means a lost file.
        gxe.ExpectTableRowCountToBeBetween(min_value=10_000),
        # A flight counted twice weighs twice.
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["scheduled_departure", "carrier", "flight", "origin"]
        ),
        gxe.ExpectColumnValuesToBeInSet(column=LABEL, value_set=[0, 1]),
        gxe.ExpectColumnValuesToNotBeNull(column=LABEL),
        # Between 13 % (September) and 33 % (December) of a month's flights are late.
        gxe.ExpectColumnMeanToBeBetween(column=LABEL, min_value=0.08, max_value=0.45),
        gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"]),
        gxe.ExpectColumnValueLengthsToEqual(column="dest", value=3),
        # [START expectations]
        # Shortest scheduled route from New York is Philadelphia (80 miles), longest Honolulu.
        gxe.ExpectColumnValuesToBeBetween(column="distance", min_value=80, max_value=5_000),
        # Weather and delay histories join for nearly every flight; a hole means a lost month.
        gxe.ExpectColumnValuesToNotBeNull(column="temp", mostly=0.97),
        gxe.ExpectColumnValuesToNotBeNull(column="origin_late_rate_24h", mostly=0.97),
        gxe.ExpectColumnValuesToBeBetween(column="carrier_late_rate_24h", min_value=0, max_value=1),
        # A negative idle time would be a fact from after the prediction: leakage.
        gxe.ExpectColumnValuesToBeBetween(column="tailnum_idle_minutes", min_value=0),
        # [END expectations]
    ]


def check(rows: pd.DataFrame, docs: bool = True, settings: Settings | None = None) -> Report:
    """Validate a training set; with ``docs`` also write Data Docs under the site folder."""
    settings = settings or get_settings()
    _quieten()
    context = _context(settings) if docs else gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = context.suites.add_or_update(ExpectationSuite(name=NAME, expectations=expectations()))
    source = context.data_sources.add_or_update_pandas(name="lake")
    batch = source.add_dataframe_asset(name=NAME).add_batch_definition_whole_dataframe("all")
    validation = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=NAME, data=batch, suite=suite)
    )
    actions: list[ValidationAction] = (
        [gx.checkpoint.UpdateDataDocsAction(name="docs")] if docs else []
    )
    checkpoint = context.checkpoints.add_or_update(
        gx.Checkpoint(
            name=NAME,
            validation_definitions=[validation],
            actions=actions,
            result_format={"result_format": "BASIC"},
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": rows})
    ((identifier, result),) = outcome.run_results.items()
    failures = [_explain(item) for item in result.results if not item.success]
    page = _page(context, identifier, settings) if docs else ""
    return Report(passed=len(result.results) - len(failures), failures=failures, page=page)


def _page(context: AbstractDataContext, identifier: Any, settings: Settings) -> str:
    """Path below the site folder of a result's own page.

    That page is whole in itself; the index of Data Docs is drawn by scripts from the internet.
    """
    (site,) = context.get_docs_sites_urls(resource_identifier=identifier)
    path = Path(unquote(urlparse(site["site_url"]).path))
    return str(path.relative_to(Path(settings.site).resolve()))


def require(rows: pd.DataFrame, docs: bool = True, settings: Settings | None = None) -> Report:
    """``check``, but QualityError with every failed expectation unless all hold."""
    report = check(rows, docs, settings)
    if report.failures:
        where = f". Data Docs: {address(settings, report.page)}" if report.page else ""
        raise QualityError(
            f"{len(report.failures)} expectation(s) on the training set failed: "
            + "; ".join(report.failures)
            + where
        )
    return report


def _context(settings: Settings) -> AbstractDataContext:
    site = Path(settings.site)
    root = site.parent / "quality"
    root.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", project_root_dir=root)
    wanted: Any = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(site.resolve() / DATA_DOCS),
        },
    }
    if "local_site" in context.get_site_names():
        context.update_data_docs_site(site_name="local_site", site_config=wanted)
    else:
        context.add_data_docs_site(site_name="local_site", site_config=wanted)
    return context


def _explain(item: Any) -> str:
    """One failed expectation in words: which, on what column, what was found."""
    config, result = item.expectation_config, item.result
    expected = {
        key: value
        for key, value in config.kwargs.items()
        if key not in ("batch_id", "column", "column_list") and value is not None
    }
    column = config.kwargs.get("column") or ", ".join(config.kwargs.get("column_list", []))
    text = config.type.removeprefix("expect_").replace("_", " ")
    if column:
        text = f"column '{column}': {text}"
    text += f" {expected}" if expected else ""
    if result.get("unexpected_count") is not None:
        examples = result.get("partial_unexpected_list") or []
        found = f"{result['unexpected_count']} of {result['element_count']} rows do not"
        found += f", for example {examples[0]}" if examples else ""
    else:
        found = f"found {result.get('observed_value')}"
    if message := _exception(item.exception_info or {}):
        found = message
    return f"{text}: {found}"


def _exception(info: dict[str, Any]) -> str | None:
    """Why an expectation could not be computed; Great Expectations keeps it by metric."""
    for entry in (info, *(value for value in info.values() if isinstance(value, dict))):
        if message := entry.get("exception_message"):
            return " ".join(str(message).split())
    return None


def _quieten() -> None:
    for name in ("great_expectations", "great_expectations.core"):
        logging.getLogger(name).setLevel(logging.WARNING)
