"""Where the stack lives and which ports it would like, read from the environment."""

import sys
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from course.errors import CourseError

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
"""Folder of the commands of this environment (``airflow``, ``mlflow``, ``supervisord``)."""

DEFAULT_PORTS = {"airflow": 8080, "mlflow": 5000, "site": 8090, "kafka": 9092, "statsd": 8125}


class Config(BaseSettings):
    """What a person may set before ``make start``; every name is an environment variable."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    home: Path = Field(default=REPOSITORY / ".course", validation_alias="COURSE_HOME")
    dags: Path = Field(default=REPOSITORY / "dags", validation_alias="COURSE_DAGS_FOLDER")
    plugins: Path = Field(default=REPOSITORY / "plugins", validation_alias="COURSE_PLUGINS_FOLDER")
    airflow_port: int | None = Field(default=None, ge=1, le=65535, validation_alias="AIRFLOW_PORT")
    mlflow_port: int | None = Field(default=None, ge=1, le=65535, validation_alias="MLFLOW_PORT")
    site_port: int | None = Field(default=None, ge=1, le=65535, validation_alias="SITE_PORT")
    kafka_port: int | None = Field(default=None, ge=1, le=65535, validation_alias="KAFKA_PORT")
    statsd_port: int | None = Field(default=None, ge=1, le=65535, validation_alias="STATSD_PORT")
    bootstrap_servers: str = Field(
        default="",
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="a Kafka broker to use in place of the stack's own",
    )
    start_timeout: int = Field(
        default=300, ge=10, validation_alias="COURSE_START_TIMEOUT", description="seconds"
    )

    @cached_property
    def root(self) -> Path:
        """Absolute form of ``home``: it ends up in configuration files and URIs."""
        return self.home.expanduser().resolve()

    @property
    def wanted_ports(self) -> dict[str, int | None]:
        """The port that the person asked for, by service; None where any will do."""
        return {
            "airflow": self.airflow_port,
            "mlflow": self.mlflow_port,
            "site": self.site_port,
            "kafka": self.kafka_port,
            "statsd": self.statsd_port,
        }

    @property
    def incoming(self) -> Path:
        """Folder in which training requests arrive as files."""
        return self.root / "incoming"

    @property
    def tweets(self) -> Path:
        """The rated tweets of exercise 1."""
        return self.root / "data" / "tweets_GroundTruth.txt"

    @property
    def labs(self) -> Path:
        """Folder of the DAG files that a lab plants."""
        return self.root / "labs"

    @property
    def logs(self) -> Path:
        """Folder of the component logs."""
        return self.root / "logs"

    @property
    def lake(self) -> Path:
        """Folder of the lake, unless ``FLIGHTDELAYS_LAKE`` says otherwise."""
        return self.root / "lake"


def load_config() -> Config:
    """Read the configuration; a bad value is named together with its variable."""
    try:
        return Config()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise CourseError(
            f"{name}={first['input']!r} is not usable: {first['msg']}",
            f"unset {name}, or give it another value",
        ) from error
