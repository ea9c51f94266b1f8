import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from course.cli import app
from course.config import Config
from course.processes import find
from course.stack import only_one
from course.state import State, require_state, save_state


def course(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=answer)


@pytest.mark.parametrize("command", [["airflow", "dags", "list"], ["env"]])
def test_commands_that_need_a_stack_say_how_to_start_it(command: list[str], config: Config) -> None:
    result = course(*command)
    assert result.exit_code == 1
    assert "make start" in result.output
    assert "Traceback" not in result.output


def test_the_status_of_a_stack_that_is_not_running(config: Config, state: State) -> None:
    result = course("status")
    assert result.exit_code == 1
    assert "not running" in result.output


def test_stopping_what_was_never_started(config: Config) -> None:
    result = course("stop")
    assert result.exit_code == 0
    assert "has not been started" in result.output


def test_stop_leaves_nothing_of_a_stack_that_crashed(
    config: Config, state: State, marked: Callable[..., subprocess.Popen[str]]
) -> None:
    left = [marked(state.id, "scheduler"), marked(state.id, "mlflow")]
    assert state.runtime is not None
    state.runtime.mkdir()
    (state.runtime / "supervisord.pid").write_text("1")
    (config.root / "postgres").mkdir()
    (config.root / "postgres" / "postmaster.pid").write_text("1")
    result = course("stop")
    assert result.exit_code == 0, result.output
    assert "Ending 2 leftover processes of an earlier start (mlflow, scheduler)" in result.output
    assert "no process of it is left" in result.output
    assert [process.wait() for process in left] == [-15, -15]
    assert find(state.id) == []
    assert not (state.runtime / "supervisord.pid").exists()
    assert not (config.root / "postgres" / "postmaster.pid").exists()


def test_two_commands_do_not_start_or_stop_at_once(config: Config, state: State) -> None:
    with only_one(config):
        result = course("stop")
    assert result.exit_code == 1
    assert "Another command is starting or stopping the stack" in result.output


def test_a_component_that_does_not_exist_is_named(config: Config) -> None:
    result = course("logs", "sheduler")
    assert result.exit_code == 1
    assert "no component 'sheduler'" in result.output
    assert "scheduler" in result.output


def test_logs_before_the_first_start(config: Config) -> None:
    assert "make start" in course("logs").output


def test_the_end_of_a_log(config: Config) -> None:
    config.logs.mkdir(parents=True)
    (config.logs / "site.log").write_text("".join(f"line {i}\n" for i in range(1000)))
    result = course("logs", "site", "-n", "2")
    assert [line.split("│ ")[1] for line in result.output.splitlines()] == ["line 998", "line 999"]


def test_clean_asks_first(config: Config, state: State) -> None:
    refused = course("clean", answer="n\n")
    assert refused.exit_code == 1
    assert "make clean YES=1" in refused.output
    assert config.root.exists()
    assert course("clean", answer="y\n").exit_code == 0
    assert not config.root.exists()


def test_clean_without_a_question(config: Config, state: State) -> None:
    assert course("clean", "--yes").exit_code == 0
    assert not config.root.exists()
    assert "Nothing to remove" in course("clean", "--yes").output


def test_a_damaged_state_is_one_sentence(config: Config) -> None:
    Path(config.root).mkdir()
    (config.root / "stack.json").write_text("{")
    result = course("status")
    assert result.exit_code == 1
    assert "is damaged" in result.output


def test_emptying_the_stack_keeps_what_is_the_persons(config: Config, state: State) -> None:
    from course.stack import empty

    kept = ("progress.json", "passwords.json", "data/tweets.txt", "grader/airflow.db")
    gone = ("lake/raw/flights.parquet", "postgres/PG_VERSION", "alerts.jsonl", "demo.json")
    for name in (*kept, *gone):
        (config.root / name).parent.mkdir(parents=True, exist_ok=True)
        (config.root / name).write_text(name)
    save_state(config, state.model_copy(update={"migrated": "3.3.2"}))
    empty(config, lambda _: None)
    after = require_state(config)
    assert after.migrated == "", "the next start has to create the tables again"
    assert after.password.get_secret_value() == state.password.get_secret_value()
    assert all((config.root / name).read_text() == name for name in kept)
    assert after.ports == state.ports
    left = {entry.name for entry in config.root.iterdir()}
    assert left == {"data", "grader", "passwords.json", "progress.json", "stack.json", ".lock"}


def test_the_stack_is_emptied_only_after_a_yes(config: Config, state: State) -> None:
    (config.root / "lake").mkdir()
    result = course("reset-demo", answer="n\n")
    assert result.exit_code == 1
    assert "Nothing was removed." in result.output
    assert (config.root / "lake").exists()
