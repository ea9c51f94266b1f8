"""What a name in MLflow's registry stands for now, ready to answer, and its change-over.

Each version of the model gets a scoring server of its own, as MLflow builds it, and a request is
answered by the one that its alias named when it came. Nothing is changed inside a server: a
change-over puts another one in its place, and the old one is gone after its last answer.
"""

import logging
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

import mlflow.artifacts
import mlflow.pyfunc
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from starlette.types import ASGIApp

from flightdelays import registry
from flightdelays.settings import Settings
from serving import metrics

RETRY = 30
"""Seconds until a version that could not be used is fetched again."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """A version of the model with the scoring server that answers for it."""

    number: int
    app: ASGIApp


@dataclass
class Alias:
    """An alias, what answers under it, and what is wrong with it."""

    name: str
    current: Version | None = None
    since: datetime | None = None
    error: str | None = None
    broken: int | None = None
    """Version that could not be used, to be fetched again when the clock says ``again``."""
    again: float = 0

    @property
    def version(self) -> int | None:
        """Number of the version that answers, or None."""
        current = self.current
        return current.number if current else None


def load(number: int, settings: Settings) -> Version:
    """Fetch a version and let it answer its own input example, if it was logged with one."""
    folder = tempfile.mkdtemp(prefix="model-")
    try:
        path = mlflow.artifacts.download_artifacts(
            f"models:/{settings.model_name}/{number}", dst_path=folder
        )
        model = mlflow.pyfunc.load_model(path)
        example = model.metadata.get_serving_input(path)
        if example:
            schema = model.metadata.get_input_schema()
            scoring_server.invocations(example, "application/json", model, schema)
        version = Version(number, scoring_server.init(model))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # Kept as long as the model: some read their files only when they are asked.
    weakref.finalize(version, shutil.rmtree, folder, ignore_errors=True)
    return version


class Watcher:
    """Asks the registry again and again what each alias names, and changes over."""

    def __init__(self, names: Sequence[str], settings: Settings) -> None:
        self.aliases = {name: Alias(name) for name in names}
        self.reached = False
        self.error: str | None = None
        self._settings = settings

    def run(self, seconds: float, stop: Event) -> None:
        """Look every few ``seconds`` until ``stop`` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(seconds)

    def look(self) -> None:
        """Look once. Whatever goes wrong is told, and what answers goes on answering."""
        try:
            named = self._named()
        except Exception as error:
            if self.error is None:
                _log.warning("the registry is away, what is loaded goes on answering: %s", error)
            self.error = str(error)
            metrics.REGISTRY_UP.set(0)
            return
        if self.error is not None:
            _log.info("the registry answers again")
        self.reached, self.error = True, None
        metrics.REGISTRY_UP.set(1)
        for name, alias in self.aliases.items():
            self._follow(alias, named.get(name))

    def _named(self) -> dict[str, int]:
        """Every alias of the model with its version, in one answer."""
        try:
            model = registry.client(self._settings).get_registered_model(self._settings.model_name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {name: int(number) for name, number in model.aliases.items()}

    def _follow(self, alias: Alias, number: int | None) -> None:
        if number is None:
            # Nobody vouches for the old model any more.
            self._change(alias, None)
        elif alias.version == number:
            alias.error = alias.broken = None
        elif alias.broken != number or time.monotonic() >= alias.again:
            self._try(alias, number)

    def _try(self, alias: Alias, number: int) -> None:
        others = [other.current for other in self.aliases.values() if other.current]
        known = next((version for version in others if version.number == number), None)
        try:
            self._change(alias, known or load(number, self._settings))
        except Exception as error:
            kept = f"version {alias.current.number} goes on" if alias.current else "nothing answers"
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            alias.error = (
                f"version {number} of {self._settings.model_name} cannot be used for {alias.name} "
                f"({reason}), {kept}: look at the model in MLflow, or run train_delay_model"
            )
            if alias.broken != number:
                _log.error("%s", alias.error)
            alias.broken, alias.again = number, time.monotonic() + RETRY
            metrics.FAILURES.labels(alias.name).inc()

    def _change(self, alias: Alias, version: Version | None) -> None:
        alias.error = alias.broken = None
        metrics.VERSION.labels(alias.name).set(version.number if version else 0)
        if version is alias.current:
            return
        alias.current, alias.since = version, datetime.now(UTC)
        metrics.CHANGES.labels(alias.name).inc()
        what = f"version {version.number}" if version else "nothing: the alias is gone"
        _log.info("%s of %s is now %s", alias.name, self._settings.model_name, what)
