"""The model server: ``python -m serving.models``.

It answers predictions with the models that aliases of MLflow's registry name, each under its own
path: ``POST /champion/invocations``. What is sent and what comes back is MLflow's own scoring
protocol, by MLflow's own server, which runs in uvicorn. What is added here is that the version
behind an alias may change while requests come in: none is refused for it, and the header
``X-Model-Version`` of each answer says which version computed it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event, Thread
from time import perf_counter
from typing import Annotated, Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field, StringConstraints, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from flightdelays.settings import Settings, get_settings
from serving import metrics, program
from serving.versions import Alias, Watcher

HEADER = "X-Model-Version"
PATIENCE = 5  # seconds for a model that is being loaded when the server ends


class ServerSettings(BaseSettings):
    """Settings of the model server beside those of the ML code."""

    model_config = SettingsConfigDict(env_prefix="MODEL_SERVER_", frozen=True)

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8081, description="port to listen on")
    aliases: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[\w-]+$")], ...], NoDecode
    ] = Field(
        default=("champion", "staging"), min_length=1, description="aliases, with commas between"
    )
    poll_seconds: float = Field(default=2, gt=0, description="how often the registry is asked")

    @field_validator("aliases", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


class Endpoint:
    """Everything below the path of one alias: the scoring server of what it names, or 503."""

    def __init__(self, alias: Alias, watcher: Watcher, model: str) -> None:
        self._alias, self._watcher, self._model = alias, watcher, model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the version of this moment, and count predictions."""
        version = self._alias.current
        number = str(version.number) if version else ""
        started = perf_counter()

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                if number:
                    MutableHeaders(scope=message)[HEADER] = number
                if scope["path"].endswith("/invocations"):
                    labels = (self._alias.name, number, message["status"])
                    metrics.REQUESTS.labels(*labels).inc()
                    metrics.SECONDS.labels(self._alias.name).observe(perf_counter() - started)
            await send(message)

        await (version.app if version else self._unavailable())(scope, receive, tell)

    def _unavailable(self) -> Response:
        why = self._alias.error or (
            f"{self._model} has no alias {self._alias.name}: run the DAG train_delay_model, "
            "which deploys a model"
        )
        if not self._watcher.reached:
            why = f"no model yet: {self._watcher.error or 'MLflow has not been asked'}"
        # In the shape of MLflow's own errors.
        return JSONResponse({"error_code": "TEMPORARILY_UNAVAILABLE", "message": why}, 503)


def make_app(server: ServerSettings, settings: Settings) -> Starlette:
    """The server as an application; it watches the registry while it runs."""
    watcher = Watcher(server.aliases, settings)
    aliases = watcher.aliases.values()

    @asynccontextmanager
    async def watched(app: Starlette) -> AsyncIterator[None]:
        stop = Event()
        thread = Thread(target=watcher.run, args=(server.poll_seconds, stop), daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join(PATIENCE)

    def state(request: Request) -> Response:
        answering = {
            alias.name: {
                "version": alias.version,
                "since": alias.since.isoformat(timespec="seconds") if alias.since else None,
                "error": alias.error,
            }
            for alias in aliases
        }
        return JSONResponse(
            {"model": settings.model_name, "aliases": answering, "error": watcher.error}
        )

    def health(request: Request) -> Response:
        answering = {alias.name: alias.version is not None for alias in aliases}
        return JSONResponse({"answers": answering}, 200 if watcher.reached else 503)

    def measured(request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    own = [Route("/", state), Route("/health", health), Route("/metrics", measured)]
    endpoints = [
        Mount(f"/{alias.name}", Endpoint(alias, watcher, settings.model_name)) for alias in aliases
    ]
    return Starlette(routes=[*own, *endpoints], lifespan=watched)


def main() -> None:
    """Serve until told to end; what is being answered then is still answered."""
    server = program.read(ServerSettings)
    program.begin()
    app = make_app(server, get_settings())
    uvicorn.run(app, host=server.host, port=server.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
