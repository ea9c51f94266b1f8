"""Creates the environment from the lock, with nothing but Python's standard library.

``make setup`` runs it with the system's Python as a plain script, before anything is installed:
it imports no other module of the course.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = REPOSITORY / "requirements.txt"
VERSIONS = ((3, 11), (3, 13))

# pip's name of a setting, and where uv reads the same one.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


class SetupError(Exception):
    """Setting up failed for a reason that a person can mend."""


def run(*command: str, env: dict[str, str] | None = None) -> None:
    """Run a command that prints its own progress; stop if it fails."""
    done = subprocess.run(command, cwd=REPOSITORY, env=env, check=False)
    if done.returncode:
        raise SetupError(
            f"`{' '.join(command)}` failed (see above).\n"
            "  → check the network, the package index (pip config list) and the disk, "
            "then: make setup"
        )


def fault(python: Path) -> str:
    """What makes an existing environment unusable, or an empty string."""
    if not python.exists():
        return "its Python is gone"
    code = "import sys, pip; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return "its Python or its pip does not run"
    major, minor = done.stdout.split()
    if not VERSIONS[0] <= (int(major), int(minor)) <= VERSIONS[1]:
        return f"it was made with Python {major}.{minor}"
    return ""


def ensure_environment(folder: Path) -> Path:
    """Create the environment, or a new one in place of an unusable one; return its Python."""
    python = folder / "bin" / "python"
    if folder.exists():
        problem = fault(python)
        if not problem:
            return python
        print(f"{folder} cannot be used: {problem}. Making a new one.", flush=True)
        shutil.rmtree(folder)
    print(f"Creating {folder} with Python {sys.version.split()[0]}", flush=True)
    run(sys.executable, "-m", "venv", str(folder))
    return python


def locked(package: str) -> str:
    """The lines of the lock that pin one package, hashes included."""
    lines = LOCK.read_text().splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(f"{package}==")), None)
    if start is None:
        raise SetupError(f"{LOCK.name} does not pin {package}.\n  → git checkout {LOCK.name}")
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if not line.lstrip().startswith("--hash"):
            break
        block.append(line)
    return "\n".join(block) + "\n"


def ensure_uv(python: Path) -> None:
    """Install the locked uv, unless it is there."""
    pin = locked("uv")
    version = pin.split("==")[1].split()[0]
    code = "import importlib.metadata as m; print(m.version('uv'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.stdout.strip() == version:
        return
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "uv.txt"
        requirements.write_text(pin)
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        run(str(python), "-m", "pip", "install", *options, "-r", str(requirements))


def uv_environment(python: Path) -> dict[str, str]:
    """The environment for uv: what pip was told about indexes holds for uv too.

    uv does not read pip's configuration, which is where companies name their mirror.
    """
    done = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    told: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        setting = name.rpartition(".")[2]
        if setting in PIP_TO_UV and value:
            values = ast.literal_eval(value).split()
            separator = " " if setting == "extra-index-url" else ","
            told[PIP_TO_UV[setting]] = separator.join(values)
    # Quiet where the cache is on another disk than the environment; it copies then.
    return {"UV_LINK_MODE": "hardlink", **told, **os.environ}


def main(folder: Path) -> None:
    """Make the environment match the lock, and install this repository into it, editable."""
    python = ensure_environment(folder)
    ensure_uv(python)
    uv = str(python.parent / "uv")
    environment = uv_environment(python)
    target = ("--python", str(python))
    print("Installing what requirements.txt locks", flush=True)
    run(uv, "pip", "sync", "--require-hashes", *target, str(LOCK), env=environment)
    # The sync removes whatever the lock does not list, this repository included.
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    run(uv, "pip", "install", *options, *target, "-e", str(REPOSITORY), env=environment)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).absolute())
    except SetupError as error:
        sys.exit(f"✗ {error}")
