"""The file ``.env``: written once, with generated secrets; from then on it is the person's."""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv import dotenv_values

from course.config import REPOSITORY
from course.errors import CourseError
from course.files import write_atomic

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
        return self.values.get("COMPOSE_PROJECT_NAME", "airflow-ml-course")

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
        text = self.path.read_text("utf-8")
        for name, value in changes.items():
            line = f"{name}={value}"
            text, found = re.subn(rf"(?m)^{name}=.*$", line, text)
            if not found:
                text += f"{line}\n"
        write_atomic(self.path, text, mode=0o600)
        return load(self.path)


def create(path: Path, chosen: Mapping[str, str]) -> Settings:
    """Write the file with new secrets; ``chosen`` are the ports and profiles asked for."""
    home = REPOSITORY / ".stack" if path == REPOSITORY / ".env" else path.parent / "stack"
    plain = {
        "COMPOSE_PROFILES": ",".join(PROFILES),
        # Files that the containers write into folders of this machine belong to you.
        "AIRFLOW_UID": str(os.getuid()) if os.getuid() else "50000",
        "STACK_HOME": str(home),
        "WORKERS": "2",
        **{name: str(default) for name, (_, default) in PORTS.items()},
        **chosen,
    }
    lines = [HEAD, *(f"{name}={value}" for name, value in plain.items()), ""]
    lines += ["# Generated secrets", *(f"{name}={make()}" for name, make in SECRETS.items()), ""]
    write_atomic(path, "\n".join(lines), mode=0o600)
    return load(path)


def load(path: Path) -> Settings:
    """Read the file; CourseError names what is missing or unusable."""
    values = {name: value or "" for name, value in dotenv_values(path).items()}
    needed = ("COMPOSE_PROFILES", "AIRFLOW_UID", "STACK_HOME", *SECRETS)
    missing = [name for name in needed if not values.get(name)]
    if missing:
        raise CourseError(
            f"{path} has no value for {', '.join(missing)}.",
            f"put them back; or, with nothing to lose: make reset, delete {path}, make up",
        )
    _check(path, values)
    return Settings(path, values)


def _check(path: Path, values: Mapping[str, str]) -> None:
    unknown = sorted(set(values["COMPOSE_PROFILES"].split(",")) - set(PROFILES))
    if unknown or "core" not in values["COMPOSE_PROFILES"].split(","):
        what = f"has no {', '.join(unknown)}" if unknown else "cannot do without core"
        raise CourseError(
            f"COMPOSE_PROFILES in {path}: the stack {what}.",
            f"choose among {', '.join(PROFILES)}: make up PROFILES=core,ml",
        )
    for name in (*PORTS, "AIRFLOW_UID", "WORKERS"):
        value = values.get(name, "1")
        least, most = (1, 65535) if name in PORTS else (0, 2**31 - 1)
        if not value.isdigit() or not least <= int(value) <= most:
            raise CourseError(f"{name}={value} in {path} is no number that can be used.", "mend it")
    taken: dict[str, str] = {}
    for name, (_, default) in PORTS.items():
        port = values.get(name) or str(default)
        if port in taken:
            raise CourseError(
                f"{taken[port]} and {name} in {path} are both {port}.",
                "give each a port of its own",
            )
        taken[port] = name
    for name in SECRETS:
        if len(values[name]) < 20 or not re.fullmatch(r"[\w=-]+", values[name]):
            raise CourseError(
                f"{name} in {path} is too short, or has characters that addresses do not take.",
                "use at least 20 letters and digits, such as `openssl rand -hex 20` prints",
            )
    try:
        Fernet(values["FERNET_KEY"])
    except ValueError as error:
        raise CourseError(
            f"FERNET_KEY in {path} is no Fernet key: {error}.",
            "put the old one back, or what it encrypted cannot be read",
        ) from error
