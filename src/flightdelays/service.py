"""Does a service answer? Light, so that it can be asked before anything heavy is imported."""

import httpx

from flightdelays.errors import ServiceError
from flightdelays.settings import Settings


def check_mlflow(settings: Settings) -> None:
    """ServiceError naming the address unless MLflow answers."""
    address = settings.mlflow_tracking_uri
    if not address.startswith("http"):
        return
    try:
        answer = httpx.get(f"{address}/health", timeout=5, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceError(
            f"MLflow at {address} does not answer ({error}): look at `make status`, "
            "start it with `make start`"
        ) from error
