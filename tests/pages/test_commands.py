"""Every shell command on every page exists, with the options and the DAG ids that it names."""

import contextlib
import io
import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from course.config import REPOSITORY
from course.fences import commands, fences
from course.pages import pages

PAGES = pages()
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)
MAKEFILE = (REPOSITORY / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):.*##", MAKEFILE, re.M))
VARIABLES = set(re.findall(r"\b([A-Z_]+)\b", MAKEFILE))
# Programs that are not the course's: that they are named is all that is checked.
OTHERS = {
    "cd",
    "cp",
    "curl",
    "docker",
    "echo",
    "export",
    "git",
    "grep",
    "helm",
    "kubectl",
    "mv",
    "source",
}
DAG_FOLDERS = ("dags", "exercises", "labs", "lecture-notes/snippets")


@cache
def dag_ids() -> set[str]:
    """The names of all files and functions that define a DAG, and what a factory makes of them."""
    found = set()
    for folder in DAG_FOLDERS:
        for path in (REPOSITORY / folder).rglob("*.py"):
            text = path.read_text("utf-8")
            if re.search(r"^@dag\b|\bDAG\(", text, re.M):
                found |= {path.stem, *re.findall(r"^@dag.*?^def (\w+)", text, re.M | re.S)}
                found |= set(re.findall(r"dag_id=\"(\w+)\"", text))
    markets = (REPOSITORY / "dags/market_models.yaml").read_text("utf-8")
    return found | {f"market_{name}" for name in re.findall(r"\b([A-Z]{3})\b", markets)}


@cache
def airflow_parser() -> Any:
    from airflow.cli.cli_parser import get_parser

    return get_parser()


def check(line: str) -> None:
    """AssertionError if the command cannot be run as it stands."""
    for part in re.split(r"\s(?:&&|\|\||;|\|)\s", re.sub(r"\s#\s.*$", "", line)):
        words = shlex.split(re.sub(r"\s[<>]+\s?\S+$|\s&$", "", part))
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            program, *arguments = words
            check_program(program, arguments)


def check_program(program: str, arguments: list[str]) -> None:
    if program == "make":
        check_make(arguments)
    elif program in {"course", ".venv/bin/course"}:
        check_course(arguments)
    elif program in {"airflow", ".venv/bin/airflow"}:
        check_airflow(arguments)
    elif program in {"python", "python3", ".venv/bin/python"}:
        check_python(arguments)
    elif program.startswith(".venv/bin/"):
        assert (REPOSITORY / program).exists(), f"there is no {program}"
    else:
        assert program in OTHERS, f"unknown program {program}"


def check_make(arguments: list[str]) -> None:
    values = dict(word.split("=", 1) for word in arguments if "=" in word)
    targets = [word for word in arguments if "=" not in word and not word.startswith("-")]
    assert set(targets) <= TARGETS, f"no target {set(targets) - TARGETS}"
    assert set(values) <= VARIABLES, f"no variable {set(values) - VARIABLES}"
    if targets == ["airflow"]:
        check_airflow(shlex.split(values["ARGS"]))
    if targets == ["demo"] and "DAG" in values:
        assert (REPOSITORY / "dags" / f"{values['DAG']}.py").exists(), values["DAG"]
    if targets == ["lab"] and "NAME" in values:
        labs = {path.name for path in (REPOSITORY / "labs").glob("*/*") if path.is_dir()}
        assert values["NAME"] in labs, f"no lab {values['NAME']}"
    if targets == ["quiz"] and "TOPIC" in values:
        check_course(["quiz", values["TOPIC"]])
    if set(targets) & {"check", "watch", "hint", "solution", "reset"}:
        assert values.get("EX", "1") in {*"123456", "capstone"}, values["EX"]


def check_course(arguments: list[str]) -> None:
    from course.cli import app

    command = typer.main.get_command(app)
    name, *rest = arguments
    if name == "airflow":
        check_airflow(rest)
        return
    with command.make_context("course", [name], resilient_parsing=True) as context:
        found = command.get_command(context, name)  # type: ignore[attr-defined]
        assert found is not None, f"course has no command {name}"
        found.make_context(name, rest)


def check_airflow(arguments: list[str]) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parsed = airflow_parser().parse_args(arguments)
    except SystemExit as ended:
        if ended.code:
            pytest.fail(f"airflow {' '.join(arguments)}: {said.getvalue()[-300:]}")
        return
    dag_id = getattr(parsed, "dag_id", None)
    if isinstance(dag_id, str) and not re.fullmatch(r"[A-Z_]+|<.*>", dag_id):
        assert dag_id in dag_ids(), f"there is no DAG {dag_id}"
    if getattr(parsed, "dag_run_conf", None):
        json.loads(parsed.dag_run_conf)


def check_python(arguments: list[str]) -> None:
    if arguments[:1] == ["-m"]:
        import importlib.util

        assert importlib.util.find_spec(arguments[1]), f"no module {arguments[1]}"
    elif arguments and arguments[0].endswith(".py"):
        assert (REPOSITORY / arguments[0]).exists(), f"no file {arguments[0]}"


@each_page
def test_every_command_can_be_run(page: Path) -> None:
    for fence in fences(page):
        if fence.kind == "commands":
            for line in commands(fence):
                try:
                    check(line)
                except (Exception, pytest.fail.Exception) as error:
                    raise AssertionError(f"{fence.place}: `{line}`: {error}") from error


@each_page
def test_every_dag_that_a_command_names_exists(page: Path) -> None:
    for named in re.findall(r"`make demo DAG=(\w+)`", page.read_text("utf-8")):
        assert (REPOSITORY / "dags" / f"{named}.py").exists(), f"{page.name}: {named}"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("make levitate", "no target"),
        ("make check EX=9", "9"),
        ("make demo DAG=nowhere", "nowhere"),
        ("make demo DAGS=train_delay_model", "no variable"),
        ('make airflow ARGS="dags trigger nowhere"', "no DAG nowhere"),
        ('make airflow ARGS="dags backfill x"', "airflow dags backfill"),
        (".venv/bin/course levitate", "no command"),
        (".venv/bin/course check 1 --jsonn", "jsonn"),
        (".venv/bin/python -m flightdelays.levitate", "flightdelays.levitate"),
        ("levitate now", "unknown program"),
    ],
)
def test_a_command_that_cannot_be_run_is_found(line: str, complaint: str) -> None:
    with pytest.raises((Exception, pytest.fail.Exception), match=re.escape(complaint)):
        check(line)
