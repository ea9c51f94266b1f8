"""What is left of a run whose service fails once, and of one whose service is down."""

from laboratory import Figures, Laboratory

from flightdelays.lake import open_lake


def measure(lab: Laboratory, variant: str) -> Figures:
    """A run with a service that fails once, then one with a service that always does."""
    dag_id = f"pitfall_no_failure_handling_{variant}"
    flaky = lab.run(dag_id, plant="flaky")
    open_lake().remove_folder("labs", "no_failure_handling")
    failed = lab.run(dag_id, plant="failure")
    lake = open_lake()
    left = lake.files(lake.path("labs", "no_failure_handling", "**", "*.parquet"))
    return {
        "run with a service that fails once": flaky.state,
        "run with a service that is down": failed.state,
        "tries": lab.tries(failed, "ask_service"),
        "alerts": sum(alert["title"].startswith(f"Failed: {dag_id}") for alert in lab.alerts()),
        "working files left behind": len(left),
    }
