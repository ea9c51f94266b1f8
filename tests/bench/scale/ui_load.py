"""For Locust: somebody with Airflow's pages open, which ask again by themselves."""

import os

import httpx
from locust import HttpUser, constant_pacing, task


class Person(HttpUser):
    """One request a second, of those that the pages make in a browser."""

    wait_time = constant_pacing(1)

    def on_start(self) -> None:
        """Log in, which is no page and so not counted. Loopback is not for a proxy."""
        self.client.trust_env = False
        who = {"username": os.environ["BENCH_UI_USER"], "password": os.environ["BENCH_UI_PASSWORD"]}
        answer = httpx.post(f"{self.host}/auth/token", json=who, timeout=30, trust_env=False)
        token = answer.raise_for_status().json()["access_token"]
        self.client.headers["Authorization"] = f"Bearer {token}"

    @task
    def dags(self) -> None:
        """The list of DAGs with the last runs of each."""
        self.client.get("/ui/dags?limit=50&dag_runs_limit=14", name="dags")

    @task
    def grid(self) -> None:
        """The last runs of one DAG."""
        dag_id = os.environ["BENCH_UI_DAG"]
        self.client.get(f"/ui/grid/runs/{dag_id}?limit=10&order_by=-run_after", name="grid")

    @task
    def dashboard(self) -> None:
        """The counts on the home page."""
        self.client.get("/ui/dashboard/dag_stats", name="dashboard")
