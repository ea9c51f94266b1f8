"""The file ``.env``: written once, with generated secrets; from then on it is the person's."""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv import dotenv_values

from course.config import REPOSITORY
from course.containers import MOST_WORKERS
from course.errors import CourseError
from course.files import write_atomic
from course.ports import any_free

PROFILES = ("core", "events", "ml", "observability")
PORTS = {
    "AIRFLOW_PORT": ("core", 8080),
    "S3_PORT": ("core", 8333),
    "KAFKA_PORT": ("events", 9092),
    "MLFLOW_PORT": ("ml", 5000),
    "MODEL_PORT": ("ml", 8081),
    "SITE_PORT": ("ml", 8090),
    "GRAFANA_PORT": ("observability", 3000),
    "PROMETHEUS_PORT": ("observability", 9090),
    "ALERTMANAGER_PORT": ("observability", 9093),
    "INBOX_PORT": ("observability", 8025),
    "STATSD_EXPORTER_PORT": ("observability", 9102),
}
"""Ports of this machine, with the profile that opens each and its default."""


def _token() -> str:
    # Letters and digits alone: it becomes part of addresses and of configuration files.
    return secrets.token_hex(20)


def _password() -> str:
    # People type these.
    return secrets.token_hex(10)


SECRETS: dict[str, Callable[[], str]] = {
    "FERNET_KEY": lambda: Fernet.generate_key().decode(),
    # Airflow asks for at least 64 bytes to sign HS512 tokens.
    "JWT_SECRET": lambda: secrets.token_hex(48),
    "API_SECRET": _token,
    "ADMIN_PASSWORD": _password,
    "USER_PASSWORD": _password,
    "VIEWER_PASSWORD": _password,
    "GRAFANA_PASSWORD": _password,
    "REDIS_PASSWORD": _token,
    "POSTGRES_PASSWORD": _token,
    "AIRFLOW_DB_PASSWORD": _token,
    "CELERY_DB_PASSWORD": _token,
    "MLFLOW_DB_PASSWORD": _token,
    "FEAST_DB_PASSWORD": _token,
    "OPTUNA_DB_PASSWORD": _token,
    "MONITOR_DB_PASSWORD": _token,
    "LAKE_SECRET_KEY": _token,
    "MLFLOW_SECRET_KEY": _token,
}
"""Name and generator of each secret."""

HEAD = """\
# Settings of the stack in containers, written by `make up`: yours to change, then `make up` again.
# Whoever reads this file can log in everywhere; git ignores it.
"""


def env_file() -> Path:
    """The file in use: ``.env``, or the one that COURSE_STACK_ENV names."""
    return Path(os.environ.get("COURSE_STACK_ENV") or REPOSITORY / ".env").resolve()


