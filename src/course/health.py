"""Whether each component really works, which is more than whether its process is there."""

from datetime import UTC, datetime

import httpx

from course import kafka, postgres
from course.api import Airflow, AirflowError
from course.components import names
from course.state import State
from course.supervision import ComponentStatus, Supervisor

# Airflow's own names of its parts, by component.
REPORTED = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
EVER = datetime.min.replace(tzinfo=UTC)


class Health:
    """Looks at the components of a running stack, as often as needed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._supervisor = Supervisor(state)
        self._airflow = Airflow.of(state)
        self._http = httpx.Client(timeout=5, trust_env=False)

    def check(self, since: datetime = EVER) -> dict[str, str]:
        """For each component what is wrong with it, empty if it is healthy.

        The process must be running for the supervisor, and the component must do its work. Signs
        of life older than ``since`` do not count: those of a predecessor which was killed look
        healthy for half a minute.
        """
        supervised = {status.name: status for status in self.statuses()}
        found = {
            "postgres": "" if postgres.answers(self._state) else "does not take connections",
            "kafka": "" if kafka.answers(self._state) else "does not answer, or lacks its topics",
            "mlflow": self._page(f"{self._state.url('mlflow')}/health"),
            **self._airflow_parts(since),
            "site": self._page(self._state.url("site") + "/"),
        }
        for name, status in supervised.items():
            if not status.running:
                found[name] = f"its process is {status.state.lower()}"
        return {name: found[name] for name in names(self._state)}

    def statuses(self) -> list[ComponentStatus]:
        """What the supervisor says."""
        return self._supervisor.statuses()

    def _page(self, url: str) -> str:
        try:
            answer = self._http.get(url)
        except httpx.TransportError:
            return "does not answer"
        return "" if answer.is_success else f"answers {answer.status_code}"

    def _airflow_parts(self, since: datetime) -> dict[str, str]:
        """What the API server says of itself and of the others.

        The status code says nothing: it is 200 even with every part down.
        """
        try:
            body = self._airflow.health()
        except (httpx.TransportError, AirflowError):
            return {
                "api-server": "does not answer",
                **dict.fromkeys(REPORTED, "cannot be asked: the API server does not answer"),
            }
        database = body["metadatabase"]["status"]
        result = {"api-server": "" if database == "healthy" else f"its database is {database}"}
        for component, name in REPORTED.items():
            beat = body[name][f"latest_{name}_heartbeat"]
            if body[name]["status"] != "healthy":
                result[component] = f"is {body[name]['status'] or 'absent'}"
            elif datetime.fromisoformat(beat) < since:
                result[component] = "has not given a sign of life since it started"
            else:
                result[component] = ""
        return result
