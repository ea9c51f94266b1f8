"""Faults that a person plants into `monitored_training` to see its alerts. Light."""

import time

from flightdelays.errors import ServiceError

# A run takes about half a minute: a minute is late, and short enough to wait for.
DEADLINE_SECONDS = 60
# Longer than the deadline by more than the few seconds in which a missed one is noticed.
SLOW_SECONDS = DEADLINE_SECONDS + 15

FAULTS = {
    "none": "nothing is wrong",
    "slow": f"training takes {SLOW_SECONDS} s longer: the run misses its deadline, then succeeds",
    "failure": "every try of the training fails",
    "flaky": "the first try of the training fails, the next succeeds",
}


def plant(fault: str, try_number: int) -> None:
    """Do what ``fault`` says; ServiceError, which is retried, for a try that is to fail."""
    if fault == "slow":
        time.sleep(SLOW_SECONDS)
    if fault == "failure" or (fault == "flaky" and try_number == 1):
        raise ServiceError(f"planted fault '{fault}': try {try_number} fails as it was asked to")
