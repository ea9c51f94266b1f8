import shlex
from configparser import RawConfigParser
from pathlib import Path

import pytest

from course.components import NAMES, programs, render
from course.config import Config
from course.postgres import LONGEST_SOCKET, SOCKET_PATH_LIMIT, runtime_folder
from course.state import State


def sections(config: Config, state: State) -> RawConfigParser:
    parser = RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string(render(config, state, Path("/wheel/bin")))
    return parser


def test_every_component_has_a_program_and_a_log(config: Config, state: State) -> None:
    parser = sections(config, state)
    found = {name.partition(":")[2] for name in parser if name.startswith("program:")}
    assert found == set(NAMES)
    for name in NAMES:
        section = parser[f"program:{name}"]
        assert section["stdout_logfile"] == str(config.logs / f"{name}.log")
        assert f'COURSE_COMPONENT="{name}"' in section["environment"]
        assert section["autorestart"] == "true"


def test_the_configuration_holds_no_secret(config: Config, state: State) -> None:
    text = render(config, state, Path("/wheel/bin"))
    for secret in (state.fernet_key, state.jwt_secret, state.api_secret, state.password):
        assert secret.get_secret_value() not in text


@pytest.mark.parametrize(
    ("name", "option"), [("api-server", "--host"), ("mlflow", "--host"), ("site", "--bind")]
)
def test_servers_are_bound_to_the_loopback_address(
    name: str, option: str, config: Config, state: State
) -> None:
    found = {program.name: program for program in programs(config, state, Path("/wheel/bin"))}
    words = shlex.split(found[name].command)
    assert words[words.index(option) + 1] == "127.0.0.1"


def test_postgres_listens_on_no_address(config: Config, state: State) -> None:
    found = {program.name: program for program in programs(config, state, Path("/wheel/bin"))}
    words = shlex.split(found["postgres"].command)
    assert words[words.index("-h") + 1] == ""


def test_spaces_and_percent_signs_in_paths(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "my 100% course"))
    config = Config()
    section = sections(config, state)["program:site"]
    # supervisord expands the percent sign before it splits the words.
    words = shlex.split(section["command"].replace("%%", "%"))
    assert words[-1] == str(config.root / "site")
    assert "%%" in section["directory"]


def test_sockets_go_elsewhere_when_the_path_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / ("long" * 25)))
    monkeypatch.setattr("course.postgres.run_as", lambda: None)
    config = Config()
    folder = runtime_folder(config, None)
    assert len(str(folder / LONGEST_SOCKET)) <= SOCKET_PATH_LIMIT
    assert folder.stat().st_mode & 0o777 == 0o700
    assert runtime_folder(config, folder) == folder
    (folder / "pg").rmdir()
    folder.rmdir()
