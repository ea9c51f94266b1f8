"""Pictures of the pipelines: the graph of each one's last run, from the pages of the stack.

For those who change a pipeline: ``course pictures`` renews the images of the README. It drives
a Chromium through Playwright; ``CHROMIUM`` names one that is installed, otherwise Playwright's
own is used (``playwright install chromium``).
"""

import os
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


def take(state: State, dag_ids: list[str], folder: Path = FOLDER) -> list[Path]:
    """Picture the graph of the last finished run of each DAG; returns the files."""
    airflow = Airflow.of(state)
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
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
        page = browser.new_page(viewport=SIZE, device_scale_factor=1)
        # Where Airflow's pages remember that a person prefers the graph to the grid.
        page.add_init_script("localStorage.setItem('default_dag_view', '\"graph\"')")
        _log_in(page, state)
        for dag_id in dag_ids:
            runs = [run for run in airflow.runs(dag_id) if run["end_date"]]
            if not runs:
                raise CourseError(
                    f"{dag_id} has not run yet: there is nothing to picture.",
                    f"make demo DAG={dag_id}",
                )
            run_id = max(runs, key=lambda run: run["end_date"])["dag_run_id"]
            page.goto(f"{state.url('airflow')}/dags/{dag_id}/runs/{run_id}")
            taken.append(_graph(page, folder / f"{dag_id}.png"))
        browser.close()
    return taken


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
