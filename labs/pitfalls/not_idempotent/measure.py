"""The rows that each DAG leaves: after one run, after two, after a try that broke off."""

from laboratory import Figures, Laboratory

from flightdelays.lake import open_lake


def measure(lab: Laboratory, variant: str) -> Figures:
    """Rows in the table after each run of January."""
    dag_id = f"pitfall_not_idempotent_{variant}"
    figures: Figures = {}
    for label in ("rows after one run", "rows after two runs of the month"):
        lab.succeed(dag_id, month="2013-01", interrupted=False)
        figures[label] = _rows(variant)
    open_lake().remove_folder("labs", "not_idempotent", variant)
    lab.succeed(dag_id, month="2013-01", interrupted=True)
    figures["rows after one run whose first try broke off"] = _rows(variant)
    return figures


def _rows(variant: str) -> int:
    lake = open_lake()
    found = lake.files(lake.path("labs", "not_idempotent", variant, "**", "*.parquet"))
    return sum(lake.read_table(path).num_rows for path in found)
