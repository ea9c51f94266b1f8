"""Pictures of the stack in containers: what an instructor shows, from a stack that has run."""

from pathlib import Path

from playwright.sync_api import ViewportSize

from course.config import REPOSITORY
from course.containers.demo import state_of
from course.containers.settings import Settings
from course.pictures import airflow_page, last_run
from course.recipes import TRAIN

FOLDER = REPOSITORY / "images" / "stack"
WINDOW: ViewportSize = {"width": 1300, "height": 760}
SETTLE = 2500
"""Milliseconds in which a page puts everything into its place."""


def take(settings: Settings, folder: Path = FOLDER) -> list[Path]:
    """Picture the pages of Airflow and of the inbox; returns the files."""
    from course.containers.stack import airflow

    state = state_of(settings)
    run = last_run(airflow(settings), TRAIN)
    base = settings.url("AIRFLOW_PORT")
    pages = {
        "dags": f"{base}/dags",
        "run": f"{base}/dags/{TRAIN}/runs/{run}",
        "inbox": settings.url("INBOX_PORT") + "/",
    }
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with airflow_page(state, WINDOW, "grid") as page:
        for name, address in pages.items():
            page.goto(address)
            page.wait_for_timeout(SETTLE)
            taken.append(folder / f"{name}.png")
            page.screenshot(path=taken[-1])
    return taken