class Settings:
    """What ``.env`` says, after a look at whether it can be used."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path = path
        self.values = dict(values)

    def __repr__(self) -> str:
        # The values are secrets.
        return f"Settings({self.path})"

    @property
    def profiles(self) -> list[str]:
        """The chosen profiles, in the usual order."""
        return [name for name in PROFILES if name in self.values["COMPOSE_PROFILES"].split(",")]

    @property
    def project(self) -> str:
        """Compose's name of the stack."""
        return self.values.get("COMPOSE_PROJECT_NAME") or "airflow-ml-course"

    @property
    def home(self) -> Path:
        """Folder of what the stack shares with this machine."""
        return Path(self.values["STACK_HOME"])

    @property
    def ports(self) -> dict[str, int]:
        """The ports that the chosen profiles open, by variable."""
        return {
            name: int(self.values.get(name) or default)
            for name, (profile, default) in PORTS.items()
            if profile in self.profiles
        }

    def url(self, port: str) -> str:
        """Address behind one of the ports, without a trailing slash."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def write(self, **changes: str) -> "Settings":
        """Change values in the file, with everything else as it was; returns the new settings."""
        return load(self.path, changes)


def usual_home(path: Path) -> Path:
    """The folder that a stack with this file shares with this machine, unless the file differs."""
    return REPOSITORY / ".stack" if path == REPOSITORY / ".env" else path.parent / "stack"


def create(path: Path, chosen: Mapping[str, str]) -> Settings:
    """Write the file with new secrets; ``chosen`` are the ports and profiles asked for."""
    plain = {
        "COMPOSE_PROFILES": ",".join(PROFILES),
        # Files that the containers write into folders of this machine belong to you.
        "AIRFLOW_UID": str(os.getuid()) if os.getuid() else "50000",
        "STACK_HOME": str(usual_home(path)),
        "WORKERS": "2",
        **{name: str(default) for name, (_, default) in PORTS.items()},
        **chosen,
    }
    generated = {name: generate() for name, generate in SECRETS.items()}
    # A file that cannot be used would stand in the way of the next try.
    _check(path, plain | generated)
    lines = [HEAD, *(f"{name}={value}" for name, value in plain.items()), ""]
    lines += ["# Generated secrets", *(f"{name}={value}" for name, value in generated.items()), ""]
    write_atomic(path, "\n".join(lines), mode=0o600)
    return load(path)


def read(path: Path) -> dict[str, str]:
    """What stands in the file, whether it can be used or not."""
    try:
        return {name: value or "" for name, value in dotenv_values(path).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(
            f"{path} cannot be read: {error}.", f"see whose it is: ls -l {path}"
        ) from error


def load(path: Path, changes: Mapping[str, str] | None = None) -> Settings:
    """Read the file, and write these changes into it; CourseError names what is unusable.

    Changes are looked at before they are written, and mend what they replace.
    """
    changes = changes or {}
    found = read(path)
    values = {**found, **changes}
    needed = ("COMPOSE_PROFILES", "AIRFLOW_UID", "STACK_HOME", *SECRETS)
    missing = [name for name in needed if not values.get(name)]
    if missing:
        raise CourseError(
            f"{path} has no value for {', '.join(missing)}.",
            f"put them back; or, with nothing to lose: make reset, delete {path}, make up",
        )
    _check(path, values)
    differing = {name: value for name, value in changes.items() if found.get(name) != value}
    if differing:
        _replace(path, differing)
    return Settings(path, values)


def _replace(path: Path, changes: Mapping[str, str]) -> None:
    """Give lines of the file other values, with everything else as it was."""
    text = path.read_text("utf-8")
    for name, value in changes.items():
        line = f"{name}={value}"
        text, count = re.subn(rf"(?m)^{name}=.*$", lambda _, line=line: line, text)  # type: ignore[misc]
        if not count:
            text += f"{line}\n" if not text or text.endswith("\n") else f"\n{line}\n"
    write_atomic(path, text, mode=0o600)


def _check(path: Path, values: Mapping[str, str]) -> None:
    unknown = sorted(set(values["COMPOSE_PROFILES"].split(",")) - set(PROFILES))
    if unknown or "core" not in values["COMPOSE_PROFILES"].split(","):
        what = f"has no {', '.join(unknown)}" if unknown else "cannot do without core"
        raise CourseError(
            f"COMPOSE_PROFILES in {path}: the stack {what}.",
            f"choose among {', '.join(PROFILES)}: make up PROFILES=core,ml",
        )
    project = values.get("COMPOSE_PROJECT_NAME") or "airflow-ml-course"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", project):
        raise CourseError(
            f"COMPOSE_PROJECT_NAME ({path}): {project!r} is no name that Docker takes.",
            "use small letters, digits, - and _",
        )
    _check_numbers(path, values)
    for name in SECRETS:
        if name == "FERNET_KEY":
            continue
        if len(values[name]) < 20 or not re.fullmatch(r"[\w-]+", values[name], re.ASCII):
            raise CourseError(
                f"{name} in {path} is too short, or has characters that addresses do not take.",
                "use at least 20 letters and digits, such as `openssl rand -hex 20` prints",
            )
    try:
        Fernet(values["FERNET_KEY"])
    except ValueError as error:
        raise CourseError(
            f"FERNET_KEY in {path} is no Fernet key: {str(error).rstrip('.')}.",
            "put the old one back, or what it encrypted cannot be read",
        ) from error


def _check_numbers(path: Path, values: Mapping[str, str]) -> None:
    ranges = {
        **{name: (1, 65535, f"make up {name}={default}") for name, (_, default) in PORTS.items()},
        "WORKERS": (1, MOST_WORKERS, "make up WORKERS=2"),
        "AIRFLOW_UID": (0, 2**31 - 1, f"put what `id -u` prints into {path}"),
    }
    for name, (least, most, fix) in ranges.items():
        value = values.get(name) or "1"
        # The digits of other scripts are digits too, for Python.
        if not re.fullmatch("[0-9]{1,10}", value) or not least <= int(value) <= most:
            raise CourseError(
                f"{name} ({path}) can be {least} to {most}; {value!r} is none of these.", fix
            )
    taken: dict[int, str] = {}
    for name, (_, default) in PORTS.items():
        port = int(values.get(name) or default)
        if port in taken:
            raise CourseError(
                f"{taken[port]} and {name} ({path}) are both {port}.",
                f"give each a port of its own: make up {name}={any_free()}",
            )
        taken[port] = name
