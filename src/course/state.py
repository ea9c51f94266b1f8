"""What one stack remembers between starts: its id, ports and secrets."""

import secrets
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_serializer

from course.config import Config
from course.errors import CourseError
from course.files import write_atomic

ADMIN = "admin"


def _secret(length: int) -> SecretStr:
    return SecretStr(secrets.token_urlsafe(length))


class State(BaseModel):
    """Content of ``stack.json``. Secrets are hidden whenever the object is printed."""

    id: str = Field(default_factory=lambda: secrets.token_hex(8))
    ports: dict[str, int] = Field(default_factory=dict)
    runtime: Path | None = Field(default=None, description="short folder of the Unix sockets")
    kafka: str = Field(default="", description="broker of somebody else's; empty: our own")
    migrated: str = Field(default="", description="Airflow version the database was migrated to")
    fernet_key: SecretStr = Field(default_factory=lambda: SecretStr(Fernet.generate_key().decode()))
    # Airflow asks for at least 64 bytes to sign HS512 tokens.
    jwt_secret: SecretStr = Field(default_factory=lambda: _secret(64))
    api_secret: SecretStr = Field(default_factory=lambda: _secret(32))
    password: SecretStr = Field(default_factory=lambda: _secret(12))

    @field_serializer("fernet_key", "jwt_secret", "api_secret", "password", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()

    def url(self, service: str) -> str:
        """Address of a service for a browser, without a trailing slash."""
        return f"http://127.0.0.1:{self.ports[service]}"

    @property
    def bootstrap_servers(self) -> str:
        """Address of the Kafka broker, as its clients want it."""
        return self.kafka or f"127.0.0.1:{self.ports['kafka']}"


def state_file(config: Config) -> Path:
    """Where the state of this stack is kept."""
    return config.root / "stack.json"


def load_state(config: Config) -> State | None:
    """The remembered state, or None for a stack that was never started."""
    path = state_file(config)
    if not path.exists():
        return None
    try:
        return State.model_validate_json(path.read_text())
    except ValidationError as error:
        raise CourseError(
            f"{path} is damaged ({error.error_count()} unusable values).", "make clean YES=1"
        ) from error


def save_state(config: Config, state: State) -> None:
    """Write the state, readable by its owner only."""
    write_atomic(state_file(config), state.model_dump_json(indent=2) + "\n", mode=0o600)


def require_state(config: Config) -> State:
    """The remembered state, or an error that says how to get one."""
    state = load_state(config)
    if state is None or not state.ports:
        raise CourseError("The stack has not been started yet.", "make start")
    return state
