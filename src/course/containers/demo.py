"""The demos of the laptop, on the stack in containers."""

import os
import re
from typing import Any

from pydantic import SecretStr

from course.config import Config
from course.console import console
from course.containers.settings import Settings
from course.containers.stack import airflow, check_airflow, existing, prepare_folders
from course.containers.view import show_addresses
from course.demo import check, record
from course.demo_view import View
from course.errors import CourseError
from course.recipes import RECIPES, Options
from course.session import Session
from course.state import State
from course.verdict import Page
from flightdelays.settings import Settings as MlSettings

SITE = "/opt/course/site"
"""Folder of the reports, as the containers name it."""

NOT_HERE = {"monitored_training", "train_on_gpu_pod", "distributed_training_on_pods"}
"""Demos that look at files or at a cluster of the laptop."""


COMMANDS = {
    "make doctor, which names": "make stack-logs C=dag-processor, which names",
    "make doctor": "make ps",
    "make clean": "make reset",
    "make logs": "make stack-logs",
    "make demo": "make demo-stack",
}
"""What the demos advise, and what that is called on this stack."""


def here(text: str) -> str:
    """Advice for the laptop, with the commands of this stack."""
    return re.sub(f"({'|'.join(COMMANDS)})(?![a-z-])", lambda found: COMMANDS[found[1]], text)


def state_of(settings: Settings) -> State:
    """The stack as the demos know one: addresses and the login."""
    ports = settings.ports
    return State(
        ports={
            "airflow": ports["AIRFLOW_PORT"],
            "mlflow": ports.get("MLFLOW_PORT", 0),
            "site": ports.get("SITE_PORT", 0),
        },
        kafka=f"127.0.0.1:{ports.get('KAFKA_PORT', 0)}",
        password=SecretStr(settings.values["ADMIN_PASSWORD"]),
    )


class StackSession(Session):
    """One demo on the stack: the lake is behind an address, and so are the reports."""

    def __init__(self, settings: Settings, config: Config, view: View) -> None:
        self.stack = settings
        super().__init__(config, state_of(settings), view)

    def ml_settings(self) -> MlSettings:
        """Lake, MLflow and reports by their addresses on this machine."""
        os.environ.update(lake_environment(self.stack))
        return MlSettings(
            lake="s3://lake", mlflow_tracking_uri=self.state.url("mlflow"), site_url=self.site
        )

    @property
    def site(self) -> str:
        """Address of the reports."""
        return self.state.url("site")

    def written(self, dag_id: str, run_id: str) -> str:
        """Address of the verdict of a run."""
        return self.site + super().written(dag_id, run_id).removeprefix(SITE)


def lake_environment(settings: Settings) -> dict[str, str]:
    """What a client of the lake needs in its environment on this machine."""
    return {
        "AWS_ENDPOINT_URL": settings.url("S3_PORT"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "pipelines",
        "AWS_SECRET_ACCESS_KEY": settings.values["LAKE_SECRET_KEY"],
    }


def run_demo(dag_id: str, options: Options) -> None:
    """Run the demo of one pipeline on the running stack."""
    check(dag_id, options)
    if dag_id in NOT_HERE:
        raise CourseError(f"The demo of {dag_id} is one of the laptop.", f"make demo DAG={dag_id}")
    settings = existing()
    for profile in ("events", "ml"):
        if profile not in settings.profiles:
            raise CourseError(
                f"The demos need the profile {profile}, which this stack was started without.",
                "make up PROFILES=core,events,ml",
            )
    prepare_folders(settings)
    places: dict[str, Any] = {"COURSE_HOME": settings.home}
    config = Config(**places)
    with View() as view:
        view.begin("Look at the stack")
        with airflow(settings) as api:
            check_airflow(api)
        view.end("healthy", reused=True)
        session = StackSession(settings, config, view)
        try:
            outcome = RECIPES[dag_id](session, options)
        except CourseError as error:
            raise CourseError(here(error.problem), here(error.fix)) from error
    if isinstance(outcome, Page):
        outcome = outcome.model_copy(update={"facts": [here(fact) for fact in outcome.facts]})
    outcome.show()
    show_addresses(settings, outcome.addresses)
    path = record(config, session.state, view, dag_id, outcome)
    console.print(f"\nThe result is in {path}", soft_wrap=True)
