import stat
from pathlib import Path

import pytest

from course.config import Config
from course.environment import passwords_file, write_passwords
from course.errors import CourseError
from course.files import write_atomic
from course.state import State, load_state, require_state, save_state, state_file


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_remembered_for_the_owner_only(config: Config, state: State) -> None:
    assert load_state(config) == state
    assert permissions(state_file(config)) == 0o600
    write_passwords(config, state)
    assert permissions(passwords_file(config)) == 0o600


def test_secrets_do_not_show_when_it_is_printed(state: State) -> None:
    for secret in (state.fernet_key, state.jwt_secret, state.api_secret, state.password):
        assert secret.get_secret_value() not in f"{state!r} {state}"


def test_two_stacks_share_no_secret(config: Config, state: State) -> None:
    other = State()
    save_state(config, other)
    assert other.id != state.id
    assert other.jwt_secret != state.jwt_secret
    assert len(other.jwt_secret.get_secret_value()) >= 64


def test_a_damaged_file_is_named(config: Config, state: State) -> None:
    state_file(config).write_text('{"id": 3}')
    with pytest.raises(CourseError, match="is damaged") as caught:
        load_state(config)
    assert "make clean" in caught.value.fix


def test_a_stack_that_was_never_started(config: Config) -> None:
    assert load_state(config) is None
    with pytest.raises(CourseError, match="has not been started"):
        require_state(config)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(path, "text")
    assert list(tmp_path.iterdir()) == [path]
