"""What the programs of this package share: settings, a log on stderr, an orderly end."""

import logging
import signal
import sys
from types import FrameType
from typing import NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

Values = TypeVar("Values", bound=BaseSettings)


def read(kind: type[Values]) -> Values:
    """The settings of a program; a bad value ends it with a sentence that names the variable."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{kind.model_config['env_prefix']}{first['loc'][0]}".upper()
        sys.exit(
            f"error: {name}={first['input']!r} is not usable ({first['msg']}): "
            "unset it, or give it another value"
        )


def begin() -> None:
    """Log to stderr, and make SIGTERM an end like any other, with exit status 0."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "mail.log"):  # these say each request, and each line of a mail's way
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Also raised once more by uvicorn, when it has answered what it was asked.
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
