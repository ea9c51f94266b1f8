"""What is wrong inside a running Airflow: the part of ``make doctor`` that asks Airflow itself.

Each check looks at what Airflow, its database or the cluster says now, so that it finds a fault
whoever made it.
"""

from collections.abc import Callable, Iterator

from course.api import Airflow
from course.config import Config
from course.diagnosis import dag_files, pods, waiting, xcoms
from course.finding import Finding
from course.health import Health
from course.stack import is_running
from course.state import State, require_state

Check = Callable[[Config, State, Airflow], Iterator[Finding]]

# What to say of a check that finds nothing.
CHECKS: dict[Check, str] = {
    dag_files.check: "no DAG file is hidden, overlooked or empty",
    waiting.check: "no run and no task waits in vain",
    xcoms.check: f"no XCom is larger than {xcoms.LARGE // 2**20} MB",
    pods.check: "no pod of a task waits in vain",
}


def diagnose(config: Config) -> Iterator[Finding]:
    """Everything that a running Airflow tells; nothing if it does not run or cannot answer."""
    if not is_running(config):
        return
    state = require_state(config)
    health = Health(state).check()
    if health["postgres"] or health["api-server"]:
        # Another check of the doctor has named the one that is down.
        return
    with Airflow.of(state) as airflow:
        for check, well in CHECKS.items():
            found = list(check(config, state, airflow))
            yield from found or [Finding(text=well)]
