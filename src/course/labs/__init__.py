"""The troubleshooting labs: faults planted in the running stack, to be found and mended."""

from course.labs.dag_not_in_ui import DagNotInUi
from course.labs.lab import Lab
from course.labs.pod_unschedulable import PodUnschedulable
from course.labs.stuck_in_queued import StuckInQueued
from course.labs.xcom_too_large import XComTooLarge

LABS: dict[str, Lab] = {
    lab.name: lab for lab in (DagNotInUi(), StuckInQueued(), XComTooLarge(), PodUnschedulable())
}
