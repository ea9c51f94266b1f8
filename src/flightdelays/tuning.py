"""Search for hyper-parameters: one Optuna study in a database, shared by many workers.

Trials are judged on the last training month, fitted on a sample of the months before it. The
validation month is looked at once, at the end, with the parameters that won: a month that
chose the parameters cannot also say how good they are.

The budget is exact however many workers there are. Each of its trials has a slot, from 0 up,
and waits in the database before the first worker starts; a worker only ever claims a waiting
trial (Optuna's own loop makes a new one when none waits, so N workers overshoot by up to N - 1).
A trial whose worker dies stops its heartbeat and fails; its slot waits again, the first time
with the same parameters, later with others. Optuna fails a trial and queues its successor in two
steps: ``fill`` mends what a death between them leaves, and of two live trials in one slot
the first one counts.
"""

import logging
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import OperationalError

from flightdelays import spaces
from flightdelays.errors import CourseError, DataError, ServiceError
from flightdelays.runs import Window
from flightdelays.settings import Settings, get_settings

HEARTBEAT, GRACE = 5, 20  # seconds between signs of life; silence after which a worker is dead
PATIENCE = 1  # seconds between looks at the database while others finish the last trials
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.WAITING, TrialState.RUNNING)
SLOT, SPECIFICATION = "slot", "specification"

log = logging.getLogger(__name__)


@contextmanager
def database(settings: Settings) -> Iterator[None]:
    """Within it a database that does not answer is a ServiceError with its address."""
    try:
        yield
    except (OperationalError, StorageInternalError) as error:
        address = sqlalchemy.make_url(settings.optuna_storage).render_as_string(hide_password=True)
        reason = error.__cause__ or error
        raise ServiceError(
            f"the database of the Optuna studies at {address} does not answer ({reason}): look "
            "at `make status`, or set FLIGHTDELAYS_OPTUNA_STORAGE"
        ) from error


def open_storage(
    settings: Settings | None = None, heartbeat: int = HEARTBEAT, grace: int = GRACE
) -> RDBStorage:
    """The database of the studies, in which a trial without a heartbeat for ``grace`` s fails."""
    settings = settings or get_settings()
    url = sqlalchemy.make_url(settings.optuna_storage)
    local = url.get_backend_name() == "sqlite"
    with warnings.catch_warnings(), database(settings):
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = RDBStorage(
            settings.optuna_storage,
            engine_kwargs={"connect_args": {"timeout": 60}} if local else {"pool_pre_ping": True},
            heartbeat_interval=heartbeat,
            grace_period=grace,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=1),
        )
    if local:
        # SQLite has no row locks, so two workers could claim one trial: lock all, but briefly.
        sqlalchemy.event.listen(storage.engine, "connect", _no_implicit_begin)
        sqlalchemy.event.listen(storage.engine, "begin", _begin_immediate)
        storage.engine.dispose()
    return storage


