from typer.testing import CliRunner

from course.cli import app
from course.config import Config
from course.console import console, show_addresses
from course.state import State


def test_a_model_that_does_not_exist_is_named_before_anything_starts(config: Config) -> None:
    result = CliRunner().invoke(app, ["demo", "--model", "crystal_ball"])
    assert result.exit_code == 1
    assert "no model 'crystal_ball'" in result.output
    assert "hist_gradient" in result.output
    assert not config.root.exists()


def test_the_addresses_are_never_cut() -> None:
    state = State(ports={"airflow": 1, "mlflow": 2, "site": 3})
    url = "http://127.0.0.1:8090/" + "long/" * 60
    with console.capture() as capture:
        show_addresses(state, {"Report": url})
    assert url in capture.get()
    assert state.password.get_secret_value() in capture.get()
