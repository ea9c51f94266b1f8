"""A training run: its months, and its folder in the lake. Light: imports no data library."""

from dataclasses import dataclass

from flightdelays.errors import DataError
from flightdelays.lake import file_name, month_number, open_lake
from flightdelays.settings import Settings


@dataclass(frozen=True)
class Window:
    """Months to train on and the later month to judge by, each ``YYYY-MM``."""

    train_from: str
    train_to: str
    validation: str

    def __post_init__(self) -> None:
        if month_number(self.train_from) > month_number(self.train_to):
            raise DataError(f"train_from {self.train_from} is after train_to {self.train_to}")
        if month_number(self.validation) <= month_number(self.train_to):
            raise DataError(
                f"validation month {self.validation} is not after the last training month "
                f"{self.train_to}: a model is judged on rows later than every training row"
            )


def run_folder(run: str) -> tuple[str, str]:
    """Parts of the path, below the lake's root, of a run's working files."""
    return "runs", file_name(run)


def clean_up(run: str, settings: Settings | None = None) -> None:
    """Remove a run's working files; nothing happens if there are none."""
    open_lake(settings).remove_folder(*run_folder(run))
