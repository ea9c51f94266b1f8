"""The demos: each pipeline from its beginning to its verdict, in a real Airflow."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from course.config import Config
from course.console import console, show_addresses
from course.demo_view import View
from course.errors import CourseError
from course.files import write_atomic
from course.recipes import ANSWERS, RECIPES, Options, Outcome
from course.session import TRAIN, Session
from course.stack import start
from course.state import State
from flightdelays.settings import MODELS


class Record(BaseModel):
    """Content of ``demo.json``: what ran, how long it took, and what came of it."""

    dag: str
    steps: list[dict[str, Any]]
    verdict: dict[str, Any]
    addresses: dict[str, str]


def run_demo(config: Config, dag_id: str, options: Options) -> None:
    """Run the demo of one pipeline and leave the stack up."""
    check(dag_id, options)
    with View() as view:
        view.begin("Start the stack")
        state, fresh = start(config, view.detail)
        view.end("healthy" if fresh else "was running already", reused=not fresh)
        outcome = RECIPES[dag_id](Session(config, state, view), options)
    outcome.show()
    show_addresses(state, outcome.addresses)
    path = record(config, state, view, dag_id, outcome)
    console.print(
        f"\nThe stack stays up; make stop ends it. The result is in {path}", soft_wrap=True
    )


def record(config: Config, state: State, view: View, dag_id: str, outcome: Outcome) -> Path:
    """Write what ran and what came of it to ``demo.json``; returns its path."""
    content = Record(
        dag=dag_id,
        steps=[step.model_dump(exclude={"started"}) for step in view.steps],
        verdict=outcome.model_dump(),
        addresses={
            **{service: state.url(service) for service in ("airflow", "mlflow", "site")},
            **{name.lower().replace(" ", "_"): url for name, url in outcome.addresses.items()},
        },
    )
    path = config.root / "demo.json"
    write_atomic(path, json.dumps(content.model_dump(), indent=2) + "\n")
    return path


def check(dag_id: str, options: Options) -> None:
    """Refuse what does not exist before anything is started."""
    if dag_id not in RECIPES:
        raise CourseError(
            f"There is no demo of {dag_id!r}; there are {', '.join(RECIPES)}.",
            f"make demo DAG={TRAIN}",
        )
    if options.answer and options.answer not in ANSWERS:
        raise CourseError(
            f"{options.answer!r} is no answer; there are {' and '.join(ANSWERS)}.",
            f"make demo DAG={dag_id} ANSWER=yes",
        )
    if options.model and options.model not in MODELS:
        raise CourseError(
            f"There is no model {options.model!r}; there are {', '.join(MODELS)}.",
            "make demo MODEL=hist_gradient",
        )
