"""Pictures of the pipelines: the graph of each one's last run, from the pages of the stack.

For those who change a pipeline: ``course pictures`` renews the images of the pages. It drives
a Chromium through Playwright; ``CHROMIUM`` names one that is installed, otherwise Playwright's
own is used (``playwright install chromium``).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Page, ViewportSize, sync_playwright

from course.api import Airflow
from course.config import REPOSITORY
from course.errors import CourseError
from course.state import ADMIN, State

FOLDER = REPOSITORY / "images" / "dags"
SIZE: ViewportSize = {"width": 1900, "height": 900}
MARGIN = 16
# Nothing that asks the network for updates.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


LECTURES = REPOSITORY / "images" / "lectures"
WINDOW: ViewportSize = {"width": 1300, "height": 640}
TABLES = {
    "mapped": ("model_tournament", "/dags/model_tournament/runs/{run}/tasks/compete/mapped"),
    "runs": ("ingest_flights", "/dags/ingest_flights/runs"),
    "approval": (
        "promote_model",
        "/dags/promote_model/runs/{run}/tasks/approve/required_actions",
    ),
}
"""Pages with a table that a lecture shows: the DAG that must have run, and the address."""


def take(state: State, dag_ids: list[str], folder: Path = FOLDER) -> list[Path]:
    """Picture the graph of the last finished run of each DAG; returns the files."""
    airflow = Airflow.of(state)
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with airflow_page(state, SIZE) as page:
        for dag_id in dag_ids:
            run_id = last_run(airflow, dag_id)
            page.goto(f"{state.url('airflow')}/dags/{dag_id}/runs/{run_id}")
            taken.append(_graph(page, folder / f"{dag_id}.png"))
    return taken


def take_lectures(state: State, folder: Path = LECTURES) -> list[Path]:
    """Picture what the lectures show of Airflow beside graphs; returns the files."""
    airflow, base = Airflow.of(state), state.url("airflow")
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with airflow_page(state, SIZE) as page:
        page.goto(f"{base}/assets")
        page.get_by_role("link", name="features", exact=True).click()
        taken.append(_graph(page, folder / "assets.png"))
    with airflow_page(state, WINDOW, "grid") as page:
        for name, (dag_id, address) in TABLES.items():
            page.goto(base + address.format(run=last_run(airflow, dag_id)))
            page.locator("table tbody tr").nth(1).wait_for()
            # Rows come one after the other, and the bars beside them.
            page.wait_for_timeout(2500)
            path = folder / f"{name}.png"
            page.screenshot(path=path)
            taken.append(path)
    return taken


@contextmanager
def airflow_page(state: State, size: ViewportSize, view: str = "graph") -> Iterator[Page]:
    """A page of a browser that is logged in; CourseError if there is no browser."""
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM"), args=ARGUMENTS
            )
        except Error as error:
            raise CourseError(
                f"There is no browser to take pictures with: {error.message.splitlines()[0]}",
                "playwright install chromium, or set CHROMIUM to the one that is installed",
            ) from error
        page = browser.new_page(viewport=size, device_scale_factor=1)
        # Where Airflow's pages remember whether a person prefers the graph or the grid.
        page.add_init_script(f"localStorage.setItem('default_dag_view', '\"{view}\"')")
        _log_in(page, state)
        yield page
        browser.close()


def last_run(airflow: Airflow, dag_id: str) -> str:
    """Id of the last finished run; CourseError with the command that makes one."""
    runs = [run for run in airflow.runs(dag_id) if run["end_date"]]
    if not runs:
        raise CourseError(
            f"{dag_id} has not run yet: there is nothing to picture.", f"make demo DAG={dag_id}"
        )
    return str(max(runs, key=lambda run: run["end_date"])["dag_run_id"])


def _log_in(page: Page, state: State) -> None:
    page.goto(state.url("airflow"))
    page.fill("input[name=username]", ADMIN)
    page.fill("input[name=password]", state.password.get_secret_value())
    page.click("button[type=submit]")
    page.wait_for_url("**/")


def _graph(page: Page, path: Path) -> Path:
    """The part of the page in which the graph is drawn, once it stands still."""
    nodes = page.locator(".react-flow__node")
    nodes.first.wait_for()
    # Drawn over the graph, and of no use on paper.
    page.add_style_tag(
        content=".react-flow__panel, .react-flow__background {visibility: hidden !important}"
    )
    # The graph glides into its place.
    page.wait_for_timeout(2500)
    boxes = [box for node in nodes.all() if (box := node.bounding_box())]
    left, top = (min(box[side] for box in boxes) - MARGIN for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + MARGIN
    clip: Any = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    page.screenshot(path=path, clip=clip)
    return path
