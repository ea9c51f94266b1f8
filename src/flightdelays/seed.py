"""What must be there before the first run on an object store: buckets, and months to begin with.

``python -m flightdelays.seed lake logs mlflow`` may run as often as it likes: what is there stays.
"""

from typing import Annotated

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flightdelays.errors import CourseError, ServiceError
from flightdelays.lake import months_between
from flightdelays.source import land, landed_months

# What the delay model is trained on and judged by.
MONTHS = months_between("2013-01", "2013-09")


def create_buckets(names: list[str]) -> list[str]:
    """Create the buckets that are missing and return their names.

    Address and keys come from the environment (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, …).
    Raises ServiceError if the store does not answer or refuses the keys.
    """
    patience = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
    client = boto3.client("s3", config=patience)
    try:
        present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        missing = [name for name in names if name not in present]
        for name in missing:
            client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        raise ServiceError(
            f"the object store at {client.meta.endpoint_url} refuses: {error}. Check that it runs, "
            "and its keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        ) from error
    return missing


def main(buckets: Annotated[list[str], typer.Argument(help="buckets to create")]) -> None:
    """Create the buckets and land the months that are missing."""
    try:
        for name in create_buckets(buckets):
            typer.echo(f"created the bucket {name}")
        missing = sorted(set(MONTHS) - set(landed_months()))
        for month in missing:
            land(month)
            typer.echo(f"landed {month}")
    except (CourseError, ServiceError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    if not missing:
        typer.echo(f"{MONTHS[0]} to {MONTHS[-1]} had landed already")


if __name__ == "__main__":
    typer.run(main)
