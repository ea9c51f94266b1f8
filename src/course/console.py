"""How the command line talks: colours and spinners for a person, plain lines for a log."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType

from course.state import ADMIN, State

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str], None]]:
    """Yields a function that reports one finished step; a spinner turns meanwhile on a terminal."""

    def say(message: str) -> None:
        console.print(f"  {message}", markup=False, soft_wrap=True)

    if not console.is_terminal:
        console.print(doing)
        yield say
        return
    with console.status(doing):
        yield say


def picture(shown: RenderableType, title: str, path: Path) -> None:
    """Save what is shown as an SVG picture of a terminal of 100 columns."""
    recorder = Console(record=True, width=100, file=io.StringIO(), highlight=False)
    recorder.print(shown)
    recorder.save_svg(str(path), title=title)


def show_addresses(state: State, more: Mapping[str, str] | None = None) -> None:
    """Print the addresses and the login, with further addresses if there are any.

    Never wrapped or cut, so that a click or a copy gets all of an address.
    """
    rows = {
        "Airflow": state.url("airflow"),
        "  login": f"{ADMIN} / {state.password.get_secret_value()}",
        "MLflow": state.url("mlflow"),
        **(more or {"Reports": state.url("site")}),
    }
    for name, value in rows.items():
        console.print(f"  {name:<11} {value}", markup=False, soft_wrap=True)
