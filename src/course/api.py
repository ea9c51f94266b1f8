"""A small client of Airflow's REST API, version 2."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from course.errors import CourseError
from course.state import ADMIN, State

Json = dict[str, Any]

FINISHED = ("success", "failed")
"""States in which a dag run stays."""


def _path(*parts: str) -> str:
    return "/api/v2/" + "/".join(quote(part, safe="") for part in parts)


def _reason(response: httpx.Response) -> str:
    """What an error answer says, without the schema that Airflow quotes after it."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        # Not from the API itself: a page of a proxy, or of a server that is starting.
        detail = response.text
    return str(detail).partition("\n")[0][:500]


class AirflowError(CourseError):
    """Airflow refused a request; the text says which and why."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        request = response.request
        super().__init__(
            f"Airflow answered {self.status} to {request.method} {request.url.path}: "
            f"{_reason(response)}"
        )


class Airflow:
    """A session with one Airflow; it logs in when needed and survives a restart of the server."""

    def __init__(self, url: str, user: str, password: str, timeout: float = 30) -> None:
        self._user, self._password = user, password
        # trust_env=False: a proxy set for the internet must not get requests to this machine.
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    @classmethod
    def of(cls, state: State) -> "Airflow":
        """The client for a laptop stack."""
        return cls(state.url("airflow"), ADMIN, state.password.get_secret_value())

    def __enter__(self) -> "Airflow":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @retry(
        retry=retry_if_exception_type(httpx.TransportError),
        stop=stop_after_attempt(6),
        wait=wait_exponential(multiplier=0.3, max=5),
        reraise=True,
    )
    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, path, **options)

    def _log_in(self) -> None:
        answer = self._send(
            "POST", "/auth/token", json={"username": self._user, "password": self._password}
        )
        if answer.is_error:
            raise AirflowError(answer)
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request under ``/api/v2`` and return the decoded answer, None if it is empty.

        Raises AirflowError for an answer of 400 or more.
        """
        if "Authorization" not in self._http.headers:
            self._log_in()
        answer = self._send(method, path, **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            answer = self._send(method, path, **options)
        if answer.is_error:
            raise AirflowError(answer)
        return answer.json() if answer.content else None

    def health(self) -> Json:
        """State of the scheduler, triggerer, DAG processor and database. Needs no login."""
        answer = self._http.get("/api/v2/monitor/health", timeout=5)
        if answer.is_error:
            raise AirflowError(answer)
        content: Json = answer.json()
        return content

    def _pages(self, path: str, key: str, **query: Any) -> Iterator[Json]:
        offset = 0
        while True:
            page = self.request("GET", path, params={**query, "limit": 100, "offset": offset})
            yield from page[key]
            offset += len(page[key])
            if not page[key] or offset >= page["total_entries"]:
                return

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Create the pool, or give an existing one these values."""
        body = {"slots": slots, "description": description, "include_deferred": False}
        present = {pool["name"]: pool for pool in self._pages("/api/v2/pools", "pools")}
        if name not in present:
            self.request("POST", "/api/v2/pools", json={"name": name, **body})
        elif any(present[name][key] != value for key, value in body.items()):
            self.request("PATCH", _path("pools", name), json={"pool": name, **body})

    def ensure_connection(self, name: str, kind: str, extra: Json) -> None:
        """Create the connection, or give an existing one these values."""
        body = {"connection_id": name, "conn_type": kind, "extra": json.dumps(extra)}
        present = self._pages("/api/v2/connections", "connections")
        known = {found["connection_id"] for found in present}
        if name in known:
            self.request("PATCH", _path("connections", name), json=body)
        else:
            self.request("POST", "/api/v2/connections", json=body)

    def dag(self, dag_id: str) -> Json | None:
        """A DAG that Airflow has parsed, or None."""
        try:
            found: Json = self.request("GET", _path("dags", dag_id))
        except AirflowError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return found

    def import_errors(self) -> list[Json]:
        """DAG files that Airflow could not import."""
        return list(self._pages("/api/v2/importErrors", "import_errors"))

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause or unpause a DAG."""
        self.request("PATCH", _path("dags", dag_id), json={"is_paused": paused})

    def parse(self, dag_id: str) -> None:
        """Have the file of a DAG read at once instead of when its time comes.

        The watchers of a DAG that was unpaused do not listen before that.
        """
        details: Json = self.request("GET", _path("dags", dag_id, "details"))
        try:
            self.request("PUT", _path("parseDagFile", details["file_token"]))
        except AirflowError as error:
            if error.status != httpx.codes.CONFLICT:  # somebody has asked already
                raise

    def trigger(self, dag_id: str, conf: Json | None = None) -> str:
        """Start a run and return its id."""
        run: Json = self.request(
            # Airflow wants the logical date named even where there is none.
            "POST",
            _path("dags", dag_id, "dagRuns"),
            json={"logical_date": None, "conf": conf or {}},
        )
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Json:
        """One dag run."""
        found: Json = self.request("GET", _path("dags", dag_id, "dagRuns", run_id))
        return found

    def runs(self, dag_id: str, **query: Any) -> list[Json]:
        """Dag runs of a DAG; the query parameters are those of the API (``run_type``, …)."""
        return list(self._pages(_path("dags", dag_id, "dagRuns"), "dag_runs", **query))

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """Task instances of a run, mapped ones expanded."""
        path = _path("dags", dag_id, "dagRuns", run_id, "taskInstances")
        return list(self._pages(path, "task_instances"))

    def backfill(self, dag_id: str, from_date: str, to_date: str, **options: Any) -> Json:
        """Create a backfill; dates in ISO form, both ends included."""
        body = {"dag_id": dag_id, "from_date": from_date, "to_date": to_date, **options}
        created: Json = self.request("POST", "/api/v2/backfills", json=body)
        return created

    def cancel_backfill(self, backfill_id: int) -> None:
        """Stop a backfill; its runs that have not started are marked failed."""
        self.request("PUT", _path("backfills", str(backfill_id), "cancel"))

    def backfills(self, dag_id: str) -> list[Json]:
        """Backfills of a DAG."""
        return list(self._pages("/api/v2/backfills", "backfills", dag_id=dag_id))

    def started_by(self, dag_id: str, run_id: str) -> list[Json]:
        """Dag runs that were started by the asset events of a run."""
        events = self._pages(
            "/api/v2/assets/events", "asset_events", source_dag_id=dag_id, source_run_id=run_id
        )
        return [run for event in events for run in event["created_dagruns"]]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """A value that a task pushed."""
        path = _path(
            *("dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "xcomEntries", key)
        )
        return self.request("GET", path, params={"deserialize": True})["value"]

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that asks a person."""
        path = _path(
            "dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "-1", "hitlDetails"
        )
        self.request("PATCH", path, json={"chosen_options": [option], "params_input": {}})

    def log(self, task: Json) -> list[str]:
        """Lines of the last try of a task instance, as returned by ``task_instances``."""
        path = _path(
            *("dags", task["dag_id"], "dagRuns", task["dag_run_id"]),
            *("taskInstances", task["task_id"], "logs", str(max(1, task["try_number"]))),
        )
        query = {"map_index": task["map_index"], "full_content": True}
        content = self.request("GET", path, params=query, headers={"Accept": "application/json"})[
            "content"
        ]
        return [_log_line(entry) for entry in content]


def _log_line(entry: Json | str) -> str:
    if isinstance(entry, str):
        return entry
    lines = [str(entry.get("event", ""))]
    for failure in entry.get("error_detail") or []:
        lines.append(f"{failure['exc_type']}: {failure['exc_value']}")
    return "\n".join(lines)
