"""Where a training goes on that was cut short: the trees so far, in the run's folder of the lake.

Only XGBoost can go on from trees; the other models begin again. What is kept is deleted with the
run's working files (``runs.clean_up``).
"""

import json
import time
from typing import Any

from xgboost import Booster
from xgboost.callback import TrainingCallback

from flightdelays.lake import open_lake
from flightdelays.runs import run_folder
from flightdelays.settings import Settings

# Seconds between two checkpoints: few enough that little is lost with a pod. Writing one, a file of
# some megabytes at most, takes little beside them.
INTERVAL = 5.0
# Attribute of the booster that says what it was trained with.
_MADE_WITH = "made_with"


class Checkpoints(TrainingCallback):
    """Keeps the booster of a run now and then, and gives it back to the next try.

    ``made_with`` is whatever decides what comes out: training set, months, parameters. A checkpoint
    of something else is left alone.
    """

    def __init__(
        self, run: str, made_with: dict[str, Any], settings: Settings, interval: float = INTERVAL
    ) -> None:
        self._lake = open_lake(settings)
        self.path = self._lake.path(*run_folder(run), "checkpoint.ubj")
        self._made_with = json.dumps(made_with, sort_keys=True)
        self._interval = interval
        self._written = time.monotonic()

    def load(self) -> Booster | None:
        """The booster of an earlier try, or None; ``num_boosted_rounds`` says how far it came."""
        if not self._lake.exists(self.path):
            return None
        booster = Booster(model_file=bytearray(self._lake.read_bytes(self.path)))
        if booster.attr(_MADE_WITH) != self._made_with:
            return None
        booster.set_attr(**{_MADE_WITH: None})
        return booster

    def after_iteration(self, model: Booster, epoch: int, evals_log: Any) -> bool:
        """Called by XGBoost after each tree; never stops the training."""
        if time.monotonic() - self._written >= self._interval:
            self.keep(model)
        return False

    def keep(self, model: Booster) -> None:
        """Write the booster in place of the one before it."""
        model.set_attr(**{_MADE_WITH: self._made_with})
        self._lake.write_bytes(self.path, bytes(model.save_raw()))
        model.set_attr(**{_MADE_WITH: None})
        self._written = time.monotonic()