def _no_implicit_begin(connection: Any, _: Any) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def create(
    name: str,
    window: Window,
    model: str,
    rows: int,
    budget: int,
    settings: Settings | None = None,
) -> dict[str, int]:
    """Create a study, or resume it; afterwards ``budget`` trials are finished or wait.

    Returns how many are ``finished`` and how many are ``open``. CourseError if the study of
    that name was made for another question.
    """
    settings = settings or get_settings()
    if model not in spaces.SPACES:
        raise CourseError(f"'{model}' has no search space: choose from {', '.join(spaces.SPACES)}")
    if window.train_from == window.train_to:
        raise DataError(
            f"{window.train_from} is the only training month: tuning needs two, one to fit "
            "on and the last one to judge by; set train_from to an earlier one"
        )
    asked = {
        "model": model,
        "train_from": window.train_from,
        "train_to": window.train_to,
        "rows": rows,
    }
    with database(settings):
        study = optuna.create_study(
            storage=open_storage(settings),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
        known = study.user_attrs.get(SPECIFICATION)
        if known is None and not study.get_trials(deepcopy=False):
            study.set_user_attr(SPECIFICATION, asked)
        elif known != asked:
            raise CourseError(
                f"the study '{name}' exists and was made for {known}, not for {asked}: their "
                "trials cannot be compared; give this one another name"
            )
        fill(study, budget, spaces.SPACES[model].start)
        return {
            "finished": len(trials_of(study, budget, FINISHED)),
            "open": len(trials_of(study, budget, OPEN)),
        }


def fill(study: optuna.Study, budget: int, start: dict[str, Any]) -> None:
    """Let a trial wait in each slot that has neither a finished nor an open one.

    The first trial of slot 0 begins where ``start`` says; the sampler chooses for the others.
    """
    live = {trial.user_attrs[SLOT] for trial in trials_of(study, budget, (*FINISHED, *OPEN))}
    tried = {trial.user_attrs[SLOT] for trial in trials_of(study, budget, (TrialState.FAIL,))}
    for slot in sorted(set(range(budget)) - live):
        params = start if slot == 0 and slot not in tried else {}
        study.enqueue_trial(params, user_attrs={SLOT: slot})


def trials_of(
    study: optuna.Study, budget: int, states: tuple[TrialState, ...]
) -> list[FrozenTrial]:
    """Trials of the budget's slots, in the order in which they were made."""
    found = study.get_trials(deepcopy=False, states=states)
    return [trial for trial in found if trial.user_attrs[SLOT] < budget]


def work(
    source: str,
    window: Window,
    name: str,
    budget: int,
    settings: Settings | None = None,
    heartbeat: int = HEARTBEAT,
    grace: int = GRACE,
) -> int:
    """Run trials of a study until all of its budget are finished; returns how many ran here.

    Waits for the last trials of other workers, and takes over those of dead ones. ServiceError
    if the database does not answer.
    """
    settings = settings or get_settings()
    with database(settings):
        storage = open_storage(settings, heartbeat, grace)
        study = load(name, storage)
        asked = study.user_attrs[SPECIFICATION]
        space = spaces.SPACES[asked["model"]]
        sample = spaces.draw_sample(source, window, asked["model"], asked["rows"], settings)
        finished = 0
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                fail_stale_trials(study)
            fill(study, budget, space.start)
            trial = claim(study, storage, budget, settings)
            if trial is not None:
                finished += _run(study, storage, trial, space, sample, settings, heartbeat)
            elif trials_of(study, budget, OPEN):
                time.sleep(PATIENCE)
            else:
                return finished


def load(name: str, storage: RDBStorage) -> optuna.Study:
    """A study with the rule by which its trials are pruned; CourseError if there is none."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2 * spaces.EVERY)
    try:
        return optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    except KeyError as error:
        raise CourseError(f"there is no study '{name}': the task create_study makes it") from error


def claim(
    study: optuna.Study, storage: RDBStorage, budget: int, settings: Settings
) -> Trial | None:
    """A waiting trial that is now this worker's alone, or None if none waits."""
    study_id = storage.get_study_id_from_name(study.study_name)
    taken = set()
    for trial in trials_of(study, budget, (*FINISHED, *OPEN)):
        slot = trial.user_attrs[SLOT]
        if trial.state == TrialState.WAITING:
            number = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            try:
                if slot in taken:
                    storage.set_trial_state_values(number, TrialState.FAIL)
                elif storage.set_trial_state_values(number, TrialState.RUNNING):
                    # One seed for each trial: workers with one seed would try the same.
                    study.sampler = _sampler(settings.seed + trial.number)
                    return Trial(study, number)
            except UpdateFinishedTrialError:
                log.info("trial %d was finished by another worker", trial.number)
        taken.add(slot)
    return None


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Trials that run elsewhere count as bad ones, so that workers look in different places.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, constant_liar=True)


def _run(
    study: optuna.Study,
    storage: RDBStorage,
    trial: Trial,
    space: spaces.Space,
    sample: spaces.Sample,
    settings: Settings,
    heartbeat: int,
) -> bool:
    """Run one trial with a heartbeat; whether it counts."""
    study_id = storage.get_study_id_from_name(study.study_name)
    number = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
    try:
        with _heartbeat(storage, number, heartbeat):
            score = _objective(trial, space, sample, settings)
        told = study.tell(trial, score, skip_if_finished=True)
    except optuna.TrialPruned:
        told = study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
    except UpdateFinishedTrialError:
        # This process slept for longer than the grace, and the slot belongs to another trial.
        log.warning("trial %d was given up for dead and does not count", trial.number)
        return False
    except Exception:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise
    log.info("trial %d %s %s %s", told.number, told.state.name, told.value, told.params)
    return told.state in FINISHED


def _objective(
    trial: Trial, space: spaces.Space, sample: spaces.Sample, settings: Settings
) -> float:
    """PR-AUC after the last round; reported on the way, and stopped if it is below the median."""
    score = 0.0
    for finished, score in space.boost(space.suggest(trial), sample, settings):
        trial.report(score, finished)
        if finished < spaces.ROUNDS and trial.should_prune():
            raise optuna.TrialPruned
    return score


@contextmanager
def _heartbeat(storage: RDBStorage, trial_id: int, interval: int) -> Iterator[None]:
    """Signs of life of a trial, as Optuna's own loop gives them."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                storage.record_heartbeat(trial_id)
            except (OperationalError, StorageInternalError):
                log.exception("no heartbeat for a trial: the database does not answer")
            if ended.wait(interval):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
