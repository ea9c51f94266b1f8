import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from course import bootstrap
from course.config import BIN, REPOSITORY


def test_uv_is_pinned_with_its_hashes() -> None:
    first, *hashes = bootstrap.locked("uv").splitlines()
    wanted = re.search(r"^uv==\S+$", (REPOSITORY / "requirements.in").read_text(), re.MULTILINE)
    assert wanted
    assert first.startswith(wanted[0])
    assert len(hashes) > 3
    assert all("--hash=sha256:" in line for line in hashes)


def test_a_package_that_is_not_locked_is_named() -> None:
    with pytest.raises(bootstrap.SetupError, match="does not pin no-such-package"):
        bootstrap.locked("no-such-package")


def test_it_needs_the_standard_library_only() -> None:
    code = f"import runpy; runpy.run_path({bootstrap.__file__!r}, run_name='imported')"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_the_environment_in_use_is_fine() -> None:
    assert bootstrap.fault(BIN / "python") == ""


def test_a_broken_environment_is_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    # What is left when the Python it was made from has been removed.
    (folder / "bin" / "python").symlink_to(tmp_path / "gone")
    python = bootstrap.ensure_environment(folder)
    assert "cannot be used: its Python is gone" in capfd.readouterr().out
    assert bootstrap.fault(python) == ""


def test_an_environment_without_pip_is_noticed(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    assert "pip does not run" in bootstrap.fault(tmp_path / "venv" / "bin" / "python")


def test_uv_uses_the_package_index_of_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more-wheels")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    environment = bootstrap.uv_environment(BIN / "python")
    assert environment["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert environment["UV_FIND_LINKS"] == "/wheels,/more-wheels"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://other.example/simple")
    told = bootstrap.uv_environment(BIN / "python")
    assert told["UV_DEFAULT_INDEX"] == "https://other.example/simple"
